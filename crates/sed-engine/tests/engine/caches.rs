//! The three caches, as callers see them.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use sed_engine::{
    Category, Engine, EngineConfig, EngineError, ImageFacts, ImageKey, JobImage, NetworkInput, OutputSpec,
    Priority, Rejection, SegmentJob, SegmentOutcome, Stage, Thresholds, Vocabulary, VocabularyLimits,
    fake::{FakeControl, FakeReader, FakeStages, Fault},
};
use sed_telemetry::Telemetry;

async fn engine_with(config: &EngineConfig) -> (Engine, FakeControl) {
    let (stages, control) = FakeStages::new();
    let engine = Engine::start(stages, config, &Telemetry::off()).unwrap();
    engine.ready().await.unwrap();
    (engine, control)
}

fn words(names: impl IntoIterator<Item = impl Into<String>>) -> Vocabulary {
    let categories = names.into_iter().map(Category::new).collect();
    Vocabulary::new(categories, &VocabularyLimits::default(), &FakeReader).unwrap()
}

fn facts(picture: u8) -> ImageFacts {
    ImageFacts { key: ImageKey([picture; 32]), width: 60, height: 40, crop: None }
}

fn job(picture: u8, vocabulary: Vocabulary) -> SegmentJob {
    let data = (0..32 * 32 * 3).map(|i| ((i * (3 + usize::from(picture))) % 97) as f32 / 50.0).collect();
    SegmentJob {
        image: JobImage::Pixels { input: NetworkInput::new(32, data).into(), facts: Some(facts(picture)) },
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
        waiting_since: Instant::now(),
        deadline: None,
        priority: Priority::Normal,
    }
}

#[tokio::test]
async fn a_hundred_callers_make_one_computation() {
    let (engine, control) =
        engine_with(&EngineConfig { queue_capacity: 200, ..EngineConfig::default() }).await;
    let (embedded, encoded) = (control.embedded(), control.calls(Stage::Encode));
    control.inject(Stage::TextEmbedding, Fault::Delay(Duration::from_millis(50)));
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let engine = engine.clone();
            tokio::spawn(async move { engine.segment(job(7, words(["unknown word"]))).await })
        })
        .collect();
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.push(call.await.unwrap().unwrap());
    }
    assert_eq!(control.embedded() - embedded, 1);
    assert_eq!(control.calls(Stage::Encode) - encoded, 1);
    assert!(outcomes.iter().all(|outcome| outcome.map == outcomes[0].map));
    let cached = |pick: fn(&SegmentOutcome) -> bool| outcomes.iter().filter(|outcome| pick(outcome)).count();
    assert_eq!(cached(|outcome| !outcome.caches.image_hit), 1);
}

#[tokio::test]
async fn an_image_is_found_again_and_skips_the_encoder() {
    let (engine, control) = engine_with(&EngineConfig::default()).await;
    assert!(engine.keeps_images());
    assert!(engine.image(&facts(1).key).is_none());
    engine.segment(job(1, words(["dog", "cat"]))).await.unwrap();
    let encoded = control.calls(Stage::Encode);
    let pinned = engine.image(&facts(1).key).unwrap();
    assert_eq!(pinned.facts(), facts(1));
    let by_id = SegmentJob { image: JobImage::Cached(pinned), ..job(1, words(["bird", "cat", "sky"])) };
    let by_id = engine.segment(by_id).await.unwrap();
    assert_eq!(control.calls(Stage::Encode), encoded);
    assert!(by_id.caches.image_hit);
    assert!(by_id.timings.iter().all(|timing| timing.stage != Stage::Encode));

    let (other, _) = engine_with(&EngineConfig { image_cache_bytes: 0, ..EngineConfig::default() }).await;
    assert!(!other.keeps_images());
    let by_pixels = other.segment(job(1, words(["bird", "cat", "sky"]))).await.unwrap();
    assert!(!by_pixels.caches.image_hit && other.image(&facts(1).key).is_none());
    assert_eq!((by_pixels.map, by_pixels.rejection), (by_id.map, by_id.rejection));
}

#[tokio::test]
async fn a_vocabulary_stays_whole_on_the_device() {
    let (engine, control) = engine_with(&EngineConfig::default()).await;
    let first = engine.segment(job(1, words(["dog", "cat"]))).await.unwrap();
    let again = engine.segment(job(2, words(["dog", "cat"]))).await.unwrap();
    let turned = engine.segment(job(2, words(["cat", "dog"]))).await.unwrap();
    assert_eq!([first, again, turned].map(|outcome| outcome.caches.vocabulary_hit), [false, true, false]);
    let before = control.embedded();
    engine.embed(words(["sky", "dog"]), None).await.unwrap();
    assert_eq!(control.embedded() - before, 1);
    let warm = engine.segment(job(1, words(["sky", "dog"]))).await.unwrap();
    assert!(warm.caches.vocabulary_hit);
    assert_eq!((warm.caches.text_hits, warm.caches.text_misses), (2, 0));
}

