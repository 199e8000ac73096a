//! Regions tinted in their colours, with borders.

use rayon::prelude::*;

use crate::mask::{IndexMap, UNLABELLED, palette};

/// Brightness of pixels without a category.
const DIMMED: f32 = 0.62;

/// The least margin between the two best categories at which a pixel has the whole tint. Smaller ones are
/// those that a report of ambiguities calls small, too.
const SURE: f32 = 0.1;

/// Tints `pixels` (H × W × 3) by the regions of `map`, `strength` 0 to 1, less where `margins` (H × W, 0 to 1
/// as 0 to 255) are small. Along each border runs a light line, and inside it one of the region's own colour,
/// each about `border` pixels wide.
pub(super) fn tint(pixels: &mut [u8], map: &IndexMap, margins: Option<&[u8]>, strength: f32, border: f32) {
    let width = map.width() as usize;
    let reach = (border * 2.0).ceil() as usize + 1;
    let along_rows: Vec<u8> = distances_along_rows(map, reach);
    pixels.par_chunks_exact_mut(width * 3).enumerate().for_each(|(y, row)| {
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let category = map.row(y)[x];
            let strength = strength * margins.map_or(1.0, |margins| share_of_tint(margins[y * width + x]));
            let shaded = if category == UNLABELLED {
                [0, 1, 2].map(|c| f32::from(pixel[c]) * DIMMED)
            } else {
                let colour = palette::colour(category).map(f32::from);
                [0, 1, 2].map(|c| f32::from(pixel[c]) + (colour[c] - f32::from(pixel[c])) * strength)
            };
            let distance = distance(map, &along_rows, x, y, reach);
            let edged = with_border(shaded, category, distance, border);
            pixel.copy_from_slice(&edged.map(|value| value.round().clamp(0.0, 255.0) as u8));
        }
    });
}

/// Share of the tint at a margin, 0 to 1 as 0 to 255.
fn share_of_tint(margin: u8) -> f32 {
    (f32::from(margin) / (255.0 * SURE)).min(1.0)
}

fn with_border(shaded: [f32; 3], category: u16, distance: f32, border: f32) -> [f32; 3] {
    // The border itself lies half a pixel before the nearest foreign pixel's centre.
    let depth = distance - 0.5;
    let light = (border * 0.5 + 0.5 - depth).clamp(0.0, 1.0) * 0.9;
    let own = if category == UNLABELLED { 0.0 } else { (border * 1.7 + 0.5 - depth).clamp(0.0, 1.0) * 0.9 };
    let colour = palette::colour(category).map(f32::from);
    [0, 1, 2].map(|c| {
        let inner = shaded[c] + (colour[c] - shaded[c]) * own;
        inner + (255.0 - inner) * light
    })
}

/// For every pixel how far the nearest foreign pixel of its row is, at most `reach` + 1.
fn distances_along_rows(map: &IndexMap, reach: usize) -> Vec<u8> {
    let width = map.width() as usize;
    let most = reach + 1;
    let mut distances = vec![0u8; map.indices().len()];
    distances.par_chunks_exact_mut(width).enumerate().for_each(|(y, out)| {
        let mut start = 0;
        for run in map.row(y).chunk_by(|a, b| a == b) {
            for x in 0..run.len() {
                // The picture's own edges are no borders.
                let left = if start == 0 { most } else { x + 1 };
                let right = if start + run.len() == width { most } else { run.len() - x };
                // `reach` is below 10: the border is at most 3 pixels wide.
                out[start + x] = left.min(right).min(most) as u8;
            }
            start += run.len();
        }
    });
    distances
}

/// Distance from pixel (x, y) to the nearest foreign pixel, exact up to `reach`.
fn distance(map: &IndexMap, along_rows: &[u8], x: usize, y: usize, reach: usize) -> f32 {
    let width = map.width() as usize;
    let here = y * width + x;
    let category = map.indices()[here];
    let mut nearest = u32::from(along_rows[here]).pow(2);
    // Up and down while the column keeps the category: beyond, a nearer foreign pixel was met.
    for step in 1..=reach.min(y) {
        let (at, square) = (here - step * width, (step * step) as u32);
        let foreign = map.indices()[at] != category;
        nearest = nearest.min(square + if foreign { 0 } else { u32::from(along_rows[at]).pow(2) });
        if foreign {
            break;
        }
    }
    for step in 1..=reach.min(map.height() as usize - 1 - y) {
        let (at, square) = (here + step * width, (step * step) as u32);
        let foreign = map.indices()[at] != category;
        nearest = nearest.min(square + if foreign { 0 } else { u32::from(along_rows[at]).pow(2) });
        if foreign {
            break;
        }
    }
    (nearest as f32).sqrt()
}
