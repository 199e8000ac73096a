//! An engine on several devices: the choice of a request's device, and the effect of one lost device on the
//! others.

use std::time::{Duration, Instant};

use sed_engine::{
    Category, Engine, EngineConfig, EngineError, EngineState, ImageFacts, ImageKey, JobImage, NetworkInput,
    OutputSpec, Priority, Rejection, SegmentJob, Stage, StageError, Thresholds, Vocabulary, VocabularyLimits,
    fake::{FakeControl, FakeReader, FakeStages, Fault},
};
use sed_telemetry::Telemetry;

/// An engine on two devices that are warm.
async fn two(config: EngineConfig) -> (Engine, [FakeControl; 2]) {
    let (stages, controls): (Vec<_>, Vec<_>) = (0..2).map(|_| FakeStages::new()).unzip();
    let engine = Engine::start_all(stages, &config, &Telemetry::off()).unwrap();
    engine.ready().await.unwrap();
    (engine, controls.try_into().unwrap())
}

fn words(names: &[&str]) -> Vocabulary {
    let categories = names.iter().copied().map(Category::new).collect();
    Vocabulary::new(categories, &VocabularyLimits::default(), &FakeReader).unwrap()
}

fn facts(picture: u8) -> ImageFacts {
    ImageFacts { key: ImageKey([picture; 32]), width: 40, height: 24, crop: None }
}

fn job(picture: u8) -> SegmentJob {
    let data = (0..32 * 32 * 3).map(|i| ((i * (3 + usize::from(picture))) % 97) as f32 / 50.0).collect();
    SegmentJob {
        image: JobImage::Pixels { input: NetworkInput::new(32, data).into(), facts: Some(facts(picture)) },
        vocabulary: words(&["cat", "dog", "cow"]),
        rejection: Rejection::from_top_k(2),
        output: OutputSpec {
            width: 40,
            height: 24,
            crop: None,
            thresholds: Thresholds::Same(0.0),
            score_maps: false,
            sureness: false,
        },
        waiting_since: Instant::now(),
        deadline: None,
        priority: Priority::Normal,
    }
}

fn calls(controls: &[FakeControl; 2], stage: Stage) -> [usize; 2] {
    [controls[0].calls(stage), controls[1].calls(stage)]
}

