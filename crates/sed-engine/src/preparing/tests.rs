//! Efforts that callers share: their counts, their bounds, and their ends.

use super::*;
use crate::{
    metrics,
    requests::vocabulary::Category,
    stages::{fake::FakeReader, stage::Stage},
};

const SECOND: Duration = Duration::from_secs(1);

fn words(name: &str) -> Vocabulary {
    Vocabulary::built_in(vec![Category::new(name)], &FakeReader).unwrap()
}

/// A plan for so many phrases, of which each device has some.
fn plan(phrases: usize, embedded: &[usize]) -> Plan {
    let start = |(number, embedded): (usize, &usize)| Start {
        device: format!("cuda:{number}"),
        embedded: *embedded,
        remaining: Some(SECOND),
    };
    let devices = embedded.iter().enumerate().map(start).collect();
    Plan { phrases, most_held: usize::MAX, devices, caller: None }
}

fn preparations(most_phrases: usize) -> Arc<Preparations> {
    Preparations::new(most_phrases, &metrics::off())
}

/// A caller that waits for an effort of ten phrases, and the shares of its devices.
fn watched(preparations: &Arc<Preparations>, embedded: &[usize]) -> (Preparation, Vec<Share>) {
    let (preparation, assignments) =
        preparations.watch(&words("cat"), plan(10, embedded), Instant::now()).unwrap();
    (preparation, assignments.into_iter().map(|assignment| assignment.share).collect())
}

fn now(preparation: &Preparation) -> Progress {
    preparation.progress().borrow().clone()
}

#[test]
fn the_count_is_that_of_the_slowest_device_and_never_falls() {
    let preparations = preparations(100);
    let (preparation, shares) = watched(&preparations, &[4, 2]);
    let progress = now(&preparation);
    assert_eq!((progress.phrases, progress.known, progress.embedded), (10, 2, 2));
    assert_eq!(progress.devices, [("cuda:0".to_owned(), 4), ("cuda:1".to_owned(), 2)]);
    shares[1].report(7, Some(SECOND * 3));
    shares[1].report(1, Some(SECOND * 2)); // dropped by a cache, and never told
    let progress = now(&preparation);
    assert_eq!((progress.embedded, progress.remaining), (4, Some(SECOND * 2)));
    shares[0].report(5, None);
    assert_eq!((now(&preparation).embedded, now(&preparation).remaining), (5, None));
    let [first, second] = <[Share; 2]>::try_from(shares).unwrap();
    first.done();
    assert_eq!((now(&preparation).embedded, now(&preparation).state), (7, PreparationState::Running));
    second.done();
    let progress = now(&preparation);
    assert_eq!((progress.embedded, progress.known, progress.state), (10, 2, PreparationState::Ready));
    assert_eq!(progress.remaining, Some(Duration::ZERO));
    assert!(preparations.lock().running.is_empty());
}

#[test]
fn callers_of_the_same_words_share_an_effort_until_the_last_one_leaves() {
    let preparations = preparations(20);
    let (first, shares) = watched(&preparations, &[0]);
    shares[0].report(3, None);
    let (second, none) = watched(&preparations, &[3]);
    assert!(none.is_empty());
    assert_eq!(now(&second).embedded, 3);
    drop(first);
    assert!(!shares[0].is_over() && shares[0].is_wanted(Instant::now()));
    let left = second.progress();
    drop(second);
    assert!(shares[0].is_over());
    assert_eq!(left.borrow().state, PreparationState::Failed(EngineError::Cancelled));
    // The same words are another effort from then on, which the old share does not touch.
    let (third, _shares) = watched(&preparations, &[3]);
    shares[0].report(9, None);
    assert_eq!(now(&third).embedded, 3);
}

#[test]
fn refused_requests_keep_an_effort_for_some_time() {
    let preparations = preparations(20);
    let begun = Instant::now();
    let (progress, assignments) = preparations.ask(&words("cat"), plan(10, &[0]), begun).unwrap();
    assert_eq!(progress.state, PreparationState::Running);
    let share = &assignments[0].share;
    let (watching, _) = watched(&preparations, &[0]);
    drop(watching);
    assert!(share.is_wanted(begun + PATIENCE - SECOND));
    let (_, none) = preparations.ask(&words("cat"), plan(10, &[0]), begun + PATIENCE - SECOND).unwrap();
    assert!(none.is_empty() && share.is_wanted(begun + PATIENCE + SECOND));
    assert!(!share.is_wanted(begun + PATIENCE * 2));
    assert!(share.is_over() && preparations.lock().running.is_empty());
}

