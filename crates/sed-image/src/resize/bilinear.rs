//! Bilinear interpolation of normalised pixels without antialiasing, with the reference framework's
//! coordinates (half-pixel centres, `align_corners=False`, all in f32).

use rayon::prelude::*;

use super::{CLIP_PIXEL_MEAN, CLIP_PIXEL_STD};
use crate::rgb::RgbImage;

/// Output rows that one task of the pool works on; neighbours share interpolated source rows.
const BAND: usize = 32;

/// The inputs of an output position: two input positions and the weight of each.
#[derive(Clone, Copy)]
struct Tap {
    near: usize,
    far: usize,
    near_weight: f32,
    far_weight: f32,
}

/// The normalised, interpolated `image`, `[size, size, 3]`, channels last.
pub(super) fn normalised(image: &RgbImage, size: u32) -> Vec<f32> {
    let columns = taps(image.width(), size);
    let rows = taps(image.height(), size);
    let table = normalisation();
    let row_values = size as usize * 3;
    let mut out = vec![0f32; size as usize * row_values];
    out.par_chunks_mut(row_values * BAND).enumerate().for_each(|(band, lines)| {
        let mut cache = RowCache::new(row_values);
        for (line, to) in lines.chunks_exact_mut(row_values).enumerate() {
            let tap = rows[band * BAND + line];
            let (near, far) = cache.pair(tap.near, tap.far, |y, row| {
                interpolate_row(image.row(y), &columns, &table, row);
            });
            for ((to, near), far) in to.iter_mut().zip(near).zip(far) {
                *to = near * tap.near_weight + far * tap.far_weight;
            }
        }
    });
    out
}

fn taps(from: u32, to: u32) -> Vec<Tap> {
    let scale = from as f32 / to as f32;
    let last = from as usize - 1;
    (0..to)
        .map(|position| {
            let source = (scale * (position as f32 + 0.5) - 0.5).max(0.0);
            let near = (source as usize).min(last);
            let far_weight = (source - near as f32).clamp(0.0, 1.0);
            Tap { near, far: (near + 1).min(last), near_weight: 1.0 - far_weight, far_weight }
        })
        .collect()
}

/// The normalised value of every byte in every channel.
fn normalisation() -> [[f32; 256]; 3] {
    std::array::from_fn(|channel| {
        std::array::from_fn(|byte| (byte as f32 - CLIP_PIXEL_MEAN[channel]) / CLIP_PIXEL_STD[channel])
    })
}

fn interpolate_row(from: &[u8], columns: &[Tap], table: &[[f32; 256]; 3], to: &mut [f32]) {
    for (pixel, tap) in to.chunks_exact_mut(3).zip(columns) {
        let near = &from[tap.near * 3..][..3];
        let far = &from[tap.far * 3..][..3];
        for channel in 0..3 {
            pixel[channel] = table[channel][usize::from(near[channel])] * tap.near_weight
                + table[channel][usize::from(far[channel])] * tap.far_weight;
        }
    }
}

/// The two source rows last interpolated: when enlarging, the next output row needs them again.
struct RowCache {
    rows: [Vec<f32>; 2],
    held: [usize; 2],
}

impl RowCache {
    fn new(values: usize) -> Self {
        Self { rows: [vec![0.0; values], vec![0.0; values]], held: [usize::MAX; 2] }
    }

    /// Rows `near` and `far`, made by `make` where they are not held.
    fn pair(&mut self, near: usize, far: usize, make: impl Fn(usize, &mut [f32])) -> (&[f32], &[f32]) {
        if self.held[1] == near {
            self.rows.swap(0, 1);
            self.held.swap(0, 1);
        }
        for (slot, wanted) in [near, far].into_iter().enumerate() {
            if self.held[slot] != wanted {
                make(wanted, &mut self.rows[slot]);
                self.held[slot] = wanted;
            }
        }
        (&self.rows[0], &self.rows[1])
    }
}
