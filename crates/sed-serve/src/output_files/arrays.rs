//! Scores as the arrays of numpy.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};
use sed_client::{
    Answer,
    v1::{ScoreMaps, mask::Content},
};

use super::{contents, whole};

/// Pixels of a mask at most, as the interface counts them.
const MOST_PIXELS: u64 = u32::MAX as u64;

/// Writes `score`, `runner_up` and `margin` of every pixel, each of shape (height, width).
pub(super) fn write_sureness(path: &Path, answer: &Answer) -> Result<()> {
    let shape = [answer.mask_size.height as usize, answer.mask_size.width as usize];
    let mut arrays = Vec::new();
    for content in contents(answer) {
        let array = match content {
            Content::RawScores(halves) => ("score", halves_of(halves, &shape)?),
            Content::RawMargins(halves) => ("margin", halves_of(halves, &shape)?),
            Content::RunnerUpPng(png) => {
                let map = sed_image::mask::png::decode(png, MOST_PIXELS).context("the runner-up png")?;
                let indices: Vec<u32> = map.indices().iter().copied().map(u32::from).collect();
                ("runner_up", Tensor::from_vec(indices, &shape, &Device::Cpu)?)
            }
            _ => continue,
        };
        arrays.push(array);
    }
    ensure!(arrays.len() == 3, "the answer holds {} of score, runner-up and margin", arrays.len());
    write(path, &arrays)
}

/// Writes `scores` of shape (categories, height, width), and `category_indices` of shape (categories).
pub(super) fn write_score_maps(path: &Path, answer: &Answer) -> Result<()> {
    let maps = contents(answer).find_map(|content| match content {
        Content::ScoreMaps(maps) => Some(maps),
        _ => None,
    });
    let ScoreMaps { width, height, category_indices, scores } =
        maps.context("the answer holds no score maps")?;
    let shape = [category_indices.len(), *height as usize, *width as usize];
    check_length(scores, &shape, DType::F32)?;
    let scores = Tensor::from_raw_buffer(scores, DType::F32, &shape, &Device::Cpu)?;
    let indices = Tensor::new(category_indices.as_slice(), &Device::Cpu)?;
    write(path, &[("scores", scores), ("category_indices", indices)])
}

fn write(path: &Path, arrays: &[(&str, Tensor)]) -> Result<()> {
    whole::write_with(path, |unfinished| Ok(Tensor::write_npz(arrays, unfinished)?))
}

/// An array of 16 bit floats from their bytes, little endian, row by row.
fn halves_of(bytes: &[u8], shape: &[usize]) -> Result<Tensor> {
    check_length(bytes, shape, DType::F16)?;
    Ok(Tensor::from_raw_buffer(bytes, DType::F16, shape, &Device::Cpu)?)
}

fn check_length(bytes: &[u8], shape: &[usize], dtype: DType) -> Result<()> {
    let (found, expected) = (bytes.len(), shape.iter().product::<usize>() * dtype.size_in_bytes());
    ensure!(
        found == expected,
        "the server sent {found} bytes of scores for the shape {shape:?}, which needs {expected}; \
         is its version another than this program's?"
    );
    Ok(())
}
