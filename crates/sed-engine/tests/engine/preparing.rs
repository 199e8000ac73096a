//! Words that are prepared in the background: what callers see of it, and how a first contact ends in an
//! answer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sed_engine::{
    Category, Engine, EngineConfig, EngineError, EngineState, JobImage, NetworkInput, NotReady, OutputSpec,
    Preparation, PreparationState, Priority, Progress, Rejection, SegmentJob, Stage, StageError, Thresholds,
    Vocabulary, VocabularyLimits,
    fake::{FakeControl, FakeReader, FakeStages, Fault, POISON},
};
use sed_telemetry::Telemetry;

const MS: Duration = Duration::from_millis(1);

/// Engines on so many devices, each of whose text towers takes so long for a phrase from the warm-up on.
async fn engine_with(
    config: EngineConfig,
    devices: usize,
    phrase_time: Duration,
) -> (Engine, Vec<FakeControl>) {
    let (stages, controls): (Vec<_>, Vec<_>) = (0..devices).map(|_| FakeStages::new()).unzip();
    controls.iter().for_each(|control: &FakeControl| control.slow_words(phrase_time));
    let engine = Engine::start_all(stages, &config, &Telemetry::off()).unwrap();
    engine.ready().await.unwrap();
    (engine, controls)
}

async fn engine(phrase_time: Duration) -> (Engine, FakeControl) {
    let (engine, mut controls) = engine_with(EngineConfig::default(), 1, phrase_time).await;
    (engine, controls.remove(0))
}

fn words(name: &str, count: usize) -> Vocabulary {
    let categories = (0..count).map(|index| Category::new(format!("{name} {index}"))).collect();
    Vocabulary::new(categories, &VocabularyLimits::default(), &FakeReader).unwrap()
}

fn job(vocabulary: Vocabulary, timeout: Option<Duration>) -> SegmentJob {
    let now = Instant::now();
    SegmentJob {
        image: JobImage::Pixels { input: NetworkInput::new(32, vec![0.5; 32 * 32 * 3]).into(), facts: None },
        vocabulary,
        rejection: Rejection::from_top_k(2),
        output: OutputSpec {
            width: 40,
            height: 24,
            crop: None,
            thresholds: Thresholds::Same(0.0),
            score_maps: false,
            sureness: false,
        },
        waiting_since: now,
        deadline: timeout.map(|timeout| now + timeout),
        priority: Priority::Normal,
    }
}

fn now(preparation: &Preparation) -> Progress {
    preparation.progress().borrow().clone()
}

