//! Times SED-B at 768×768 (weights made by rule), stage by stage, and prints one JSON object: seconds,
//! best of the rounds, and peak memory. The export folder gets its weights, pixels and text embeddings.
//!
//! `cargo run --release -p sed-tests --bin speed -- [rounds] [f32|bf16] [export folder]`

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use sed_engine::{
    Category, Engine, EngineConfig, ImageFacts, ImageKey, JobImage, NetworkInput, Priority, SedStages,
    SegmentJob, Vocabulary,
};
use sed_model::checkpoint::Checkpoint;
use sed_model::config::SedConfig;
use sed_model::prompts::builtin_vocabulary;
use sed_model::text_tower::TextEmbedding;
use sed_model::{DecodeRequest, ImageFeatures, SedModel};
use sed_tests::stages::decode_all;
use sed_tests::synthetic;
use serde_json::{Map, Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn best(rounds: usize, mut work: impl FnMut()) -> f64 {
    let seconds = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..rounds).map(|_| seconds(&mut work)).fold(f64::INFINITY, f64::min)
}

/// A line of `/proc/self/status`, in MiB.
fn memory(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name));
    line.and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// Cost map, three levels, and a map of 480×640 pixels; the survivors of each level.
fn decode(
    model: &SedModel,
    features: &ImageFeatures,
    text: &[TextEmbedding],
    top_k: Option<usize>,
) -> Vec<usize> {
    let (pairs, kept) = decode_all(model, &[DecodeRequest { features, text, top_k }]);
    let output = sed_model::OutputSpec {
        height: 480,
        width: 640,
        crop: None,
        score_threshold: 0.0,
        score_maps: false,
    };
    model.finish(&pairs, &[output]).unwrap();
    kept.iter().take(3).map(|images| images[0].len()).collect()
}

/// Through the engine: a picture that it has not seen, and then the same picture by its key with other words. All
/// words are known.
fn again_with_new_words(model: SedModel, pixels: Tensor, rounds: usize) -> [(String, f64); 2] {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let engine = Engine::start(SedStages::new(model), &EngineConfig::default()).unwrap();
    runtime.block_on(engine.ready()).unwrap();
    let words = |first: usize| {
        let all = builtin_vocabulary("ade20k-150").unwrap();
        let named = |category: &sed_model::prompts::Category| Category::named(&category.name);
        Vocabulary::built_in(all[first..first + 20].iter().map(named).collect()).unwrap()
    };
    for first in [0, 20] {
        runtime.block_on(engine.embed(words(first), None)).unwrap();
    }
    let data: Vec<f32> = pixels.flatten_all().unwrap().to_vec1().unwrap();
    let segment = |image: JobImage, first: usize| {
        let job = SegmentJob {
            image,
            vocabulary: words(first),
            top_k: Some(8),
            output: sed_engine::OutputSpec {
                width: 640,
                height: 480,
                crop: None,
                score_threshold: 0.0,
                score_maps: false,
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
        let input = NetworkInput { side: 768, data: data.clone() };
        segment(JobImage::Pixels { input, facts }, 0);
    });
    let again = best(rounds, || segment(JobImage::Cached(engine.image(&key(0)).unwrap()), 20));
    [
        ("engine, a new picture, 20 known categories, top_k 8".to_owned(), first),
        ("engine, the same picture by its id, 20 other known categories, top_k 8".to_owned(), again),
    ]
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rounds = arguments.next().map_or(3, |n| n.parse().unwrap());
    let dtype = if arguments.next().is_some_and(|d| d == "bf16") { DType::BF16 } else { DType::F32 };
    let export = arguments.next();
    let config = SedConfig::sed_b();
    let weights = synthetic::safetensors(&config, 1);
    if let Some(folder) = &export {
        std::fs::write(format!("{folder}/weights.safetensors"), &weights).unwrap();
    }
    let checkpoint = Checkpoint::from_bytes(weights, "synthetic").unwrap();
    let model = SedModel::load_as(&checkpoint, config, &Device::Cpu, dtype).unwrap();
    drop(checkpoint);
    let mut results = Map::new();
    let words = builtin_vocabulary("ade20k-150").unwrap();
    let start = Instant::now();
    model.embed_categories(&words[..20]).unwrap();
    results.insert("text, 20 cold categories".to_owned(), json!(start.elapsed().as_secs_f64()));
    let text = model.embed_categories(&words).unwrap();
    let pixels = synthetic::values("picture.gamma", &[768, 768, 3], 1);
    let pixels = Tensor::from_vec(pixels, (1, 768, 768, 3), &Device::Cpu).unwrap();
    if let Some(folder) = &export {
        let rows: Vec<Tensor> = text.iter().map(|t| t.tensor().to_dtype(DType::F32).unwrap()).collect();
        let inputs = [("text", Tensor::stack(&rows, 0).unwrap()), ("pixels", pixels.clone())];
        candle_core::safetensors::save(&inputs.into(), format!("{folder}/inputs.safetensors")).unwrap();
    }
    let features = model.encode(&pixels).unwrap().remove(0);
    let seconds = best(rounds, || drop(model.encode(&pixels).unwrap()));
    results.insert("encoder".to_owned(), json!(seconds));
    for (categories, top_k) in [(20, None), (20, Some(8)), (150, Some(1)), (150, Some(8)), (150, None)] {
        let mut kept = Vec::new();
        let seconds = best(rounds, || kept = decode(&model, &features, &text[..categories], top_k));
        let name = top_k.map_or("off".to_owned(), |k| format!("top_k {k}"));
        let value = json!({ "seconds": seconds, "survivors": kept });
        results.insert(format!("decoder, {categories} categories, {name}"), value);
    }
    for (name, seconds) in again_with_new_words(model, pixels, rounds) {
        results.insert(name, json!(seconds));
    }
    results.insert("peak memory after loading, MiB".to_owned(), json!(memory("VmHWM")));
    results.insert("threads".to_owned(), json!(rayon::current_num_threads()));
    println!("{}", serde_json::to_string_pretty(&Value::Object(results)).unwrap());
}
