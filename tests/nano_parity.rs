//! Every intermediate tensor, survivor set and index map of the reduced model equals the reference's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

use candle_core::{DType, Tensor};
use sed_model::checkpoint::Checkpoint;
use sed_model::config::{SedConfig, VisualHead};
use sed_model::{DecodeRequest, FinishedMap, Level, OutputSpec, Rejection, SedModel, Thresholds};
use sed_tests::compare::{assert_near, assert_same_map, channels_first, score_maps};
use sed_tests::device::{Bounds, host};
use sed_tests::stages::decode_all;
use sed_tests::sureness::assert_sureness;
use sed_tests::{device, golden, synthetic};
use serde_json::Value;

fn nano() -> (Checkpoint, SedModel) {
    let checkpoint = Checkpoint::open(&golden::path("nano/sed_nano.pth")).unwrap();
    let model = SedModel::load(&checkpoint, &device::under_test()).unwrap();
    (checkpoint, model)
}

/// The variant with SED-L's visual head; its weights exist by rule only.
fn nano_mlp() -> SedModel {
    let json = std::fs::read_to_string(golden::path("nano/config.json")).unwrap();
    let mut config = SedConfig::from_json(&json, "config.json").unwrap();
    config.vision.head = VisualHead::Mlp { hidden: 2 * config.embed_dim };
    let checkpoint = Checkpoint::from_bytes(synthetic::safetensors(&config, 12), "synthetic").unwrap();
    SedModel::load_as(&checkpoint, config, &device::under_test(), DType::F32).unwrap()
}

/// The most that a result may be off, as a multiple of the reference's own rounding error.
fn slack() -> f64 {
    Bounds::of(&device::under_test()).slack
}

fn tolerance(mode: &Value, name: &str) -> f64 {
    slack()
        * mode["max_abs_err_f32_vs_f64"][name].as_f64().unwrap_or_else(|| panic!("no error bound for {name}"))
}

/// Text embeddings, rejection heads, survivors, scores and index maps of one case in every mode.
fn check_case(model: &SedModel, name: &str) {
    let meta = &golden::json("nano/meta.json")["cases"][name];
    let want = golden::tensors(&format!("nano/{name}.safetensors"));
    let side = model.config().image_size;
    let picture = format!("nano/{}", meta["image"].as_str().unwrap());
    let (pixels, crop, (width, height)) = golden::network_pixels(&picture, side);
    let text = model.embed_categories(&golden::categories(&meta["classes"])).unwrap();
    let rows: Vec<&Tensor> = text.iter().map(|t| t.tensor()).collect();
    let bound = slack() * meta["max_abs_err_f32_vs_f64"]["text_features"].as_f64().unwrap();
    // The second set of words is the first half of the first one's, and not stored again.
    if name != "sed_nano.b12" {
        assert_near(
            &Tensor::stack(&rows, 0).unwrap(),
            &want["text_features"],
            bound,
            &format!("{name} text"),
        );
    }
    let features = model.encode(&pixels).unwrap().remove(0);
    for (mode, info) in meta["modes"].as_object().unwrap() {
        let rejection = golden::rejection(mode);
        let request = DecodeRequest { features: &features, text: &text, groups: None, rejection };
        let stage = model.cost_map_stage();
        let head0 = stage.rejection_logits(&stage.similarities(&[request]).unwrap()).unwrap();
        let key = |part: &str| format!("{mode}.{part}");
        assert_near(&head0, &want[&key("head0")], tolerance(info, "head0"), &format!("{name} {mode} head0"));
        let (pairs, kept) = decode_all(model, &[request]);
        let kept: Vec<Vec<u32>> = kept.into_iter().flatten().collect();
        if rejection != Rejection::Off {
            let expected: Vec<Vec<u32>> =
                info["kept_after_level"].as_array().unwrap().iter().map(golden::numbers).collect();
            assert_eq!(kept[..3], expected, "{name} {mode}: survivors");
        }
        let output = OutputSpec {
            width,
            height,
            crop: Some(crop),
            thresholds: Thresholds::Same(0.0),
            score_maps: true,
            sureness: true,
        };
        let map = model.finish(&pairs, std::slice::from_ref(&output)).unwrap().remove(0);
        assert_sureness(&map, crop, &format!("{name} {mode}"));
        let plain = OutputSpec { sureness: false, ..output };
        let plain = model.finish(&pairs, &[plain]).unwrap().remove(0);
        assert_eq!(FinishedMap { sureness: None, ..map.clone() }, plain, "{name} {mode}");
        let scores = score_maps(&map);
        match rejection {
            Rejection::TopK(_) => {
                let bound = tolerance(info, "head_out");
                assert_near(&scores, &want[&key("kept_prob")], bound, &format!("{name} {mode} scores"));
            }
            Rejection::Off => {
                let logits = sigmoid(&want[&key("head_out")]);
                assert_near(&scores, &logits, tolerance(info, "head_out"), &format!("{name} {mode} scores"));
            }
        }
        let reference = golden::index_map(&format!("nano/{name}.{mode}.argmax.png"));
        let bound = tolerance(info, "sem_seg") as f32;
        assert_same_map(&map, pairs.survivors(0), crop, &reference, bound, &format!("{name} {mode}"));
    }
}

