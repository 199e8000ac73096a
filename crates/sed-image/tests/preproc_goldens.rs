//! Decoding and resizing against outputs of the reference implementation.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test or bench fails by panicking"
)]

use sed_image::{DecodeLimits, Decoded, ResizeMode, RgbImage, decode, network_input, resize_antialiased};
use serde_json::Value;
use sha2::{Digest, Sha256};

const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/preproc");

fn cases() -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(format!("{GOLDENS}/preproc.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    json["cases"].as_object().unwrap().iter().map(|(name, case)| (name.clone(), case.clone())).collect()
}

fn read(name: &str) -> Decoded {
    decode(&std::fs::read(format!("{GOLDENS}/{name}")).unwrap(), &DecodeLimits::default()).unwrap()
}

fn sha256(image: &RgbImage) -> String {
    Sha256::digest(image.pixels()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

#[test]
fn colour_modes_decode_as_the_reference_reader_does() {
    let mut seen = 0;
    for (name, case) in cases() {
        let Some(size) = case.get("decoded_hw") else { continue };
        let image = read(&format!("{name}.png")).image;
        assert_eq!(
            [image.height() as usize, image.width() as usize],
            [number(&size[0]), number(&size[1])],
            "{name}"
        );
        assert_eq!(sha256(&image), case["decoded_hwc_sha256"], "{name}");
        assert_eq!(image, read(&format!("{name}.decoded.png")).image, "{name}");
        seen += 1;
    }
    assert_eq!(seen, 6);
}

#[test]
fn official_resize_is_bit_exact() {
    let mut seen = 0;
    for (name, case) in cases() {
        let Some(size) = case.get("resized_hw") else { continue };
        let image = read(&format!("{name}.png")).image;
        let (width, height) = sed_image::resize::shortest_edge_size(image.width(), image.height());
        assert_eq!([height as usize, width as usize], [number(&size[0]), number(&size[1])], "{name}");
        let resized = resize_antialiased(&image, width, height).unwrap();
        let samples =
            case["resized_index"].as_array().unwrap().iter().zip(case["resized_value"].as_array().unwrap());
        for (index, value) in samples {
            assert_eq!(usize::from(resized.pixels()[number(index)]), number(value), "{name} at {index}");
        }
        assert_eq!(sha256(&resized), case["resized_hwc_sha256"], "{name}");
        seen += 1;
    }
    assert_eq!(seen, 11);
}

#[test]
fn official_network_input_equals_the_reference() {
    let mut worst = 0f64;
    for (name, case) in cases() {
        let Some(golden) = case.get("net_input") else { continue };
        let input = network_input(&read(&format!("{name}.png")).image, 768, ResizeMode::TwoStep).unwrap();
        let pixels = 768 * 768;
        for (index, value) in
            golden["index"].as_array().unwrap().iter().zip(golden["value"].as_array().unwrap())
        {
            // The reference's layout is [1, 3, 768, 768], ours channels last.
            let (channel, pixel) = (number(index) / pixels, number(index) % pixels);
            let error = (f64::from(input.data[pixel * 3 + channel]) - value.as_f64().unwrap()).abs();
            worst = worst.max(error);
            assert!(error < 8e-5, "{name} at {index}: off by {error}");
        }
        let mean = input.data.iter().map(|&v| f64::from(v)).sum::<f64>() / input.data.len() as f64;
        assert!((mean - golden["mean"].as_f64().unwrap()).abs() < 1e-5, "{name}: mean {mean}");
    }
    println!("largest difference {worst:e}");
}
