//! Bounds, deadlines, trials, and an even queue.

use proptest::prelude::*;

use super::*;
use crate::metrics;

const LIMITS: QueueLimits = QueueLimits { requests: 3, pairs: 100 };

/// A request of `pairs` pairs and `text` units of unknown words.
fn demand(pairs: usize, text: f64) -> Demand {
    Demand { text, encode: true, pairs, kept: pairs, enlargement: 1.0 }
}

/// A queue that knows that a pair and a unit of text take 10 ms, and that nothing else takes time.
fn admission() -> Arc<Admission> {
    let admission = Admission::new(LIMITS, &metrics::off());
    admission.learn(|model| {
        for units in [1.0, 10.0] {
            for stage in [Stage::CostMap, Stage::TextEmbedding] {
                model.observe(stage, units, 1, Duration::from_secs_f64(0.01 * units), Instant::now());
            }
        }
    });
    admission
}

fn admit(
    admission: &Arc<Admission>,
    pairs: usize,
    priority: Priority,
    milliseconds: Option<u64>,
) -> Result<Arc<QueueSlot>, EngineError> {
    let now = Instant::now();
    let deadline = milliseconds.map(|left| now + Duration::from_millis(left));
    admission.admit(&demand(pairs, 0.0), priority, deadline, now)
}

#[track_caller]
fn assert_even(admission: &Admission) {
    let queue = admission.lock();
    assert_eq!((queue.present, queue.waiting, queue.waiting_pairs), (0, [0; 3], 0));
    let zero = Duration::ZERO;
    assert_eq!((queue.words, queue.queued, queue.in_flight), ([zero; 3], [zero; 3], zero));
}

#[test]
fn requests_and_pairs_are_bounded_until_they_begin() {
    let admission = admission();
    let first = admit(&admission, 60, Priority::Normal, None).unwrap();
    let refused = admit(&admission, 50, Priority::Normal, None).unwrap_err();
    assert!(matches!(refused, EngineError::QueueFull { unit: "(image, category) pairs", capacity: 100, .. }));
    assert!(first.begin(Stage::CostMap) && !first.begin(Stage::CostMap));
    let large = admit(&admission, 5000, Priority::Normal, None).unwrap(); // nothing else waits
    assert_eq!(admission.waiting(), 1);
    large.leave();
    let held: Vec<_> = (0..3).map(|_| admit(&admission, 0, Priority::Low, None).unwrap()).collect();
    let refused = admit(&admission, 0, Priority::High, None).unwrap_err();
    assert!(matches!(refused, EngineError::QueueFull { unit: "requests", capacity: 3, .. }));
    assert!(held[0].leave() && !held[0].leave());
    admit(&admission, 0, Priority::High, None).unwrap();
}

#[test]
fn a_delay_for_room_is_short_when_next_to_nothing_waits() {
    let admission = Admission::new(QueueLimits { requests: 1, ..LIMITS }, &metrics::off());
    let first = admit(&admission, 0, Priority::Normal, None).unwrap();
    let refused = admit(&admission, 0, Priority::Normal, None).unwrap_err();
    assert!(
        matches!(refused, EngineError::QueueFull { retry_after, .. } if retry_after.as_millis() == 50),
        "{refused:?}"
    );
    drop(first);
}

#[test]
fn what_cannot_be_in_time_is_refused_at_once() {
    let admission = admission();
    // Alone: 300 ms of work are tried with 200 ms left, as often as one likes.
    for _ in 0..3 {
        drop(admit(&admission, 30, Priority::Normal, Some(200)).unwrap());
    }
    let first = admit(&admission, 50, Priority::Normal, None).unwrap();
    let refused = admit(&admission, 30, Priority::Normal, Some(290)).unwrap_err();
    assert!(matches!(refused, EngineError::DeadlineTooShort { .. }), "{refused:?}");
    let refused = admit(&admission, 30, Priority::Normal, Some(600)).unwrap_err();
    let EngineError::DeadlineUnreachable { predicted, retry_after, .. } = refused else {
        panic!("{refused:?}")
    };
    assert!((750..850).contains(&predicted.as_millis()), "{predicted:?}");
    assert!((150..250).contains(&retry_after.as_millis()), "{retry_after:?}");
    drop(admit(&admission, 30, Priority::High, Some(600)).unwrap()); // goes before the first
    first.begin(Stage::CostMap);
    assert!(admit(&admission, 30, Priority::High, Some(600)).is_err()); // what is in flight is finished first
    first.deduct(Stage::CostMap, 0.8);
    admit(&admission, 30, Priority::High, Some(600)).unwrap();
}

