//! The real model in the engine: whatever shares its batches, a request gets the answer that it gets alone.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    sync::{Arc, LazyLock, OnceLock},
    time::Instant,
};

use proptest::prelude::*;
use sed_engine::{
    Category, Engine, EngineConfig, ImageFacts, ImageKey, JobImage, NetworkInput, OutputSpec, Priority,
    Rejection, SedStages, SegmentJob, SegmentOutcome, SynonymMode, Thresholds, Vocabulary, VocabularyLimits,
};
use sed_model::{
    SedModel,
    checkpoint::Checkpoint,
    tokenizer::{PhraseReader, Tokenizer},
};
use sed_telemetry::Telemetry;
use sed_tests::{device, golden, synthetic};
use tokio::runtime::Runtime;

const WORDS: usize = 900;

/// An engine whose batches are small, so that requests share them and large ones are cut, and one that takes
/// every request whole and alone.
struct Fixture {
    runtime: Runtime,
    crowded: Engine,
    lonely: Engine,
}

fn engine(runtime: &Runtime, config: &EngineConfig) -> Engine {
    let checkpoint = Checkpoint::open(&golden::path("nano/sed_nano.safetensors")).unwrap();
    let model = SedModel::load(&checkpoint, &device::under_test()).unwrap();
    let engine = Engine::start(SedStages::new(model), config, &Telemetry::off()).unwrap();
    runtime.block_on(engine.ready()).unwrap();
    runtime.block_on(engine.embed(words(0, WORDS), None)).unwrap();
    engine
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let usual = EngineConfig { queue_capacity: 1000, ..EngineConfig::default() };
        let crowded = EngineConfig { batch_images: Some(3), batch_pairs: Some(60), ..usual.clone() };
        // An image cache that is too small for all pictures, so that some are found and some are not.
        let crowded = EngineConfig { image_cache_bytes: 3 << 20, ..crowded };
        let lonely = EngineConfig {
            batch_images: Some(1),
            batch_pairs: Some(1 << 20),
            image_cache_bytes: 0,
            vocabulary_cache_bytes: 0,
            ..usual
        };
        let (crowded, lonely) = (engine(&runtime, &crowded), engine(&runtime, &lonely));
        Fixture { runtime, crowded, lonely }
    })
}

/// The reading of words by the model of all engines.
static READER: LazyLock<PhraseReader> = LazyLock::new(|| {
    let checkpoint = Checkpoint::open(&golden::path("nano/sed_nano.safetensors")).unwrap();
    PhraseReader::new(Arc::new(Tokenizer::new(&checkpoint.config().unwrap().text).unwrap()))
});

fn words(first: usize, count: usize) -> Vocabulary {
    let categories = (first..first + count).map(|word| Category::new(format!("word {word}"))).collect();
    Vocabulary::built_in(categories, &*READER).unwrap()
}

/// So many words, of which `synonyms` follow on each category's name, with contrast words out of those behind
/// them.
fn vocabulary(asked: &Asked) -> Vocabulary {
    let all: Vec<String> = (0..WORDS).map(|word| format!("word {}", (asked.first + word) % WORDS)).collect();
    let (words, others) = all.split_at(asked.count);
    let category =
        |phrases: &[String]| Category { name: phrases[0].clone(), synonyms: phrases[1..].to_vec() };
    let mode = if asked.synonyms > 0 { SynonymMode::Best } else { SynonymMode::Mean };
    let contrast = others.iter().take(asked.contrast).map(Category::new).collect();
    let categories = words.chunks(1 + asked.synonyms).map(category).collect();
    let vocabulary = Vocabulary::built_in(categories, &*READER).unwrap();
    vocabulary.with(mode, contrast, &VocabularyLimits::default(), &*READER).unwrap()
}

#[derive(Clone, Debug)]
struct Asked {
    picture: u8,
    first: usize,
    count: usize,
    rejection: Rejection,
    size: (u32, u32),
    threshold: f32,
    priority: Priority,
    synonyms: usize,
    contrast: usize,
}

fn job(asked: &Asked, side: usize) -> SegmentJob {
    let data = synthetic::values(&format!("image {}.gamma", asked.picture), &[side, side, 3], 7);
    let (width, height) = asked.size;
    let facts = ImageFacts { key: ImageKey([asked.picture; 32]), width, height, crop: None };
    SegmentJob {
        image: JobImage::Pixels { input: NetworkInput::new(side as u32, data).into(), facts: Some(facts) },
        vocabulary: vocabulary(asked),
        rejection: asked.rejection,
        output: OutputSpec {
            width,
            height,
            crop: None,
            thresholds: Thresholds::Same(asked.threshold),
            score_maps: true,
            sureness: false,
        },
        waiting_since: Instant::now(),
        deadline: None,
        priority: asked.priority,
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let count = prop_oneof![6 => 1_usize..40, 2 => 40_usize..200, 1 => 200_usize..=WORDS];
    (
        (0_u8..6, count, 0_usize..WORDS),
        prop::option::of(1u32..10).prop_map(|top_k| Rejection::from_top_k(top_k.unwrap_or(0))),
        (1_u32..80, 1_u32..80),
        prop::sample::select(vec![0.0_f32, 0.4]),
        prop::sample::select(vec![Priority::Low, Priority::Normal, Priority::High]),
        (prop_oneof![2 => Just(0_usize), 1 => 1_usize..4], prop_oneof![2 => Just(0_usize), 1 => 1_usize..40]),
    )
        .prop_map(
            |((picture, count, first), rejection, size, threshold, priority, (synonyms, contrast))| Asked {
                picture,
                first,
                count,
                rejection,
                size,
                threshold,
                priority,
                synonyms,
                contrast,
            },
        )
}

fn scores(outcome: &SegmentOutcome) -> &[f32] {
    &outcome.map.score_maps.as_ref().unwrap().scores
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(device::share(12) as u32))]
    #[test]
    fn a_request_in_a_crowd_gets_the_answer_that_it_gets_alone(crowd in prop::collection::vec(asked(), 1..14)) {
        let Fixture { runtime, crowded, lonely } = fixture();
        let side = crowded.model().input_side;
        let together: Vec<_> = crowd
            .iter()
            .map(|asked| {
                let (engine, job) = (crowded.clone(), job(asked, side));
                runtime.spawn(async move { engine.segment(job).await.unwrap() })
            })
            .collect();
        for (asked, together) in crowd.iter().zip(together) {
            let together = runtime.block_on(together).unwrap();
            let alone = runtime.block_on(lonely.segment(job(asked, side))).unwrap();
            prop_assert_eq!(&together.rejection, &alone.rejection);
            prop_assert_eq!(&together.map.indices, &alone.map.indices);
            prop_assert_eq!(&together.map.pixels, &alone.map.pixels);
            prop_assert_eq!(together.contrast_pixels, alone.contrast_pixels);
            let worst = scores(&together).iter().zip(scores(&alone)).map(|(a, b)| (a - b).abs());
            prop_assert!(worst.fold(0.0, f32::max) <= 1e-5);
        }
    }
}
