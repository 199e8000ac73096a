//! Words that are prepared in the background of all requests.

use std::{collections::HashSet, time::Duration};

use super::simulation::{Asked, MS, Setup, Simulation, USUAL};
use crate::{
    caches::text_cache::KnownText as _,
    preparing::{Assignment, Plan, Preparation, PreparationState, Progress, Start},
    requests::{error::EngineError, job::Priority, vocabulary::Vocabulary},
    stages::{
        StageError,
        fake::{Fault, POISON},
        stage::Stage,
    },
};

const SECOND: Duration = Duration::from_secs(1);

impl Simulation {
    /// Prepares the words of a request, for a caller that waits.
    pub(super) fn prepare(&mut self, asked: &Asked) -> Preparation {
        let (vocabulary, plan) = self.plan(asked);
        let watched = self.preparations.watch(&vocabulary, plan, self.scheduler.now());
        let (preparation, assignments) = watched.unwrap();
        self.assign(assignments);
        preparation
    }

    /// Prepares the words of a request that was refused.
    pub(super) fn prepare_late(&mut self, asked: &Asked) {
        let (vocabulary, plan) = self.plan(asked);
        let (_, assignments) = self.preparations.ask(&vocabulary, plan, self.scheduler.now()).unwrap();
        self.assign(assignments);
    }

    fn plan(&self, asked: &Asked) -> (Vocabulary, Plan) {
        let vocabulary = asked.job(self.count, self.scheduler.now()).vocabulary;
        let different: HashSet<_> = vocabulary.phrases().iter().collect();
        let embedded = self.scheduler.text_cache.known_phrases(&vocabulary, &different);
        let devices = vec![Start { device: "cpu".into(), embedded, remaining: None }];
        let plan = Plan { phrases: different.len(), most_held: usize::MAX, devices, caller: None };
        (vocabulary, plan)
    }

    fn assign(&mut self, assignments: Vec<Assignment>) {
        assignments.into_iter().for_each(|assignment| self.scheduler.prepare(&self.stages, assignment));
    }

    /// Steps for some time, waiting where the device thread would.
    pub(super) fn run_for(&mut self, time: Duration) {
        let end = self.scheduler.now() + time;
        while self.scheduler.now() < end {
            if !self.step() {
                let left = end.saturating_duration_since(self.scheduler.now());
                self.pass(self.scheduler.background_in().map_or(left, |wait| wait.min(left)));
            }
        }
    }
}

/// A simulation that knows ten words, and whose requests with these take half a second.
fn warm() -> Simulation {
    let mut simulation = Simulation::new(Setup { images: 1, image_cache: 0, ..USUAL });
    simulation.slowness = 40;
    simulation.ask(&Asked::words(10, 250));
    simulation.run();
    simulation.launches.clear();
    simulation
}

/// Words of so many bytes that no other request has.
fn cold(count: usize, bytes: usize) -> Asked {
    let words = (0..count).map(|word| format!("{word} {}", "x".repeat(bytes))).collect();
    Asked { words, ..Asked::words(1, 99) }
}

fn now(preparation: &Preparation) -> Progress {
    preparation.progress().borrow().clone()
}

fn background(simulation: &Simulation) -> usize {
    simulation.launches.iter().filter(|launch| launch.background).count()
}

#[test]
fn a_device_without_requests_prepares_all_words_in_small_launches() {
    let mut simulation = Simulation::new(USUAL);
    let asked = cold(300, 500); // a millisecond for each phrase
    let preparation = simulation.prepare(&asked);
    assert_eq!((now(&preparation).phrases, now(&preparation).known), (300, 0));
    let mut last = 0;
    while simulation.step() {
        let embedded = now(&preparation).embedded;
        assert!(embedded >= last, "{embedded} after {last}");
        last = embedded;
        // It has no place in the queue, and no request waits for it by any prediction.
        assert_eq!((simulation.admission.waiting(), simulation.admission.load()), (0, (0.0, 0)));
    }
    assert_eq!(now(&preparation).state, PreparationState::Ready);
    assert_eq!((now(&preparation).embedded, simulation.control.embedded()), (300, 300));
    assert_eq!(simulation.launches[0].pairs, 1, "nothing is known of its time");
    assert!(simulation.launches[4..].iter().all(|launch| launch.time <= MS * 25));
    assert!(simulation.launches.len() < 100, "{} launches", simulation.launches.len());
    // The vocabulary is whole: a request with it has no launch of words.
    simulation.launches.clear();
    let number = simulation.ask(&asked);
    simulation.run();
    assert!(simulation.results[&number].as_ref().unwrap().caches.vocabulary_hit);
    assert!(simulation.launches.iter().all(|launch| launch.stage != Stage::TextEmbedding));
}

