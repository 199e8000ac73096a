//! Full-size SED-B and SED-L with weights made by rule equal the reference: text embeddings, encoder
//! levels, rejection heads, survivors, logits and index maps.
//!
//! These take minutes and gigabytes, so they run only when asked for:
//! `cargo test --release -p sed-tests --test full_parity -- --ignored --nocapture`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

use candle_core::{DType, Device, Tensor};
use sed_model::checkpoint::Checkpoint;
use sed_model::config::SedConfig;
use sed_model::prompts::builtin_vocabulary;
use sed_model::text_tower::TextEmbedding;
use sed_model::{DecodeRequest, ImageFeatures, OutputSpec, SedModel};
use sed_tests::compare::{assert_near, assert_same_map, channels_first};
use sed_tests::stages::decode_all;
use sed_tests::{golden, synthetic};
use serde_json::Value;

/// A sound f32 implementation stays within this many times the reference's own rounding error.
const SLACK: f64 = 5.0;
/// The rounding error of the reference's text embeddings (columns dropped behind the end of text).
const TEXT_ERROR: f64 = 2.3e-7;
/// Half a unit in the last place of f16 below 4, the format of the stored logits.
const HALF_ROUNDING: f64 = 1e-3;

struct Reference {
    variant: &'static str,
    meta: Value,
    errors: Value,
}

impl Reference {
    fn tolerance(&self, name: &str) -> f64 {
        SLACK * self.errors[name]["max_abs_err"].as_f64().unwrap()
    }