fn sigmoid(x: &Tensor) -> Tensor {
    ((x.neg().unwrap().exp().unwrap() + 1.0).unwrap()).recip().unwrap()
}

#[test]
fn every_case_in_every_mode() {
    let (_, model) = nano();
    for case in ["sed_nano.a24", "sed_nano.b12", "sed_nano.c5"] {
        check_case(&model, case);
    }
    check_case(&nano_mlp(), "sed_nano_mlp.c5");
}

/// Every intermediate tensor of case c5 with rejection off.
#[test]
fn every_intermediate_tensor() {
    let (checkpoint, model) = nano();
    let meta = &golden::json("nano/meta.json")["cases"]["sed_nano.c5"];
    let info = &meta["modes"]["normal"];
    let want = golden::tensors("nano/sed_nano.c5.safetensors");
    let near = |got: &Tensor, name: &str| {
        let bound = tolerance(info, name.trim_end_matches(".class0"));
        assert_near(got, &want[&format!("normal.{name}")], bound, name);
    };
    let near_maps = |got: &Tensor, name: &str| {
        let got = channels_first(&host(got));
        if name.ends_with(".class0") { near(&got.narrow(0, 0, 1).unwrap(), name) } else { near(&got, name) }
    };
    let (pixels, ..) = golden::network_pixels("nano/img_b.png", model.config().image_size);
    near_maps(&pixels, "net_input");
    let pixels = pixels.to_device(model.device()).unwrap();
    let encoded = model.encoder().forward(&pixels).unwrap();
    for (level, name) in encoded.levels.iter().zip(["res2", "res3", "res4", "res5"]) {
        near_maps(level, name);
    }
    near_maps(&encoded.dense, "clip_vis_dense");
    for (level, guidance) in model.guidance().forward(&encoded.levels).unwrap().iter().enumerate() {
        near_maps(guidance, &format!("guidance{level}"));
    }
    let features = model.encode(&pixels).unwrap().remove(0);
    let text = model.embed_categories(&golden::categories(&meta["classes"])).unwrap();
    let request = DecodeRequest { features: &features, text: &text, groups: None, rejection: Rejection::Off };
    let stage = model.cost_map_stage();
    let similarities = stage.similarities(&[request]).unwrap();
    // [n, h, w, 80] to [1, 80, n, h, w]
    near(&similarities.permute((3, 0, 1, 2)).unwrap().contiguous().unwrap(), "corr");
    near(&stage.rejection_logits(&similarities).unwrap(), "head0");
    let mut x = stage.embed(&similarities).unwrap();
    near_maps(&x, "conv1");
    let mut cost = similarities;
    let (offsets, images) = ([0, text.len()], vec![0; text.len()]);
    let root = "sem_seg_head.predictor.transformer";
    for which in Level::ALL {
        let (level, index) = (model.decoder().level(which), which.index());
        let name = |part: &str| format!("decoder{which}{part}");
        let of_class0 = if index == 2 { ".class0" } else { "" };
        x = level.aggregate_positions(&x).unwrap();
        near_maps(&x, &name(&format!(".cnext{of_class0}")));
        x = level.aggregate_categories(&x, &offsets).unwrap();
        let attention = channels_first(&host(&x));
        if index == 2 {
            near(&attention.narrow(0, 0, 1).unwrap(), &name(".attention.class0"));
        } else {
            near(&attention.transpose(0, 1).unwrap().contiguous().unwrap(), &name(".attention"));
        }
        // The network folds `up` into the convolution behind it; here it is applied on its own.
        let (inputs, guidance) = (x.dim(3).unwrap(), model.config().decoder.guidance_dims[index]);
        let key = format!("{root}.decoder{}.up", index + 1);
        let weight = checkpoint.tensor(&format!("{key}.weight"), &[inputs, inputs - guidance, 2, 2]).unwrap();
        let bias = checkpoint.tensor(&format!("{key}.bias"), &[inputs - guidance]).unwrap();
        let up = attention.conv_transpose2d(&weight, 0, 0, 2, 1).unwrap();
        let up = up.broadcast_add(&bias.reshape((1, inputs - guidance, 1, 1)).unwrap()).unwrap();
        if index == 0 {
            near(&up, &name(".up"));
        } else {
            near(&up.narrow(0, 0, 1).unwrap(), &name(".up.class0"));
        }
        let outputs = sed_model::decoder::FusionOutputs { features: true, logits: true };
        let fused = level.fuse(&x, &cost, &[features.guide(which)], &images, outputs).unwrap();
        let logits = fused.logits.unwrap();
        near(&logits, ["head1", "head2", "head_out"][index]);
        cost = fused.cost_guidance.unwrap();
        near_maps(&cost, &format!("corr_guidance{index}{}", if index == 0 { "" } else { ".class0" }));
        x = fused.features.unwrap();
        near_maps(&x, &name(of_class0));
    }
}