/// Sends a job whose encoding is held, and returns the device that has it.
async fn occupy(
    engine: &Engine,
    controls: &[FakeControl; 2],
    picture: u8,
) -> (usize, tokio::task::JoinHandle<bool>) {
    let before = calls(controls, Stage::Encode);
    controls.iter().for_each(|control| control.inject(Stage::Encode, Fault::Hold));
    let task = engine.clone();
    let running = tokio::spawn(async move { task.segment(job(picture)).await.is_ok() });
    for _ in 0..500 {
        let now = calls(controls, Stage::Encode);
        if let Some(device) = (0..2).find(|&device| now[device] > before[device]) {
            // The other device's order to hold is still there; its next call takes it and is let go at once.
            controls[1 - device].release();
            return (device, running);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no device took the request within 5 seconds");
}

#[tokio::test]
async fn a_request_goes_to_the_device_that_is_free() {
    let (engine, controls) = two(EngineConfig::default()).await;
    // Both know the words, so that only the load counts.
    engine.embed(words(&["cat", "dog", "cow"]), None).await.unwrap();
    let (busy, running) = occupy(&engine, &controls, 1).await;
    let before = calls(&controls, Stage::Finish);
    for picture in 2..6 {
        engine.segment(job(picture)).await.unwrap();
    }
    let after = calls(&controls, Stage::Finish);
    assert_eq!((after[busy] - before[busy], after[1 - busy] - before[1 - busy]), (0, 4));
    controls[busy].release();
    assert!(running.await.unwrap());
}

#[tokio::test]
async fn both_give_the_same_answer_and_know_what_was_embedded() {
    let (engine, controls) = two(EngineConfig::default()).await;
    let before = [controls[0].embedded(), controls[1].embedded()];
    engine.embed(words(&["cat", "dog", "cow"]), None).await.unwrap();
    let embedded = [controls[0].embedded(), controls[1].embedded()];
    assert_eq!([embedded[0] - before[0], embedded[1] - before[1]], [3, 3]);
    let (busy, running) = occupy(&engine, &controls, 1).await;
    let elsewhere = engine.segment(job(2)).await.unwrap();
    controls[busy].release();
    assert!(running.await.unwrap());
    let alone = Engine::start(FakeStages::new().0, &EngineConfig::default(), &Telemetry::off()).unwrap();
    alone.ready().await.unwrap();
    assert_eq!(elsewhere.map, alone.segment(job(2)).await.unwrap().map);
    assert_eq!([controls[0].embedded(), controls[1].embedded()], embedded);
}

#[tokio::test]
async fn a_known_image_is_worked_on_where_it_is() {
    let (engine, controls) = two(EngineConfig::default()).await;
    let before = calls(&controls, Stage::Encode);
    engine.segment(job(1)).await.unwrap();
    let now = calls(&controls, Stage::Encode);
    let home = (0..2).find(|&device| now[device] > before[device]).unwrap();
    let image = engine.image(&facts(1).key).unwrap();
    let finished = calls(&controls, Stage::Finish);
    for _ in 0..3 {
        engine.segment(SegmentJob { image: JobImage::Cached(image.clone()), ..job(1) }).await.unwrap();
    }
    assert_eq!(calls(&controls, Stage::Encode), now);
    assert_eq!(calls(&controls, Stage::Finish)[home] - finished[home], 3);

    let (other, _) = two(EngineConfig::default()).await;
    let stranger = other.segment(SegmentJob { image: JobImage::Cached(image), ..job(1) }).await;
    assert!(matches!(stranger, Err(EngineError::InvalidJob { field: "image", .. })), "{stranger:?}");
}

#[tokio::test]
async fn one_lost_device_leaves_the_other_at_work() {
    let (engine, controls) =
        two(EngineConfig { probe_interval: Duration::from_secs(3600), ..EngineConfig::default() }).await;
    let lost = Fault::Fail(StageError::DeviceLost("fell off the bus".into()));
    controls[0].inject(Stage::Encode, lost.clone());
    let (mut failed, mut done) = (0, 0);
    for picture in 0..12 {
        match engine.segment(job(picture)).await {
            Ok(_) => done += 1,
            Err(EngineError::DeviceLost(_)) => failed += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(failed <= 1 && done >= 11, "{failed} failed, {done} done");
    assert!(engine.state().borrow().is_ready());

    controls[1].inject(Stage::Encode, lost);
    let mut last = Ok(());
    for picture in 20..24 {
        last = engine.segment(job(picture)).await.map(|_| ());
    }
    // The first may not have been asked before, and its fault still waits.
    assert!(last.is_err());
    assert!(matches!(*engine.state().borrow(), EngineState::DeviceLost { .. }));
}

#[tokio::test]
async fn a_device_that_is_given_up_leaves_the_other_at_work_and_the_last_one_ends_the_engine() {
    let config = EngineConfig {
        probe_interval: Duration::from_millis(5),
        lost_probes: 2,
        image_cache_bytes: 0,
        ..EngineConfig::default()
    };
    let (engine, controls) = two(config).await;
    controls.iter().for_each(FakeControl::forbid_recovery);
    // For one request and two probes; a device that is not asked keeps its faults.
    let lose = |control: &FakeControl| {
        let lost = Fault::Fail(StageError::DeviceLost("fell off the bus".into()));
        (0..3).for_each(|_| control.inject(Stage::Encode, lost.clone()));
    };
    lose(&controls[0]);
    let before = calls(&controls, Stage::Encode)[0];
    let mut failed = 0;
    for picture in 0..200 {
        // Both are free, so that each is asked some time.
        let (one, other) = tokio::join!(engine.segment(job(picture)), engine.segment(job(picture)));
        failed += [one, other].into_iter().filter(Result::is_err).count();
        if calls(&controls, Stage::Encode)[0] == before + 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // The other request of a pair may have waited for the same device.
    assert_eq!(calls(&controls, Stage::Encode)[0], before + 3);
    assert!((1..=2).contains(&failed), "{failed} failed");
    assert!(engine.state().borrow().is_ready());
    engine.segment(job(7)).await.unwrap();

    lose(&controls[1]);
    engine.segment(job(8)).await.unwrap_err();
    let given_up = |state: &EngineState| matches!(state, EngineState::GivenUp { .. });
    engine.state().wait_for(given_up).await.unwrap();
    assert!(matches!(engine.segment(job(9)).await, Err(EngineError::DeviceLost(_))));
    assert_eq!(calls(&controls, Stage::Encode)[0], before + 3); // no probe after the last
    engine.shutdown().await;
    assert_eq!(*engine.state().borrow(), EngineState::Stopped);
}

#[tokio::test]
async fn it_is_stopped_when_all_are() {
    let (engine, _) = two(EngineConfig::default()).await;
    engine.shutdown().await;
    assert_eq!(*engine.state().borrow(), EngineState::Stopped);
    assert!(matches!(engine.segment(job(1)).await, Err(EngineError::ShuttingDown)));
}