    /// Compares the sampled values of a tensor in the reference's layout.
    fn near(&self, got: &Tensor, samples: &Value, name: &str, what: &str) {
        let shape: Vec<u64> =
            samples["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
        assert_eq!(shape.iter().product::<u64>() as usize, got.elem_count(), "{what}: {shape:?}");
        let got = got.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let picked: Vec<f32> = golden::numbers(&samples["index"]).iter().map(|&i| got[i as usize]).collect();
        let want: Vec<f32> =
            samples["value"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
        let tensor = |values: Vec<f32>| Tensor::new(values, &Device::Cpu).unwrap();
        assert_near(&tensor(picked), &tensor(want), self.tolerance(name), what);
        let mean = got.iter().map(|&v| f64::from(v)).sum::<f64>() / got.len() as f64;
        let expected = samples["mean"].as_f64().unwrap();
        assert!((mean - expected).abs() <= self.tolerance(name), "{what}: mean {mean}, want {expected}");
    }
}

fn check(variant: &'static str, config: SedConfig, pictures: &[&str]) {
    let reference = Reference {
        variant,
        meta: golden::json(&format!("full/{variant}.meta.json")),
        errors: golden::json("full/sed_b.f32_vs_f64.json"),
    };
    let weights = synthetic::safetensors(&config, 1);
    let checkpoint = Checkpoint::from_bytes(weights, "synthetic").unwrap();
    let model = SedModel::load_as(&checkpoint, config, &Device::Cpu, DType::F32).unwrap();
    drop(checkpoint);
    let vocabularies = [("voc20", "pascal-voc-20"), ("ade150", "ade20k-150")];
    let texts: Vec<Vec<TextEmbedding>> = vocabularies
        .iter()
        .map(|(set, name)| {
            let text = model.embed_categories(&builtin_vocabulary(name).unwrap()).unwrap();
            let want = golden::tensors(&format!("full/{variant}.text.{set}.safetensors"));
            for (row, category) in indices(&want["class_index"]).into_iter().enumerate() {
                let (got, features) = (text[category as usize].tensor(), &want["text_features"]);
                let what = format!("{variant} {set} text {category}");
                assert_near(got, &features.get(row).unwrap(), SLACK * TEXT_ERROR, &what);
            }
            text
        })
        .collect();
    for picture in pictures {
        let (pixels, crop, size) =
            golden::network_pixels(&format!("full/{picture}.png"), model.config().image_size);
        check_encoder(&reference, &model, &pixels, picture);
        let features = model.encode(&pixels).unwrap().remove(0);
        for ((set, _), text) in vocabularies.iter().zip(&texts) {
            for mode in ["normal", "fast1", "fast8"] {
                check_run(
                    &reference,
                    &model,
                    (&features, text),
                    (crop, size),
                    &format!("{picture}.{set}.{mode}"),
                );
            }
        }
    }
}

fn indices(x: &Tensor) -> Vec<i64> {
    x.to_dtype(DType::I64).unwrap().to_vec1().unwrap()
}

fn check_encoder(reference: &Reference, model: &SedModel, pixels: &Tensor, picture: &str) {
    let want = &reference.meta["encoder"][picture];
    let near = |got: &Tensor, name: &str| {
        let what = format!("{} {picture} {name}", reference.variant);
        reference.near(&channels_first(got), &want[name], name, &what);
    };
    near(pixels, "net_input");
    let encoded = model.encoder().forward(pixels).unwrap();
    for (level, name) in encoded.levels.iter().zip(["res2", "res3", "res4", "res5"]) {
        near(level, name);
    }
    near(&encoded.dense, "clip_vis_dense");
    for (level, guidance) in model.guidance().forward(&encoded.levels).unwrap().iter().enumerate() {
        near(guidance, &format!("guidance{level}"));
    }
}

fn check_run(
    reference: &Reference,
    model: &SedModel,
    (features, text): (&ImageFeatures, &[TextEmbedding]),
    (crop, (width, height)): ((usize, usize), (usize, usize)),
    run: &str,
) {
    let info = &reference.meta["runs"][run];
    let what = format!("{} {run}", reference.variant);
    let top_k = golden::top_k(run.rsplit('.').next().unwrap());
    let request = DecodeRequest { features, text, top_k };
    let stage = model.cost_map_stage();
    let head0 = stage.rejection_logits(&stage.similarities(&[request]).unwrap()).unwrap();
    reference.near(&head0, &info["tensors"]["head0"], "head0", &format!("{what} head0"));
    let (pairs, kept) = decode_all(model, &[request]);
    let kept: Vec<Vec<u32>> = kept.into_iter().flatten().collect();
    if top_k.is_some() {
        let expected: Vec<Vec<u32>> =
            info["kept_after_level"].as_array().unwrap().iter().map(golden::numbers).collect();
        assert_eq!(kept[..3], expected, "{what}: survivors");
    }
    let output = OutputSpec { height, width, crop: Some(crop), score_threshold: 0.0, score_maps: true };
    let map = model.finish(&pairs, &[output]).unwrap().remove(0);
    let scores = map.score_maps.clone().unwrap();
    let stored = golden::tensors(&format!("full/{}.{run}.safetensors", reference.variant));
    let want = match top_k {
        Some(_) => stored["prob_f16"].to_dtype(DType::F32).unwrap(),
        None => {
            let logits = stored["logits_f16"].to_dtype(DType::F32).unwrap();
            ((logits.neg().unwrap().exp().unwrap() + 1.0).unwrap()).recip().unwrap()
        }
    };
    for (row, category) in indices(&stored["class_index"]).into_iter().enumerate() {
        let position = pairs.survivors(0).iter().position(|&s| i64::from(s) == category).unwrap();
        let what = format!("{what} scores of {category}");
        assert_near(&scores.get(position).unwrap(), &want.get(row).unwrap(), HALF_ROUNDING, &what);
    }
    let map_name = format!("full/{}.{run}.argmax.png", reference.variant);
    let bound = reference.tolerance("sem_seg") as f32;
    assert_same_map(&map, pairs.survivors(0), crop, &golden::index_map(&map_name), bound, &what);
}

#[test]
#[ignore = "full size: minutes, 4 GB"]
fn full_size_sed_b() {
    check("sed_b", SedConfig::sed_b(), &["img1", "img2"]);
}

#[test]
#[ignore = "full size: minutes, 6 GB"]
fn full_size_sed_l() {
    check("sed_l", SedConfig::sed_l(), &["img1"]);
}
