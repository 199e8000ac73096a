//! An engine whose device takes whole requests.

use std::time::{Duration, Instant};

use sed_engine::{
    Category, Engine, EngineConfig, EngineError, EngineState, ImageFacts, ImageKey, JobImage, JobInput,
    NetworkInput, OutputSpec, Priority, Rejection, SegmentJob, Stage, StageError, Thresholds, Vocabulary,
    VocabularyLimits,
    fake::{FakeControl, FakeReader, FakeStages, Fault},
};
use sed_telemetry::Telemetry;

async fn started(
    (stages, control): (FakeStages, FakeControl),
    config: EngineConfig,
) -> (Engine, FakeControl) {
    let engine = Engine::start(stages, &config, &Telemetry::off()).unwrap();
    engine.ready().await.unwrap();
    (engine, control)
}

async fn engine() -> (Engine, FakeControl) {
    let config = EngineConfig { probe_interval: Duration::from_millis(20), ..EngineConfig::default() };
    started(FakeStages::that_submits(), config).await
}

fn input(picture: u8) -> NetworkInput {
    let value = |index: usize| ((index * (3 + usize::from(picture))) % 97) as f32 / 50.0;
    NetworkInput::new(32, (0..32 * 32 * 3).map(value).collect())
}

fn job(picture: u8, input: JobInput) -> SegmentJob {
    let categories = (0..9).map(|index| Category::new(format!("thing {index}"))).collect();
    let facts = ImageFacts { key: ImageKey([picture; 32]), width: 60, height: 40, crop: None };
    SegmentJob {
        image: JobImage::Pixels { input, facts: Some(facts) },
        vocabulary: Vocabulary::new(categories, &VocabularyLimits::default(), &FakeReader).unwrap(),
        rejection: Rejection::from_top_k(2),
        output: OutputSpec {
            width: 40,
            height: 24,
            crop: None,
            thresholds: Thresholds::Same(0.0),
            score_maps: false,
            sureness: true,
        },
        waiting_since: Instant::now(),
        deadline: None,
        priority: Priority::Normal,
    }
}

#[tokio::test]
async fn answers_are_those_of_stages_one_by_one_wherever_the_inputs_lie() {
    let (whole, _control) = engine().await;
    let (staged, _control) = started(FakeStages::new(), EngineConfig::default()).await;
    assert!(staged.input_slots().is_none());
    let slots = whole.input_slots().unwrap();
    for picture in 0..6 {
        // The fake has two slots, which are free again behind every answer.
        let placed = JobInput::new(input(picture), (picture % 3 > 0).then_some(&*slots));
        let found = whole.segment(job(picture, placed)).await.unwrap();
        let expected = staged.segment(job(picture, input(picture).into())).await.unwrap();
        assert_eq!((found.map, found.rejection), (expected.map, expected.rejection));
        let stages = |timings: Vec<sed_engine::StageTiming>| {
            timings.into_iter().map(|timing| timing.stage).collect::<Vec<_>>()
        };
        assert_eq!(stages(found.timings), stages(expected.timings));
        assert!(whole.image(&ImageKey([picture; 32])).is_some(), "the features are cached");
    }
    let filled: Vec<_> = (0..3).map(|_| slots.fill(&[0.0])).collect();
    assert!(filled[..2].iter().all(Option::is_some) && filled[2].is_none());
}

#[tokio::test]
async fn the_warm_up_tries_submissions_of_some_sizes_and_stages_one_by_one() {
    let config = EngineConfig { warm_up_largest_batches: true, ..EngineConfig::default() };
    let (engine, control) = started(FakeStages::that_submits(), config).await;
    assert_eq!(engine.budget(), (8, 256));
    // A small picture, submissions of 1, 2, 4 and 8 images, and a picture with score maps.
    assert_eq!(control.calls(Stage::Encode), 6);
}

#[tokio::test]
async fn a_panic_within_a_submission_fails_its_request_and_the_thread_goes_on() {
    let (engine, control) = engine().await;
    control.inject(Stage::Decode(sed_engine::Level::Two), Fault::Panic);
    let failed = engine.segment(job(1, input(1).into())).await;
    assert!(matches!(failed, Err(EngineError::StageFailed { stage: Stage::Encode, .. })), "{failed:?}");
    engine.segment(job(1, input(1).into())).await.unwrap();
}

#[tokio::test]
async fn a_device_lost_within_a_submission_is_probed_by_another() {
    let (engine, control) = engine().await;
    let lost = Fault::Fail(StageError::DeviceLost("fell off the bus".into()));
    control.inject(Stage::Decode(sed_engine::Level::One), lost);
    let refused = engine.segment(job(1, input(1).into())).await;
    assert_eq!(refused, Err(EngineError::DeviceLost("fell off the bus".into())));
    engine.state().wait_for(EngineState::is_ready).await.unwrap();
    engine.segment(job(1, input(1).into())).await.unwrap();
}

#[tokio::test]
async fn a_shutdown_ends_behind_the_answers_of_what_has_begun() {
    let (engine, control) = engine().await;
    control.inject(Stage::Encode, Fault::Hold);
    let running = {
        let engine = engine.clone();
        tokio::spawn(async move { engine.segment(job(1, input(1).into())).await })
    };
    let held = control.clone();
    assert!(tokio::task::spawn_blocking(move || held.wait_until_held()).await.unwrap());
    let stopped = {
        let engine = engine.clone();
        tokio::spawn(async move { engine.shutdown().await })
    };
    while !matches!(engine.segment(job(2, input(2).into())).await, Err(EngineError::ShuttingDown)) {
        tokio::task::yield_now().await;
    }
    control.release();
    stopped.await.unwrap();
    assert!(running.await.unwrap().is_ok());
}
