//! Times the engine with SED-B at 768×768 (weights made by rule): a new picture, and the same one by its key with
//! other words. Prints one JSON object: seconds, best of the rounds. The model alone is timed by `bench model`.
//!
//! `cargo run --release -p sed-tests --bin speed -- [rounds] [f32|bf16]`

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::time::Instant;

use candle_core::{DType, Device};
use sed_engine::{
    Category, Engine, EngineConfig, ImageFacts, ImageKey, JobImage, NetworkInput, OutputSpec, Priority,
    Rejection, SedStages, SegmentJob, Thresholds, Vocabulary,
};
use sed_model::SedModel;
use sed_model::allocator::{MiMalloc, keep_freed_memory};
use sed_model::checkpoint::Checkpoint;
use sed_model::config::SedConfig;
use sed_model::prompts::builtin_vocabulary;
use sed_telemetry::Telemetry;
use sed_tests::synthetic;
use serde_json::{Map, Value, json};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn best(rounds: usize, mut work: impl FnMut()) -> f64 {
    let seconds = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..rounds).map(|_| seconds(&mut work)).fold(f64::INFINITY, f64::min)
}

/// Through the engine: a picture that it has not seen, and then the same picture by its key with other words. All
/// words are known.
fn again_with_new_words(model: SedModel, data: Vec<f32>, rounds: usize) -> [(String, f64); 2] {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let engine = Engine::start(SedStages::new(model), &EngineConfig::default(), &Telemetry::off()).unwrap();
    runtime.block_on(engine.ready()).unwrap();
    let words = |first: usize| {
        let all = builtin_vocabulary("ade20k-150").unwrap();
        let named = |category: &Category| Category::new(&category.name);
        Vocabulary::built_in(all[first..first + 20].iter().map(named).collect(), &*engine.phrase_reader())
            .unwrap()
    };
    for first in [0, 20] {
        runtime.block_on(engine.embed(words(first), None)).unwrap();
    }
    let segment = |image: JobImage, first: usize| {
        let job = SegmentJob {
            image,
            vocabulary: words(first),
            rejection: Rejection::from_top_k(8),
            output: OutputSpec {
                width: 640,
                height: 480,
                crop: None,
                thresholds: Thresholds::Same(0.0),
                score_maps: false,
                sureness: false,
            },
            waiting_since: Instant::now(),
            deadline: None,
            priority: Priority::Normal,
        };
        runtime.block_on(engine.segment(job)).unwrap();
    };
    let key = |round: usize| ImageKey([round as u8; 32]);
    let mut round = 0;
    let first = best(rounds, || {
        let facts = Some(ImageFacts { key: key(round), width: 640, height: 480, crop: None });
        round += 1;
        let input = NetworkInput::new(768, data.clone());
        segment(JobImage::Pixels { input: input.into(), facts }, 0);
    });
    let again = best(rounds, || segment(JobImage::Cached(engine.image(&key(0)).unwrap()), 20));
    [
        ("engine, a new picture, 20 known categories, top_k 8".to_owned(), first),
        ("engine, the same picture by its id, 20 other known categories, top_k 8".to_owned(), again),
    ]
}

fn main() {
    keep_freed_memory();
    let mut arguments = std::env::args().skip(1);
    let rounds = arguments.next().map_or(3, |n| n.parse().unwrap());
    let dtype = if arguments.next().is_some_and(|d| d == "bf16") { DType::BF16 } else { DType::F32 };
    let config = SedConfig::sed_b();
    let checkpoint = Checkpoint::from_bytes(synthetic::safetensors(&config, 1), "synthetic").unwrap();
    let model = SedModel::load_as(&checkpoint, config, &Device::Cpu, dtype).unwrap();
    drop(checkpoint);
    let pixels = synthetic::values("picture.gamma", &[768, 768, 3], 1);
    let mut results: Map<String, Value> =
        again_with_new_words(model, pixels, rounds).into_iter().map(|(name, s)| (name, json!(s))).collect();
    results.insert("threads".to_owned(), json!(rayon::current_num_threads()));
    println!("{:#}", Value::Object(results));
}
