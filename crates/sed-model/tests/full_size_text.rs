//! Text embeddings of full-size SED-B and SED-L against the reference's, with weights made by rule.
//!
//! Ignored by default for their memory (1.5 GB and 3 GB) and time:
//! `cargo test --release -p sed-model --test full_size_text -- --ignored --nocapture --test-threads 1`

// A failure here is a failed test, and the timings are there to be read.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::PathBuf;
use std::time::Instant;

use candle_core::{Device, Tensor};
use data_encoding::HEXLOWER;
use sed_model::checkpoint::{Checkpoint, Weights};
use sed_model::config::SedConfig;
use sed_model::prompts::{Category, builtin_vocabulary};
use sed_model::synthetic;
use sed_model::text_tower::{TextEmbedding, TextTower};
use sha2::{Digest, Sha256};

/// The seed of the full-size reference outputs, and of the reduced ones.
const SEED: u64 = 1;
const NANO_SEED: u64 = 12;
/// Largest difference of unit vectors; the reference's own two ways to compute them differ by 2.3e-7.
const TOLERANCE: f32 = 2e-6;
/// The reduced models are less well conditioned.
const NANO_TOLERANCE: f32 = 1e-5;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

#[track_caller]
fn largest_difference(got: &Tensor, want: &Tensor) -> f32 {
    assert_eq!(got.shape(), want.shape());
    let difference = (got - want).unwrap().abs().unwrap().flatten_all().unwrap();
    difference.max(0).unwrap().to_scalar().unwrap()
}

fn stack(embeddings: &[TextEmbedding]) -> Tensor {
    let rows: Vec<&Tensor> = embeddings.iter().map(TextEmbedding::tensor).collect();
    Tensor::stack(&rows, 0).unwrap()
}

/// The reduced weights come both as a file and by rule.
#[test]
fn weights_by_rule_are_those_of_the_reduced_reference() {
    let checkpoint = Checkpoint::open(&golden("nano/sed_nano.safetensors")).unwrap();
    for (name, shape) in checkpoint.names_and_shapes() {
        let made = synthetic::values(&name, &shape, NANO_SEED);
        assert_eq!(made, checkpoint.values(&name, &shape).unwrap(), "{name}");
    }
}

/// The reduced model with a perceptron head, whose weights exist by rule only.
#[test]
fn the_reduced_model_with_a_perceptron_head_has_the_references_embeddings() {
    let json = std::fs::read_to_string(golden("nano/config.json")).unwrap();
    let json = json.replace(r#""type": "linear""#, r#""type": "mlp", "hidden": 64"#);
    let config = SedConfig::from_json(&json, "test").unwrap();
    let checkpoint = Checkpoint::from_bytes(synthetic::safetensors(&config, NANO_SEED), "by rule").unwrap();
    checkpoint.check(&config).unwrap();
    let tower = TextTower::load(&Weights::new(&checkpoint, &Device::Cpu), &config).unwrap();
    let meta = std::fs::read_to_string(golden("nano/meta.json")).unwrap();
    let meta: serde_json::Value = serde_json::from_str(&meta).unwrap();
    let names: Vec<String> =
        serde_json::from_value(meta["cases"]["sed_nano_mlp.c5"]["classes"].clone()).unwrap();
    let categories: Vec<Category> = names.iter().map(|name| Category::from_official(name)).collect();
    let file = golden("nano/sed_nano_mlp.c5.safetensors");
    let want = &candle_core::safetensors::load(file, &Device::Cpu).unwrap()["text_features"];
    let difference = largest_difference(&stack(&tower.embed(&categories).unwrap()), want);
    assert!(difference <= NANO_TOLERANCE, "differs by {difference}");
}

#[test]
#[ignore = "full size: see the top of this file"]
fn full_size_text_sed_b() {
    full_size("sed_b", &SedConfig::sed_b());
}

#[test]
#[ignore = "full size: see the top of this file"]
fn full_size_text_sed_l() {
    full_size("sed_l", &SedConfig::sed_l());
}

fn full_size(name: &str, config: &SedConfig) {
    let start = Instant::now();
    let checkpoint = Checkpoint::from_bytes(synthetic::safetensors(config, SEED), "by rule").unwrap();
    println!("{name}: weights made in {:.2?}", start.elapsed());
    check_weights(name, &checkpoint);
    let start = Instant::now();
    let tower = TextTower::load(&Weights::new(&checkpoint, &Device::Cpu), config).unwrap();
    println!("{name}: text tower loaded in {:.2?}", start.elapsed());
    let voc20 = builtin_vocabulary("pascal-voc-20").unwrap();
    let start = Instant::now();
    let embedded = tower.embed(&voc20).unwrap();
    println!("{name}: {} categories embedded in {:.2?}", voc20.len(), start.elapsed());
    check_samples(name, &stack(&embedded));
    for (dataset, vocabulary) in [("voc20", "pascal-voc-20"), ("ade150", "ade20k-150")] {
        let file = golden(&format!("full/{name}.text.{dataset}.safetensors"));
        let tensors = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
        let index: Vec<i32> = tensors["class_index"].to_vec1().unwrap();
        let categories = builtin_vocabulary(vocabulary).unwrap();
        let categories: Vec<Category> =
            index.iter().map(|&index| categories[index as usize].clone()).collect();
        let embedded = tower.embed(&categories).unwrap();
        let difference = largest_difference(&stack(&embedded), &tensors["text_features"]);
        println!("{name}: {dataset} differs by {difference:e}");
        assert!(difference <= TOLERANCE, "{name} {dataset} differs by {difference}");
    }
}

/// Values at random places of all 20 embeddings of Pascal VOC, `[20, 80, D]`.
fn check_samples(name: &str, embedded: &Tensor) {
    let json = std::fs::read_to_string(golden(&format!("full/{name}.meta.json"))).unwrap();
    let meta: serde_json::Value = serde_json::from_str(&json).unwrap();
    let samples = &meta["text"]["voc20"]["features"];
    let index: Vec<usize> = serde_json::from_value(samples["index"].clone()).unwrap();
    let want: Vec<f32> = serde_json::from_value(samples["value"].clone()).unwrap();
    assert_eq!(index.len(), 64);
    let got: Vec<f32> = embedded.flatten_all().unwrap().to_vec1().unwrap();
    for (&index, want) in index.iter().zip(want) {
        let difference = (got[index] - want).abs();
        assert!(difference <= TOLERANCE, "{name}: value {index} is {}, want {want}", got[index]);
    }
}

/// The digest of all weights, as `tests/golden/full` has it.
fn check_weights(name: &str, checkpoint: &Checkpoint) {
    let json = std::fs::read_to_string(golden(&format!("full/{name}.weights.json"))).unwrap();
    let golden: serde_json::Value = serde_json::from_str(&json).unwrap();
    let mut digest = Sha256::new();
    for (name, shape) in checkpoint.names_and_shapes() {
        digest.update(&name);
        let values = checkpoint.values(&name, &shape).unwrap();
        values.chunks(1 << 16).for_each(|values| {
            digest.update(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
        });
    }
    let hex = HEXLOWER.encode(&digest.finalize());
    assert_eq!(golden["sha256_sorted_name_plus_le_f32"], hex, "the weights are not the reference's");
}