#[test]
fn phrases_are_bounded_for_all_and_for_each_caller() {
    let preparations = preparations(20);
    let begin = |name: &str, phrases: usize, caller: Option<&str>| {
        let plan = Plan { caller: caller.map(Arc::from), ..plan(phrases, &[0]) };
        preparations.ask(&words(name), plan, Instant::now())
    };
    let too_many = |preparing, limit| NotReady::TooMany { preparing, limit };
    assert_eq!(begin("all", 21, None).unwrap_err(), too_many(0, 20));
    assert_eq!(begin("most", 11, None).unwrap_err(), too_many(0, 10));
    let (_, _first) = begin("cat", 6, None).unwrap();
    assert_eq!(begin("dog", 5, None).unwrap_err(), too_many(6, 10));
    let (_, second) = begin("dog", 10, Some("camera")).unwrap();
    assert_eq!(begin("cow", 5, Some("drone")).unwrap_err(), too_many(16, 20));
    let (_, _third) = begin("cow", 4, Some("drone")).unwrap();
    // Joining needs no room, and an effort that ends makes some.
    assert!(begin("cat", 6, Some("drone")).unwrap().1.is_empty());
    second.into_iter().for_each(|assignment| assignment.share.done());
    begin("elk", 6, Some("drone")).unwrap();

    let held = Plan { most_held: 3, ..plan(4, &[0]) };
    let refused = self::preparations(20).ask(&words("cat"), held, Instant::now()).unwrap_err();
    assert_eq!(refused, too_many(0, 3));
}

#[test]
fn known_phrases_need_no_room() {
    let preparations = preparations(20);
    let begin = |name: &str, known| preparations.ask(&words(name), plan(800, &[known]), Instant::now());
    let _first = begin("cat", 795).unwrap();
    assert_eq!(begin("dog", 794).unwrap_err(), NotReady::TooMany { preparing: 5, limit: 10 });
    let _second = begin("dog", 795).unwrap();
}

#[test]
fn a_lost_device_leaves_the_others_and_the_last_one_ends_it() {
    let lost = EngineError::DeviceLost("fell off the bus".into());
    let [all, one, done] = [(); 3].map(|()| {
        let (preparation, shares) = watched(&preparations(100), &[1, 4]);
        (preparation, <[Share; 2]>::try_from(shares).unwrap())
    });
    let (preparation, [first, second]) = all;
    first.fail(&lost);
    assert_eq!(now(&preparation).embedded, 4);
    assert_eq!(now(&preparation).devices.len(), 1);
    second.fail(&lost);
    assert_eq!(now(&preparation).state, PreparationState::Failed(lost.clone()));

    let (preparation, [first, second]) = one;
    first.fail(&lost);
    second.done();
    assert_eq!(now(&preparation).state, PreparationState::Ready);

    // A thread that ends says nothing more.
    let (preparation, [first, second]) = done;
    drop((first, second));
    assert_eq!(now(&preparation).state, PreparationState::Failed(EngineError::ShuttingDown));
}

#[test]
fn words_that_fail_on_one_device_fail_on_all() {
    let (preparation, mut shares) = watched(&preparations(100), &[0, 0]);
    let failed = EngineError::StageFailed { stage: Stage::TextEmbedding, message: "poison".into() };
    shares.remove(0).fail(&failed);
    assert_eq!(now(&preparation).state, PreparationState::Failed(failed));
    assert!(shares[0].is_over());
}

#[tokio::test]
async fn who_waits_for_the_end_has_it_or_its_error() {
    let (preparation, mut shares) = watched(&preparations(100), &[0]);
    let waiting = tokio::spawn(async move { preparation.ready().await });
    tokio::task::yield_now().await;
    shares.remove(0).done();
    assert_eq!(waiting.await.unwrap(), Ok(()));
    let (preparation, shares) = watched(&preparations(100), &[0]);
    drop(shares);
    assert_eq!(preparation.ready().await, Err(EngineError::ShuttingDown));
}