/// Asks again as long as the words are not ready, after the delay that the error names. Returns the tries.
async fn until_answered(engine: &Engine, vocabulary: &Vocabulary, timeout: Duration) -> usize {
    let (mut tries, mut last) = (0, 0);
    loop {
        tries += 1;
        match engine.segment(job(vocabulary.clone(), Some(timeout))).await {
            Ok(outcome) => {
                assert_eq!(outcome.rejection.levels[0].candidates as usize, vocabulary.size());
                return tries;
            }
            Err(EngineError::VocabularyNotReady { embedded, phrases, retry_after, why }) => {
                let delay = retry_after.unwrap();
                assert!((1..=30).contains(&delay.as_secs()) && why == NotReady::Preparing, "{delay:?}");
                assert!(embedded >= last && phrases == vocabulary.size(), "{embedded} after {last}");
                last = embedded;
                assert!(tries < 20, "{embedded} of {phrases} after {tries} tries");
                tokio::time::sleep(delay).await;
            }
            Err(other) => panic!("try {tries}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_cold_vocabulary_that_takes_too_long_ends_in_an_answer() {
    // Known to take six times the deadline, so that it is refused at once.
    let (engine, control) = engine(MS * 10).await;
    let before = control.embedded();
    assert!(until_answered(&engine, &words("w", 300), MS * 500).await > 1);
    assert_eq!(control.embedded() - before, 300, "each phrase is embedded once");
    // Not known to, so that the deadline passes among the words.
    let (engine, controls) = engine_with(EngineConfig::default(), 2, Duration::ZERO).await;
    controls.iter().for_each(|control| control.slow_words(MS * 10));
    assert!(until_answered(&engine, &words("w", 300), MS * 500).await > 1);
}

#[tokio::test]
async fn words_embedded_before_a_deadline_passes_stay() {
    let (engine, control) = engine(Duration::ZERO).await;
    control.slow_words(MS * 5);
    let vocabulary = words("thing", 1000);
    let refused = engine.segment(job(vocabulary.clone(), Some(MS * 300))).await.unwrap_err();
    let EngineError::VocabularyNotReady { embedded, phrases: 1000, .. } = refused else {
        panic!("{refused:?}")
    };
    assert!((1..1000).contains(&embedded), "{embedded}");
    let (phrases, now) = engine.embedded(&vocabulary);
    assert!(phrases == 1000 && now >= embedded, "{now} after {embedded}");
}

#[tokio::test]
async fn words_that_leave_too_little_of_a_deadline_are_to_blame() {
    let (engine, control) = engine(Duration::ZERO).await;
    control.slow_words(MS * 10);
    control.inject(Stage::Encode, Fault::Hold);
    // The words take three quarters, and the encoder the rest.
    let vocabulary = words("thing", 60);
    let late = engine.segment(job(vocabulary.clone(), Some(MS * 800))).await;
    let Err(EngineError::VocabularyNotReady { phrases: 60, retry_after: Some(_), why, .. }) = late else {
        panic!("{late:?}")
    };
    assert_eq!(why, NotReady::Preparing);
    control.release();
    // With known words the request has itself to blame.
    engine.prepare(&vocabulary, None).unwrap().ready().await.unwrap();
    control.inject(Stage::CostMap, Fault::Hold);
    let slow = engine.segment(job(vocabulary, Some(MS * 200))).await;
    assert_eq!(slow, Err(EngineError::DeadlineExceeded));
    control.release();
}

#[tokio::test]
async fn embedding_for_later_has_the_same_way_out() {
    let (engine, _) = engine(MS * 10).await;
    let vocabulary = words("thing", 200);
    let deadline = || Some(Instant::now() + MS * 200);
    let refused = engine.embed(vocabulary.clone(), deadline()).await.unwrap_err();
    assert!(
        matches!(refused, EngineError::VocabularyNotReady { why: NotReady::Preparing, .. }),
        "{refused:?}"
    );
    // A caller that waits joins the effort.
    engine.prepare(&vocabulary, None).unwrap().ready().await.unwrap();
    assert_eq!(engine.embedded(&vocabulary), (200, 200));
    engine.embed(vocabulary, deadline()).await.unwrap();
}

#[tokio::test]
async fn callers_watch_one_effort_and_may_leave_it() {
    let (engine, control) = engine(MS * 5).await;
    let (before, vocabulary) = (control.embedded(), words("thing", 100));
    let first = engine.prepare(&vocabulary, None).unwrap();
    let second = engine.prepare(&vocabulary, Some(Arc::from("camera"))).unwrap();
    let mut progress = second.progress();
    progress.wait_for(|progress| progress.embedded >= 10).await.unwrap();
    drop(first);
    let mut last = 0;
    while now(&second).state == PreparationState::Running {
        progress.changed().await.unwrap();
        let embedded = progress.borrow_and_update().embedded;
        assert!(embedded >= last);
        last = embedded;
    }
    second.ready().await.unwrap();
    assert_eq!((now(&second).embedded, control.embedded() - before), (100, 100));
    let again = engine.prepare(&vocabulary, None).unwrap();
    assert_eq!((now(&again).state, now(&again).known), (PreparationState::Ready, 100));

    // The last caller ends it, and what is embedded stays.
    let other = words("other", 1000);
    let alone = engine.prepare(&other, None).unwrap();
    alone.progress().wait_for(|progress| progress.embedded >= 10).await.unwrap();
    drop(alone);
    // A launch may run still.
    tokio::time::sleep(MS * 100).await;
    let embedded = control.embedded();
    tokio::time::sleep(MS * 50).await;
    assert_eq!(control.embedded(), embedded);
    let (_, kept) = engine.embedded(&other);
    assert!((10..1000).contains(&kept) && now(&engine.prepare(&other, None).unwrap()).known == kept);
}

#[tokio::test]
async fn what_fits_no_cache_is_refused_with_the_sizes() {
    let small =
        EngineConfig { text_cache_bytes: 1000, vocabulary_cache_bytes: 500, ..EngineConfig::default() };
    let (engine, _) = engine_with(small, 1, MS * 10).await;
    let refused = |vocabulary: &Vocabulary| engine.prepare(vocabulary, None).unwrap_err();
    let EngineError::VocabularyNotReady { phrases: 100, retry_after: None, why, .. } =
        refused(&words("thing", 100))
    else {
        panic!("{:?}", refused(&words("thing", 100)))
    };
    let NotReady::TooLarge { needed, text_cache: 1000, assembled, vocabulary_cache: 500 } = why else {
        panic!("{why:?}")
    };
    // The fake's embeddings have eight bytes.
    assert!(needed > 800 && assembled > 800, "{needed} and {assembled} bytes");
    // A request that has no time for it says the same, but a small vocabulary fits.
    let late = engine.segment(job(words("thing", 100), Some(MS * 100))).await;
    assert!(matches!(late, Err(EngineError::VocabularyNotReady { retry_after: None, .. })), "{late:?}");
    engine.prepare(&words("thing", 40), None).unwrap().ready().await.unwrap();
}

#[tokio::test]
async fn phrases_are_bounded_for_all_and_for_each_caller() {
    let config = EngineConfig { preparing_phrases: 100, ..EngineConfig::default() };
    let (engine, _) = engine_with(config, 1, MS * 10).await;
    let prepare =
        |name: &str, count: usize, caller: &str| engine.prepare(&words(name, count), Some(Arc::from(caller)));
    let refused = |name: &str, count: usize, caller: &str| match prepare(name, count, caller).unwrap_err() {
        EngineError::VocabularyNotReady { retry_after: Some(_), why, .. } => why,
        other => panic!("{other:?}"),
    };
    let _first = prepare("first", 40, "camera").unwrap();
    assert_eq!(refused("more", 20, "camera"), NotReady::TooMany { preparing: 40, limit: 50 });
    let _second = prepare("second", 50, "drone").unwrap();
    assert_eq!(refused("third", 20, "phone"), NotReady::TooMany { preparing: 90, limit: 100 });
    // A refused request counts for its caller, too.
    let late = engine.segment_for(job(words("late", 20), Some(MS * 20)), Some(Arc::from("camera"))).await;
    // There will be room.
    let Err(EngineError::VocabularyNotReady { retry_after: Some(_), why, .. }) = late else {
        panic!("{late:?}")
    };
    assert!(matches!(why, NotReady::TooMany { .. }), "{why:?}");
}

/// A prediction that is wrong would never be corrected otherwise.
#[tokio::test]
async fn where_nothing_is_prepared_late_words_are_tried() {
    let config = EngineConfig { preparing_phrases: 0, ..EngineConfig::default() };
    let (engine, controls) = engine_with(config, 1, MS * 20).await;
    controls[0].slow_words(Duration::ZERO);
    engine.segment(job(words("thing", 100), Some(MS * 500))).await.unwrap();
}

#[tokio::test]
async fn all_devices_prepare_and_a_lost_one_is_left_out() {
    let config = EngineConfig { probe_interval: Duration::from_secs(3600), ..EngineConfig::default() };
    let (engine, controls) = engine_with(config, 2, MS).await;
    let vocabulary = words("thing", 50);
    let preparation = engine.prepare(&vocabulary, None).unwrap();
    assert_eq!(now(&preparation).devices.len(), 2);
    preparation.ready().await.unwrap();
    assert!(controls.iter().all(|control| control.embedded() >= 50));
    assert_eq!(engine.embedded(&vocabulary), (50, 50));

    let lost = || Fault::Fail(StageError::DeviceLost("fell off the bus".into()));
    controls[0].inject(Stage::TextEmbedding, lost());
    let preparation = engine.prepare(&words("other", 50), None).unwrap();
    preparation.ready().await.unwrap();
    assert_eq!(now(&preparation).devices.len(), 1);
    assert!(engine.state().borrow().is_ready());
    controls[1].inject(Stage::TextEmbedding, lost());
    let preparation = engine.prepare(&words("third", 50), None).unwrap();
    let ended = preparation.ready().await;
    assert_eq!(ended, Err(EngineError::DeviceLost("fell off the bus".into())));
    assert!(matches!(*engine.state().borrow(), EngineState::DeviceLost { .. }));
    let refused = engine.prepare(&vocabulary, None).unwrap_err();
    assert!(matches!(refused, EngineError::DeviceLost(_)), "{refused:?}");
}

#[tokio::test]
async fn a_phrase_that_fails_and_an_engine_that_ends_are_told() {
    let (engine, _) = engine(MS).await;
    let poisoned = engine.prepare(&words(POISON, 5), None).unwrap().ready().await;
    assert!(matches!(poisoned, Err(EngineError::StageFailed { .. })), "{poisoned:?}");
    let preparation = engine.prepare(&words("thing", 1000), None).unwrap();
    engine.shutdown().await;
    assert_eq!(preparation.ready().await, Err(EngineError::ShuttingDown));
    assert_eq!(engine.prepare(&words("thing", 5), None).unwrap_err(), EngineError::ShuttingDown);
}