#[test]
fn the_predicted_time_is_about_right() {
    let mut simulation = Simulation::new(USUAL);
    let preparation = simulation.prepare(&cold(400, 500));
    (0..30).for_each(|_| assert!(simulation.step()));
    let (begun, remaining) = (simulation.scheduler.now(), now(&preparation).remaining.unwrap());
    while simulation.step() {}
    let took = simulation.scheduler.now() - begun;
    assert!((took.mul_f64(0.7)..took.mul_f64(1.4)).contains(&remaining), "{remaining:?} for {took:?}");
}

/// Latencies of 400 requests with known words, each of which comes 20 ms after the answer to the one before.
fn latencies(simulation: &mut Simulation) -> Vec<Duration> {
    let (mut latencies, mut arrival) = (Vec::new(), simulation.scheduler.now());
    for picture in 0..400_u32 {
        let number = simulation.ask(&Asked::words(10, (picture % 200) as u8));
        while !simulation.results.contains_key(&number) {
            assert!(simulation.step());
        }
        latencies.push(simulation.scheduler.now() - arrival);
        arrival = simulation.scheduler.now() + MS * 20;
        simulation.run_for(MS * 20); // a launch that begins now ends later
    }
    latencies.sort();
    latencies
}

#[test]
fn requests_with_known_words_keep_their_latency() {
    let alone = latencies(&mut warm());
    // Launches that are short beside a request, and longer than one.
    for (words, bytes) in [(847, 1), (100, 1000), (100, 10_000)] {
        let mut simulation = warm();
        let preparation = simulation.prepare(&cold(words, bytes));
        let beside = latencies(&mut simulation);
        for rank in [200, 379] {
            let most = alone[rank].mul_f64(1.2);
            assert!(beside[rank] <= most, "{:?} instead of {:?}", beside[rank], alone[rank]);
        }
        // It makes progress all the same, and all of it once no request comes.
        assert!(now(&preparation).embedded >= 10, "{:?}", now(&preparation));
        simulation.run_for(SECOND * 2000);
        assert_eq!(now(&preparation).state, PreparationState::Ready);
    }
}

#[test]
fn a_device_that_is_never_idle_has_a_share_for_it() {
    let mut simulation = warm();
    let preparation = simulation.prepare(&cold(2000, 1));
    let begun = simulation.scheduler.now();
    let mut asked = 0;
    while simulation.scheduler.now() < begun + SECOND * 200 {
        // There is always one that could begin.
        while simulation.admission.waiting() < 2 {
            asked += 1;
            simulation.ask(&Asked { priority: Priority::High, ..Asked::words(10, (asked % 200) as u8) });
        }
        assert!(simulation.step());
    }
    let spent: Duration =
        simulation.launches.iter().filter(|launch| launch.background).map(|launch| launch.time).sum();
    assert!((SECOND / 2..=SECOND * 11).contains(&spent), "{spent:?} of 200 s");
    assert!(now(&preparation).embedded > 10 && now(&preparation).remaining.unwrap() > SECOND * 60);
}

#[test]
fn a_gap_between_two_requests_is_not_used() {
    let mut simulation = warm();
    let _preparation = simulation.prepare(&cold(100, 1));
    assert!(simulation.step() && simulation.launches[0].background, "its first turn comes at once");
    assert!(!simulation.step());
    let wait = simulation.scheduler.background_in().unwrap();
    assert!((SECOND / 2..=SECOND).contains(&wait), "{wait:?}");
    simulation.pass(wait);
    (0..5).for_each(|_| assert!(simulation.step()));
    assert_eq!(background(&simulation), 6);
}

#[test]
fn words_of_a_request_and_of_a_preparation_are_embedded_once() {
    let mut simulation = Simulation::new(USUAL);
    let preparation = simulation.prepare(&cold(60, 500));
    (0..3).for_each(|_| assert!(simulation.step()));
    let embedded = now(&preparation).embedded;
    let number = simulation.ask(&Asked { words: cold(60, 500).words[40..].to_vec(), ..Asked::words(1, 3) });
    simulation.run_until_at(number, Stage::Encode);
    // The request's words came first, and count for the preparation.
    assert!(now(&preparation).embedded >= embedded + 20);
    simulation.run();
    simulation.run_for(SECOND * 10);
    assert_eq!(now(&preparation).state, PreparationState::Ready);
    assert_eq!(simulation.control.embedded(), 60);
}

