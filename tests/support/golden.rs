//! The reference outputs in `tests/golden` (its README says how they were made).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use sed_image::{DecodeLimits, ResizeMode, decode, network_input};
use sed_model::{Rejection, prompts::Category};
use serde_json::Value;

/// A file among the reference outputs. `SED_GOLDEN` says where they are on a machine that did not build the test.
pub fn path(name: &str) -> PathBuf {
    let here = || Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    std::env::var_os("SED_GOLDEN").map_or_else(here, PathBuf::from).join(name)
}

/// A JSON file among the reference outputs.
pub fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path(name)).unwrap()).unwrap()
}

/// All tensors of a safetensors file.
pub fn tensors(name: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(path(name), &Device::Cpu).unwrap()
}

/// Width, height and the category of every pixel.
pub type IndexMap = (u32, u32, Vec<u8>);

/// An index map among the reference outputs.
pub fn index_map(name: &str) -> IndexMap {
    let map = image::open(path(name)).unwrap().into_luma8();
    (map.width(), map.height(), map.into_raw())
}

/// A picture brought to the network's input the official way: `[1, side, side, 3]`, and the part of the
/// decoder's map (width, height) that the official evaluation uses, with the picture's width and height.
pub fn network_pixels(name: &str, side: usize) -> (Tensor, (u32, u32), (u32, u32)) {
    let bytes = std::fs::read(path(name)).unwrap();
    let picture = decode(&bytes, &DecodeLimits::default()).unwrap().image;
    let input = network_input(&picture, side as u32, ResizeMode::TwoStep).unwrap();
    let crop = input.output_crop(side as u32 / 4);
    let pixels = Tensor::from_vec(input.data, (1, side, side, 3), &Device::Cpu).unwrap();
    (pixels, crop, (picture.width(), picture.height()))
}

/// Category lines in the official form (synonyms separated by `, `).
pub fn categories(lines: &Value) -> Vec<Category> {
    lines.as_array().unwrap().iter().map(|line| Category::from_official(line.as_str().unwrap())).collect()
}

/// A list of numbers.
pub fn numbers(list: &Value) -> Vec<u32> {
    list.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as u32).collect()
}

/// The rejection setting in a mode's name: `normal`, `fast1`, `fast8`, …
pub fn rejection(mode: &str) -> Rejection {
    mode.strip_prefix("fast").map_or(Rejection::Off, |top_k| top_k.parse().unwrap())
}
