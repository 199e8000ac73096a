//! The engine with the fake model: answers, reports, faults, deadlines, cancellation, and its end.

use std::time::{Duration, Instant};

use sed_engine::{
    Category, Engine, EngineConfig, EngineError, EngineState, JobImage, Level, NetworkInput, OutputSpec,
    Priority, Rejection, SegmentJob, Stage, StageError, Thresholds, UNLABELLED, Vocabulary, VocabularyLimits,
    fake::{FakeControl, FakeReader, FakeStages, Fault},
};
use sed_telemetry::Telemetry;

const STAGES: [Stage; 7] = [
    Stage::TextEmbedding,
    Stage::Encode,
    Stage::CostMap,
    Stage::Decode(Level::One),
    Stage::Decode(Level::Two),
    Stage::Decode(Level::Three),
    Stage::Finish,
];

async fn engine_with(config: EngineConfig) -> (Engine, FakeControl) {
    let (stages, control) = FakeStages::new();
    let engine = Engine::start(stages, &config, &Telemetry::off()).unwrap();
    engine.ready().await.unwrap();
    (engine, control)
}

async fn engine() -> (Engine, FakeControl) {
    engine_with(EngineConfig::default()).await
}

fn words(count: usize) -> Vocabulary {
    let categories = (0..count).map(|index| Category::new(format!("thing {index}"))).collect();
    Vocabulary::new(categories, &VocabularyLimits::default(), &FakeReader).unwrap()
}