#[tokio::test]
async fn words_can_be_embedded_before_the_first_request() {
    let preload = [&["dog", "cat"][..], &["sky"]]
        .map(|names| names.iter().copied().map(Category::new).collect())
        .to_vec();
    let (engine, control) = engine_with(&EngineConfig { preload, ..EngineConfig::default() }).await;
    let embedded = control.embedded();
    let outcome = engine.segment(job(1, words(["sky"]))).await.unwrap();
    assert!(outcome.caches.vocabulary_hit);
    engine.segment(job(1, words(["cat", "sky", "dog"]))).await.unwrap();
    assert_eq!(control.embedded(), embedded);
}

fn stored(folder: &Path) -> EngineConfig {
    EngineConfig { text_cache_dir: Some(folder.to_owned()), ..EngineConfig::default() }
}

async fn until_files(folder: &Path, count: usize) {
    for _ in 0..500 {
        let texts = fs::read_dir(folder).unwrap().filter(|entry| {
            entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "text")
        });
        if texts.count() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} never holds {count} files", folder.display());
}

#[tokio::test]
async fn a_directory_keeps_words_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, _) = engine_with(&stored(folder.path())).await;
    let cold = engine.segment(job(1, words(["dog", "cat", "sky"]))).await.unwrap();
    until_files(folder.path(), 4).await; // and the warm-up's word
    drop(engine);

    let (engine, control) = engine_with(&stored(folder.path())).await;
    assert_eq!(control.embedded(), 1, "the warm-up tries the text tower");
    let warm = engine.segment(job(1, words(["dog", "cat", "sky"]))).await.unwrap();
    assert_eq!(control.embedded(), 1);
    assert_eq!(warm.caches.text_misses, 3, "not in memory yet");
    assert_eq!(warm.map, cold.map);
}

#[tokio::test]
async fn two_servers_share_a_directory_and_a_damaged_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (one, one_control) = engine_with(&stored(folder.path())).await;
    let (two, two_control) = engine_with(&stored(folder.path())).await;
    let before = one_control.embedded() + two_control.embedded();
    let names: Vec<String> = (0..120).map(|number| format!("thing {number}")).collect();
    let ask = |engine: &Engine, first: usize| {
        let (engine, chosen) = (engine.clone(), words(names[first..first + 60].to_vec()));
        tokio::spawn(async move { engine.segment(job(1, chosen)).await.unwrap().map })
    };
    // Both write the same phrases at the same time.
    for first in [0, 20, 40, 60] {
        let (a, b) = (ask(&one, first), ask(&two, first));
        assert_eq!(a.await.unwrap(), b.await.unwrap());
    }
    until_files(folder.path(), 121).await;
    assert!(one_control.embedded() + two_control.embedded() - before >= 120);
    // What was to be kept is written when they have ended.
    one.shutdown().await;
    two.shutdown().await;

    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let whole: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    fs::write(&files[3], &whole[3][..whole[3].len() / 2]).unwrap();
    fs::write(&files[4], "").unwrap();
    let (engine, control) = engine_with(&stored(folder.path())).await;
    let all = words(names.clone());
    engine.segment(SegmentJob { rejection: Rejection::Off, ..job(1, all) }).await.unwrap();
    let computed = control.embedded() - 1; // and the warm-up's word
    assert!((1..=2).contains(&computed), "{computed} phrases were computed again for 2 damaged files");
    for _ in 0..500 {
        if files.iter().zip(&whole).all(|(file, whole)| fs::read(file).unwrap() == *whole) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the damaged files were not written again");
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "no folder").unwrap();
    let (stages, _) = FakeStages::new();
    let error = Engine::start(stages, &stored(&file.join("below")), &Telemetry::off()).unwrap_err();
    assert!(
        matches!(&error, EngineError::TextStore { folder, .. } if folder.starts_with(&file)),
        "{error:?}"
    );
}

/// A pipe without a writer stands for a file whose opening hangs.
#[cfg(unix)]
#[tokio::test]
async fn pipes_in_the_directory_delay_no_request_and_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, _) = engine_with(&stored(folder.path())).await;
    let names = ["dog", "cat", "sky"];
    let cold = engine.segment(job(1, words(names))).await.unwrap();
    until_files(folder.path(), 4).await;
    engine.shutdown().await;
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    for file in &files {
        fs::remove_file(file).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(file).status().unwrap().success());
    }
    let preload = vec![vec![Category::new("dog")]];
    let (engine, control) = engine_with(&EngineConfig { preload, ..stored(folder.path()) }).await;
    let deadline = Some(Instant::now() + Duration::from_secs(20));
    let again = engine.segment(SegmentJob { deadline, ..job(1, words(names)) }).await.unwrap();
    assert_eq!((again.map, control.embedded()), (cold.map, 4));
    for _ in 0..500 {
        if files.iter().all(|file| fs::metadata(file).unwrap().is_file()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the pipes were not replaced");
}