#[test]
fn vocabularies_take_turns() {
    let mut simulation = Simulation::new(USUAL);
    let large = simulation.prepare(&cold(200, 3000));
    simulation.step();
    let small = simulation.prepare(&Asked { words: cold(5, 3001).words, ..Asked::words(1, 1) });
    while now(&small).state == PreparationState::Running {
        assert!(simulation.step());
    }
    assert!(now(&large).embedded < 20, "{:?}", now(&large));
    while simulation.step() {}
    assert_eq!(now(&large).state, PreparationState::Ready);
}

#[test]
fn leaving_early_keeps_what_is_embedded() {
    let mut simulation = Simulation::new(USUAL);
    let preparation = simulation.prepare(&cold(100, 3000));
    (0..20).for_each(|_| assert!(simulation.step()));
    let embedded = now(&preparation).embedded;
    assert!((15..90).contains(&embedded), "{embedded}");
    drop(preparation);
    assert!(!simulation.step());
    assert_eq!(simulation.scheduler.background_in(), None);
    let again = simulation.prepare(&cold(100, 3000));
    assert_eq!((now(&again).known, now(&again).embedded), (embedded, embedded));
    while simulation.step() {}
    assert_eq!((now(&again).embedded, simulation.control.embedded()), (100, 100));
}

/// A first contact that was a dead end: the words take eight times as long as a request may.
#[test]
fn a_large_vocabulary_ends_in_an_answer_by_asking_again() {
    for known in [true, false] {
        let mut simulation = Simulation::new(Setup { pairs: 1000, ..USUAL });
        simulation.slowness = 200; // 284 ms for a launch of one phrase, 240 s for all
        if known {
            simulation.ask(&Asked::words(1, 1));
            simulation.run();
        }
        let asked = Asked { timeout: Some(SECOND * 30), ..cold(847, 200) };
        let (begun, mut tries, mut embedded) = (simulation.scheduler.now(), 0, simulation.control.embedded());
        loop {
            tries += 1;
            let outcome = simulation.try_ask(&asked).and_then(|number| {
                // The last step of a request that is late has no launch.
                while !simulation.results.contains_key(&number) {
                    assert!(simulation.step() || simulation.results.contains_key(&number));
                }
                simulation.results.remove(&number).unwrap()
            });
            match outcome {
                Ok(_) => break,
                Err(EngineError::DeadlineTooShort { .. }) => {}
                Err(EngineError::DeadlineExceeded) => simulation.prepare_late(&asked),
                Err(other) => panic!("{other:?}"),
            }
            simulation.run_for(SECOND * 30);
            let now = simulation.control.embedded();
            assert!(now > embedded, "no progress in try {tries}");
            embedded = now;
        }
        let took = simulation.scheduler.now() - begun;
        assert!(tries > 2 && took < SECOND * 600, "{tries} tries in {took:?}");
    }
}

#[test]
fn a_phrase_that_fails_ends_its_preparation_alone() {
    let mut simulation = Simulation::new(USUAL);
    let mut poisoned = cold(20, 1);
    poisoned.words[7] = format!("{POISON} ivy");
    let (bad, good) = (simulation.prepare(&poisoned), simulation.prepare(&cold(30, 2)));
    while simulation.step() {}
    let PreparationState::Failed(error) = now(&bad).state else { panic!("{:?}", now(&bad)) };
    assert!(matches!(error, EngineError::StageFailed { stage: Stage::TextEmbedding, .. }), "{error:?}");
    assert_eq!(now(&good).state, PreparationState::Ready);
}

#[test]
fn too_little_memory_makes_smaller_launches() {
    let mut simulation = Simulation::new(USUAL);
    let preparation = simulation.prepare(&cold(40, 1));
    (0..2).for_each(|_| assert!(simulation.step()));
    let full = || Fault::Fail(StageError::OutOfMemory("full".into()));
    (0..2).for_each(|_| simulation.control.inject(Stage::TextEmbedding, full()));
    while simulation.step() {}
    assert_eq!(now(&preparation).state, PreparationState::Ready);
}

#[test]
fn a_lost_device_and_a_shutdown_end_all_of_them() {
    for (only_fresh, error) in
        [(false, EngineError::DeviceLost("fell off the bus".into())), (true, EngineError::ShuttingDown)]
    {
        let mut simulation = Simulation::new(USUAL);
        let preparations = [10, 20].map(|count| simulation.prepare(&cold(count, 3000)));
        assert!(simulation.step());
        simulation.scheduler.fail_all(only_fresh, &error);
        for preparation in preparations {
            assert_eq!(now(&preparation).state, PreparationState::Failed(error.clone()));
        }
        assert!(!simulation.step());
    }
}