fn job(categories: usize) -> SegmentJob {
    let data = (0..32 * 32 * 3).map(|index| (index % 97) as f32 / 50.0).collect();
    SegmentJob {
        image: JobImage::Pixels { input: NetworkInput::new(32, data).into(), facts: None },
        vocabulary: words(categories),
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

/// Sends a job that holds the device until the test releases it.
async fn occupy(engine: &Engine, control: &FakeControl) -> tokio::task::JoinHandle<Result<(), EngineError>> {
    control.inject(Stage::Encode, Fault::Hold);
    let engine = engine.clone();
    let running = tokio::spawn(async move { engine.segment(job(2)).await.map(|_| ()) });
    let control = control.clone();
    assert!(tokio::task::spawn_blocking(move || control.wait_until_held()).await.unwrap());
    running
}

async fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("what the test waits for did not happen within 5 seconds");
}

#[tokio::test]
async fn a_job_gets_a_map_and_true_reports() {
    let (engine, _) = engine().await;
    let outcome = engine.segment(job(30)).await.unwrap();

    let map = &outcome.map;
    assert_eq!((map.width, map.height, map.indices.len()), (40, 24, 960));
    for (category, pixels) in map.pixels.iter().enumerate() {
        let counted = map.indices.iter().filter(|index| usize::from(**index) == category).count();
        assert_eq!(counted, *pixels as usize);
        assert_eq!(map.mean_scores[category] > 0.0, *pixels > 0);
    }

    let levels = &outcome.rejection.levels;
    assert_eq!(levels.iter().map(|level| level.level).collect::<Vec<_>>(), Level::ALL);
    assert_eq!(levels[0].candidates, 30);
    for (before, after) in levels.iter().zip(&levels[1..]) {
        assert_eq!(before.survivors.len(), after.candidates as usize);
        assert!(after.survivors.iter().all(|index| before.survivors.contains(index)));
    }
    for level in levels {
        assert_eq!(level.survivors.len() + level.rejected.len(), level.candidates as usize);
    }
    let last = &levels[2].survivors;
    assert!(map.indices.iter().all(|index| last.contains(&u32::from(*index))));

    assert_eq!(outcome.timings.iter().map(|timing| timing.stage).collect::<Vec<_>>(), STAGES);
    assert_eq!(outcome.timings[2].batches[0].pairs, 30);
    assert_eq!(outcome.timings[3].batches[0].pairs as usize, levels[0].survivors.len());
}

#[tokio::test]
async fn without_rejection_every_category_goes_through() {
    let (engine, control) = engine().await;
    let outcome = engine.segment(SegmentJob { rejection: Rejection::Off, ..job(30) }).await.unwrap();
    assert!(outcome.rejection.levels.iter().all(|level| level.rejected.is_empty()));
    assert_eq!(outcome.rejection.levels[2].survivors.len(), 30);
    assert_eq!(control.calls(Stage::Decode(Level::Three)), 2); // the warm-up and this one
}

#[tokio::test]
async fn a_threshold_unlabels_pixels_and_score_maps_come_when_asked() {
    let (engine, _) = engine().await;
    let mut strict = job(4);
    strict.output = OutputSpec { thresholds: Thresholds::Same(0.9), score_maps: true, ..strict.output };
    let map = engine.segment(strict).await.unwrap().map;
    let unlabelled = map.indices.iter().filter(|index| **index == UNLABELLED).count();
    assert!(unlabelled > 0);
    assert_eq!(unlabelled + map.pixels.iter().sum::<u32>() as usize, map.indices.len());
    let scores = map.score_maps.unwrap();
    assert_eq!(scores.scores.len(), scores.categories.len() * 64);
}

#[tokio::test]
async fn words_are_embedded_once() {
    let (engine, control) = engine_with(EngineConfig { text_chunk: 4, ..EngineConfig::default() }).await;
    let before = control.embedded();
    let cold = engine.segment(job(10)).await.unwrap();
    assert_eq!((cold.caches.text_hits, cold.caches.text_misses), (0, 10));
    assert_eq!(cold.timings[0].batches.iter().map(|batch| batch.pairs).collect::<Vec<_>>(), [4, 4, 2]);
    let warm = engine.segment(job(12)).await.unwrap();
    assert_eq!((warm.caches.text_hits, warm.caches.text_misses), (10, 2));
    assert_eq!(control.embedded() - before, 12);
    assert_eq!(warm.map.indices, engine.segment(job(12)).await.unwrap().map.indices);
}

#[tokio::test]
async fn phrases_are_shared_between_categories() {
    let (engine, _) = engine().await;
    let category = |name: &str, synonyms: &[&str]| Category {
        name: name.into(),
        synonyms: synonyms.iter().map(ToString::to_string).collect(),
    };
    let ask = |categories| {
        let vocabulary = Vocabulary::new(categories, &VocabularyLimits::default(), &FakeReader).unwrap();
        engine.segment(SegmentJob { vocabulary, rejection: Rejection::Off, ..job(1) })
    };
    let alone = ask(vec![category("dog", &[]), category("cat", &[])]).await.unwrap();
    let more = ask(vec![category("dog", &["hound"]), category("cat", &["tabby", "hound"])]).await.unwrap();
    assert_eq!((alone.caches.text_hits, alone.caches.text_misses), (0, 2));
    assert_eq!((more.caches.text_hits, more.caches.text_misses), (2, 2));
    assert_ne!(alone.map.mean_scores, more.map.mean_scores); // synonyms make a difference
}

#[tokio::test]
async fn without_a_cache_the_answer_is_the_same() {
    let (cached, _) = engine().await;
    let (uncached, _) = engine_with(EngineConfig { text_cache_bytes: 0, ..EngineConfig::default() }).await;
    cached.segment(job(20)).await.unwrap();
    let warm = cached.segment(job(20)).await.unwrap();
    let cold = uncached.segment(job(20)).await.unwrap();
    assert_eq!(cold.caches.text_misses, 20);
    assert_eq!((warm.map, warm.rejection), (cold.map, cold.rejection));
}

#[tokio::test]
async fn a_panic_in_any_stage_fails_one_request_only_and_the_thread_starts_anew() {
    let (engine, control) = engine().await;
    engine.segment(job(9)).await.unwrap();
    for stage in &STAGES[1..] {
        control.inject(*stage, Fault::Panic);
        let failed = engine.segment(job(3)).await;
        assert!(
            matches!(failed, Err(EngineError::StageFailed { stage: at, .. }) if at == *stage),
            "{stage:?}: {failed:?}"
        );
        assert!(engine.state().borrow().is_ready());
        engine.segment(job(3)).await.unwrap();
    }
}

#[tokio::test]
async fn out_of_memory_is_tried_again_once_and_then_names_the_stage() {
    let (engine, control) = engine().await;
    let full = || Fault::Fail(StageError::OutOfMemory("3 GiB wanted".into()));
    control.inject(Stage::Encode, full());
    engine.segment(job(3)).await.unwrap();
    control.inject(Stage::Encode, full());
    control.inject(Stage::Encode, full());
    let failed = engine.segment(job(3)).await;
    assert_eq!(failed, Err(EngineError::DeviceOutOfMemory { stage: Stage::Encode }));
    assert!(engine.state().borrow().is_ready());
    control.set_memory(7);
    engine.segment(SegmentJob { rejection: Rejection::Off, ..job(100) }).await.unwrap();
    assert!(engine.budget().1 <= 7);
}

#[tokio::test]
async fn a_lost_device_refuses_until_it_works_again() {
    let config = EngineConfig { probe_interval: Duration::from_millis(20), ..EngineConfig::default() };
    let (engine, control) = engine_with(config).await;
    let lost = StageError::DeviceLost("fell off the bus".into());
    control.inject(Stage::Encode, Fault::Fail(lost.clone()));
    control.inject(Stage::Encode, Fault::Delay(Duration::from_millis(100))); // the first probe
    assert_eq!(engine.segment(job(3)).await, Err(EngineError::DeviceLost("fell off the bus".into())));
    assert!(matches!(*engine.state().borrow(), EngineState::DeviceLost { .. }));
    assert!(matches!(engine.segment(job(3)).await, Err(EngineError::DeviceLost(_))));
    engine.state().wait_for(EngineState::is_ready).await.unwrap();
    engine.segment(job(3)).await.unwrap();
}

/// An engine whose device was lost in one request and then fails so many probes.
async fn lost_for(probes: u32, recovers: bool, lost_probes: u32) -> (Engine, FakeControl) {
    let probe_interval = Duration::from_millis(5);
    let (engine, control) =
        engine_with(EngineConfig { probe_interval, lost_probes, ..EngineConfig::default() }).await;
    if !recovers {
        control.forbid_recovery();
    }
    for _ in 0..=probes {
        control.inject(Stage::Encode, Fault::Fail(StageError::DeviceLost("fell off the bus".into())));
    }
    engine.segment(job(3)).await.unwrap_err();
    (engine, control)
}

#[tokio::test]
async fn a_device_that_cannot_recover_is_given_up_after_its_probes() {
    let (engine, control) = lost_for(3, false, 3).await;
    let mut state = engine.state();
    let end = state.wait_for(|state| matches!(state, EngineState::GivenUp { .. })).await.unwrap().clone();
    assert!(matches!(end, EngineState::GivenUp { reason } if reason.contains("fell off the bus")));
    let calls = control.calls(Stage::Encode);
    assert!(matches!(engine.segment(job(3)).await, Err(EngineError::DeviceLost(_))));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(control.calls(Stage::Encode), calls); // it would work again, but is not tried
    engine.shutdown().await;
    assert_eq!(*engine.state().borrow(), EngineState::Stopped);
}

#[tokio::test]
async fn a_device_is_not_given_up_that_recovers_in_time_or_may_recover_or_is_never_to_be() {
    for (probes, recovers, lost_probes) in [(2, false, 3), (8, true, 3), (8, false, 0)] {
        let (engine, control) = lost_for(probes, recovers, lost_probes).await;
        engine.state().wait_for(EngineState::is_ready).await.unwrap();
        // Failed probes of an earlier loss do not count.
        for _ in 0..=probes {
            control.inject(Stage::Encode, Fault::Fail(StageError::DeviceLost("fell off the bus".into())));
        }
        engine.segment(job(4)).await.unwrap_err();
        engine.state().wait_for(EngineState::is_ready).await.unwrap();
        engine.segment(job(3)).await.unwrap();
    }
}

#[tokio::test]
async fn a_warm_up_that_loses_the_device_is_probed_as_often() {
    let (stages, control) = FakeStages::new();
    control.forbid_recovery();
    for _ in 0..3 {
        control.inject(Stage::Encode, Fault::Fail(StageError::DeviceLost("fell off the bus".into())));
    }
    let probe_interval = Duration::from_millis(5);
    let config = EngineConfig { probe_interval, lost_probes: 2, ..EngineConfig::default() };
    let engine = Engine::start(stages, &config, &Telemetry::off()).unwrap();
    assert!(matches!(engine.ready().await, Err(EngineError::DeviceLost(_))));
    engine.state().wait_for(|state| matches!(state, EngineState::GivenUp { .. })).await.unwrap();
    assert_eq!(control.calls(Stage::Encode), 3);
}

#[tokio::test]
async fn all_requests_of_a_lost_device_are_answered() {
    let config = EngineConfig { probe_interval: Duration::from_secs(3600), ..EngineConfig::default() };
    let (engine, control) = engine_with(config).await;
    control.inject(Stage::Encode, Fault::Hold);
    control.inject(Stage::CostMap, Fault::Fail(StageError::DeviceLost("fell off the bus".into())));
    let ask = |categories: usize| {
        let engine = engine.clone();
        tokio::spawn(async move { engine.segment(job(categories)).await })
    };
    let mut running = vec![ask(3)];
    let held = control.clone();
    assert!(tokio::task::spawn_blocking(move || held.wait_until_held()).await.unwrap());
    running.extend((4..8).map(ask));
    while engine.queue_depth() < 4 {
        tokio::task::yield_now().await;
    }
    control.release();
    for request in running {
        assert!(matches!(request.await.unwrap(), Err(EngineError::DeviceLost(_))));
    }
}

#[tokio::test]
async fn a_failed_warm_up_is_told_and_tried_again() {
    let (stages, control) = FakeStages::new();
    control.inject(Stage::Finish, Fault::Fail(StageError::Failed("no kernel".into())));
    let config = EngineConfig { probe_interval: Duration::from_millis(50), ..EngineConfig::default() };
    let engine = Engine::start(stages, &config, &Telemetry::off()).unwrap();
    let error = engine.ready().await.unwrap_err();
    assert!(matches!(&error, EngineError::WarmUpFailed(why) if why.contains("no kernel")), "{error}");
    engine.state().wait_for(EngineState::is_ready).await.unwrap();
    engine.segment(job(3)).await.unwrap();
}

/// An index map has no more categories than that, whatever a batch may have.
#[tokio::test]
async fn a_budget_beyond_the_largest_vocabulary_is_warmed_up() {
    let config = EngineConfig {
        batch_images: Some(1),
        batch_pairs: Some(70_000),
        warm_up_largest_batches: true,
        ..EngineConfig::default()
    };
    let (engine, control) = engine_with(config).await;
    assert_eq!(engine.budget(), (1, 70_000));
    assert_eq!(control.calls(Stage::CostMap), 2);
    engine.segment(job(3)).await.unwrap();
}

#[tokio::test]
async fn a_deadline_ends_the_wait_and_saves_the_work() {
    let (engine, control) = engine().await;
    let running = occupy(&engine, &control).await;
    let encoded = control.calls(Stage::Encode);

    let begun = Instant::now();
    let deadline = Some(begun + Duration::from_millis(50));
    let late = engine.segment(SegmentJob { deadline, ..job(2) }).await;
    assert_eq!(late, Err(EngineError::DeadlineExceeded));
    assert!((50..1000).contains(&begun.elapsed().as_millis()));

    control.release();
    running.await.unwrap().unwrap();
    engine.segment(job(2)).await.unwrap();
    assert_eq!(control.calls(Stage::Encode), encoded + 1); // the late one never reached the device
}

#[tokio::test]
async fn a_cancelled_request_stops_before_its_next_stage() {
    let (engine, control) = engine().await;
    let finished = control.calls(Stage::Finish);
    let running = occupy(&engine, &control).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    control.release();
    engine.segment(job(2)).await.unwrap();
    assert_eq!(control.calls(Stage::Finish), finished + 1);
}

#[tokio::test]
async fn a_full_queue_refuses_with_a_delay_and_the_cancelled_make_room() {
    let (engine, control) = engine_with(EngineConfig { queue_capacity: 1, ..EngineConfig::default() }).await;
    let running = occupy(&engine, &control).await;
    let waiting = tokio::spawn({
        let engine = engine.clone();
        async move { engine.segment(job(2)).await }
    });
    until(|| engine.queue_depth() == 1).await;

    let refused = engine.segment(job(2)).await;
    assert!(
        matches!(refused, Err(EngineError::QueueFull { capacity: 1, retry_after, .. }) if !retry_after.is_zero()),
        "{refused:?}"
    );
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    let next = tokio::spawn({
        let engine = engine.clone();
        async move { engine.segment(job(2)).await.map(|_| ()) }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    control.release();
    assert_eq!(running.await.unwrap(), Ok(()));
    assert_eq!(next.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn shutdown_ends_the_running_request_and_refuses_the_waiting() {
    let (engine, control) = engine().await;
    let running = occupy(&engine, &control).await;
    let waiting = tokio::spawn({
        let engine = engine.clone();
        async move { engine.segment(job(2)).await.map(|_| ()) }
    });
    until(|| engine.queue_depth() == 1).await;
    let stopping = tokio::spawn({
        let engine = engine.clone();
        async move { engine.shutdown().await }
    });
    assert_eq!(waiting.await.unwrap(), Err(EngineError::ShuttingDown));
    assert!(!stopping.is_finished());
    control.release();
    assert_eq!(running.await.unwrap(), Ok(()));
    stopping.await.unwrap();
    assert_eq!(engine.segment(job(2)).await, Err(EngineError::ShuttingDown));
}

#[tokio::test]
async fn the_thread_ends_with_the_last_handle() {
    let (engine, _) = engine().await;
    let mut state = engine.state();
    let second = engine.clone();
    drop(engine);
    second.segment(job(2)).await.unwrap();
    drop(second);
    state.wait_for(|state| *state == EngineState::Stopped).await.unwrap();
}

#[tokio::test]
async fn jobs_that_fit_no_model_are_refused() {
    let (engine, control) = engine().await;
    let calls = control.calls(Stage::Encode);
    let with = |change: fn(&mut SegmentJob)| {
        let mut changed = job(2);
        change(&mut changed);
        changed
    };
    let with_input = |change: fn(&mut NetworkInput)| {
        let mut changed = job(2);
        if let JobImage::Pixels { input, .. } = &mut changed.image {
            let mut values = input.values().clone();
            change(&mut values);
            *input = values.into();
        }
        changed
    };
    let bad = [
        ("input", with_input(|input| input.side = 31)),
        ("input", with_input(|input| input.data.truncate(5))),
        ("output", with(|job| job.output.width = 0)),
        ("thresholds", with(|job| job.output.thresholds = Thresholds::Same(f32::NAN))),
        ("thresholds", with(|job| job.output.thresholds = Thresholds::Same(1.5))),
    ];
    for (expected, job) in bad {
        let refused = engine.segment(job).await;
        assert!(
            matches!(refused, Err(EngineError::InvalidJob { field, .. }) if field == expected),
            "{expected}: {refused:?}"
        );
    }
    assert_eq!(control.calls(Stage::Encode), calls);
}
