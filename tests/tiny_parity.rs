//! The embedded model here and in PyTorch: ten scenes, the same survivors and the same maps
//! (`models/sed-tiny/train/parity_scenes.py` wrote them).

#![allow(clippy::unwrap_used, missing_docs)]

use candle_core::{Device, Tensor};
use sed_image::ResizeMode;
use sed_model::{DecodeRequest, OutputSpec, Rejection, Thresholds, prompts::Category};
use sed_tests::{device, golden, stages::decode_all, tiny};
use serde_json::Value;

/// Pixels at which two words score as good as the same, as the golden maps mark them.
const NEAR_TIE: u8 = 255;

fn survivors(value: &Value) -> Vec<Vec<u32>> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn ten_scenes_come_out_as_in_pytorch() {
    let reference = golden::json("tiny/scenes.json");
    let digest = std::fs::read_to_string(tiny::path("sed-tiny.sha256")).unwrap();
    let weights = reference["weights"].as_str().unwrap();
    assert!(digest.starts_with(weights), "the weights are newer; run models/sed-tiny/train/parity_scenes.py");

    let model = tiny::model(&device::under_test());
    let side = model.config().image_size;
    let scenes = reference["scenes"].as_array().unwrap();
    assert_eq!(scenes.len(), 10);
    let (mut compared, mut pixels) = (0, 0);
    for (i, scene) in scenes.iter().enumerate().take(device::share(10)) {
        let words: Vec<String> = serde_json::from_value(scene["words"].clone()).unwrap();
        let categories: Vec<Category> = words.into_iter().map(Category::new).collect();
        let embeddings = model.embed_categories(&categories).unwrap();
        let file = std::fs::read(golden::path(&format!("tiny/{i}.png"))).unwrap();
        let picture = sed_image::decode(&file, &sed_image::DecodeLimits::default()).unwrap().image;
        let input = sed_image::network_input(&picture, side as u32, ResizeMode::Direct).unwrap();
        let input = Tensor::from_vec(input.data, (1, side, side, 3), &Device::Cpu).unwrap();
        let features = model.encode(&input).unwrap().remove(0);
        for (name, top_k) in [("off", 0), ("top8", 8)] {
            let rejection = Rejection::from_top_k(top_k);
            let request = DecodeRequest { features: &features, text: &embeddings, groups: None, rejection };
            let (pairs, kept) = decode_all(&model, &[request]);
            let kept: Vec<Vec<u32>> = kept[..3].iter().map(|level| level[0].clone()).collect();
            assert_eq!(kept, survivors(&scene[name]), "scene {i}, {name}: other categories survive");
            let output = OutputSpec {
                width: picture.width(),
                height: picture.height(),
                crop: None,
                thresholds: Thresholds::Same(0.0),
                score_maps: false,
                sureness: false,
            };
            let map = model.finish(&pairs, &[output]).unwrap().remove(0);
            let expected = image::open(golden::path(&format!("tiny/{i}.{name}.png"))).unwrap();
            let expected = expected.into_luma8().into_raw();
            let wrong = map
                .indices
                .iter()
                .zip(&expected)
                .filter(|(found, wanted)| **wanted != NEAR_TIE && **found != u16::from(**wanted));
            assert_eq!(wrong.count(), 0, "scene {i}, {name}");
            compared += expected.iter().filter(|wanted| **wanted != NEAR_TIE).count();
            pixels += expected.len();
        }
    }
    assert!(compared as f64 > 0.97 * pixels as f64, "only {compared} of {pixels} pixels say anything");
}