#[test]
fn an_idle_engine_tries_what_seems_impossible_once_in_a_while() {
    let (admission, mut now) = (admission(), Instant::now());
    let ask = |now: Instant, left: u64| {
        let deadline = Some(now + Duration::from_millis(left));
        admission.admit(&demand(30, 0.0), Priority::Normal, deadline, now)
    };
    assert!(matches!(ask(now, 0), Err(EngineError::DeadlineTooShort { .. })), "no time is left to try in");
    let mut trials = 0;
    for _ in 0..100 {
        match ask(now, 100) {
            Ok(_) => trials += 1,
            Err(EngineError::DeadlineTooShort { needed, .. }) => assert_eq!(needed.as_millis(), 300),
            Err(other) => panic!("{other:?}"),
        }
        now += TRIAL_INTERVAL / 10;
    }
    assert_eq!(trials, 10);
    // A trial counts for no more than its deadline leaves: it does not keep others out for longer.
    now += TRIAL_INTERVAL;
    let trial = ask(now, 100).unwrap();
    assert!((0.099..=0.1).contains(&admission.load().0), "{:?}", admission.load());
    assert!(ask(now, 450).is_ok());
    drop(trial);
    // An engine that is not idle tries nothing.
    let _other = admit(&admission, 0, Priority::Normal, None).unwrap();
    now += TRIAL_INTERVAL;
    assert!(ask(now, 100).is_err());
}

#[test]
fn words_that_take_too_long_are_prepared_instead_of_tried() {
    let (admission, now) = (admission(), Instant::now());
    let left = Duration::from_millis(200);
    let too_short = EngineError::DeadlineTooShort { needed: Duration::from_secs(1), left };
    let known_words = |demand: &Demand| admission.is_refused_for_words(&too_short, demand, Priority::Normal);
    let ask = |demand: &Demand| admission.admit_or_prepare(demand, Priority::Normal, Some(now + left), now);
    // A second of words.
    let cold = demand(1, 100.0);
    assert!(matches!(ask(&cold), Err(EngineError::DeadlineTooShort { .. })));
    assert!(known_words(&cold) && !known_words(&demand(1, 0.0)));
    // Neither what goes before it now nor a prediction that an idle engine would overlook is its own fault.
    let ahead = admission.admit(&demand(19, 0.0), Priority::Normal, None, now).unwrap();
    assert!(known_words(&cold) && known_words(&demand(30, 100.0)));
    drop(ahead);
    // A second of pairs, too, of which only a trial can show that it is less.
    let both = demand(100, 100.0);
    assert!(!known_words(&both));
    drop(ask(&both).unwrap());
    assert!(ask(&both).is_err());
    // Words that cannot be prepared are tried.
    let later = now + TRIAL_INTERVAL;
    drop(admission.admit(&cold, Priority::Normal, Some(later + left), later).unwrap());
}

#[test]
fn words_of_others_are_not_ahead_of_known_words() {
    let admission = admission();
    let now = Instant::now();
    let words = admission.admit(&Demand::of_words(1000.0), Priority::Low, None, now).unwrap();
    words.begin(Stage::TextEmbedding);
    assert!(admission.load().0 > 9.9);
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        drop(admit(&admission, 30, priority, Some(600)).unwrap());
        assert!(admit(&admission, 30, priority, Some(500)).is_err(), "a launch of words may have begun");
    }
    // Words wait for words of their priority and above.
    let cold = |priority, seconds| {
        let deadline = Some(now + Duration::from_secs(seconds));
        admission.admit(&demand(0, 100.0), priority, deadline, now)
    };
    assert!(cold(Priority::Low, 10).is_err());
    assert!(cold(Priority::Low, 12).is_ok() && cold(Priority::High, 2).is_ok());
    words.deduct(Stage::TextEmbedding, 0.9);
    assert!(cold(Priority::Low, 3).is_ok());
}

/// Something that happens to a request.
#[derive(Clone, Debug)]
enum Step {
    Begin(usize),
    Deduct(usize, f64),
    Over(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_usize..7).prop_map(Step::Begin),
        (0_usize..7, -0.5..1.5_f64).prop_map(|(stage, share)| Step::Deduct(stage, share)),
        (0_usize..7).prop_map(Step::Over),
    ]
}

proptest! {
    #[test]
    fn deductions_add_up_and_the_queue_is_even_in_the_end(
        requests in prop::collection::vec(
            (0_usize..50, 0.0..500.0_f64, 0_usize..3, prop::collection::vec(step(), 0..12), any::<bool>()),
            1..3,
        ),
    ) {
        let admission = admission();
        let mut slots = Vec::new();
        for (pairs, text, priority, steps, finishes) in requests {
            let priority = [Priority::Low, Priority::Normal, Priority::High][priority];
            let demand = demand(pairs, text);
            let slot = admission.admit(&demand, priority, None, Instant::now()).unwrap();
            let before = admission.lock().total();
            for step in steps {
                match step {
                    Step::Begin(stage) => drop(slot.begin(Stage::ALL[stage])),
                    Step::Deduct(stage, share) => slot.deduct(Stage::ALL[stage], share),
                    Step::Over(stage) => slot.deduct_up_to(Stage::ALL[stage]),
                }
                let (mine, queue) = (slot.left().total(), admission.lock().total());
                let others: Duration = slots.iter().map(|slot: &Arc<QueueSlot>| slot.left().total()).sum();
                prop_assert!(queue == others + mine && queue <= before);
            }
            if finishes {
                slot.deduct_up_to(Stage::Finish);
                prop_assert_eq!(slot.left(), Prediction::default());
            }
            slots.push(slot);
        }
        drop(slots);
        assert_even(&admission);
    }
}