/// With operands of all products in bf16 the scores move by its rounding, and few pixels change. The weights are
/// random and their scores lie close together: PyTorch's own bf16 changes more pixels of this network than this.
#[test]
fn bf16_stays_close_to_f32() {
    let checkpoint = Checkpoint::open(&golden::path("nano/sed_nano.safetensors")).unwrap();
    let config = checkpoint.config().unwrap();
    let model = SedModel::load_as(&checkpoint, config, &device::under_test(), DType::BF16).unwrap();
    let meta = &golden::json("nano/meta.json")["cases"]["sed_nano.a24"];
    let (pixels, crop, (width, height)) = golden::network_pixels("nano/img_a.png", model.config().image_size);
    let text = model.embed_categories(&golden::categories(&meta["classes"])).unwrap();
    assert_eq!(text[0].tensor().dtype(), DType::BF16);
    let features = model.encode(&pixels).unwrap().remove(0);
    assert_eq!(features.dense().dtype(), DType::BF16);
    let request = DecodeRequest { features: &features, text: &text, groups: None, rejection: Rejection::Off };
    let (pairs, _) = decode_all(&model, &[request]);
    let output = OutputSpec {
        width,
        height,
        crop: Some(crop),
        thresholds: Thresholds::Same(0.0),
        score_maps: true,
        sureness: false,
    };
    let map = model.finish(&pairs, &[output]).unwrap().remove(0);
    let want = golden::tensors("nano/sed_nano.a24.safetensors");
    assert_near(&score_maps(&map), &sigmoid(&want["normal.head_out"]), 3e-2, "bf16 scores");
    let reference = golden::index_map("nano/sed_nano.a24.normal.argmax.png").2;
    let same = map.indices.iter().zip(&reference).filter(|(a, b)| **a == u16::from(**b)).count();
    let share = same as f64 / reference.len() as f64;
    println!("bf16: {:.2} % of the pixels agree", 100.0 * share);
    // On a GPU what lies between the layers is bf16, too, as in PyTorch.
    let least = if model.device().is_cpu() { 0.93 } else { 0.9 };
    assert!(share > least, "{share}");
}
