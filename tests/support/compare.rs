//! Comparisons with the reference outputs.

use candle_core::{Device, Tensor};
use sed_model::FinishedMap;

use crate::device::host;
use crate::golden::IndexMap;

/// `[n, h, w, c]` to `[n, c, h, w]`, the layout of the reference outputs.
pub fn channels_first(x: &Tensor) -> Tensor {
    x.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap()
}

/// The largest absolute difference between two tensors with equally many values; not a number if one of them is not.
pub fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.elem_count(), b.elem_count(), "{:?} and {:?}", a.shape(), b.shape());
    let values = |x: &Tensor| host(x).flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let differences = values(a).into_iter().zip(values(b)).map(|(a, b)| f64::from((a - b).abs()));
    // `f64::max` would drop what is not a number.
    differences.fold(0.0, |largest, one| if one.is_nan() || one > largest { one } else { largest })
}

/// Fails if two tensors differ by more than `tolerance`.
#[track_caller]
pub fn assert_near(got: &Tensor, want: &Tensor, tolerance: f64, what: &str) {
    let difference = largest_difference(got, want);
    println!("{what:45} differs by {difference:.1e} of {tolerance:.1e}");
    assert!(difference <= tolerance, "{what}: differs by {difference:e}, tolerance {tolerance:e}");
}

/// The differences of an index map from the reference's.
#[derive(Clone, Copy, Debug)]
pub struct MapDifference {
    pub pixels: usize,
    /// The largest distance between the scores of the two categories at a pixel that differs; 0 if there is none.
    pub widest_gap: f64,
    /// Row and column of that pixel, the category there and the reference's.
    pub widest: Option<((usize, usize), u16, u8)>,
}

/// Compares an index map with the reference's. `got` has score maps; `crop` is the part of them that was used.
pub fn map_difference(
    got: &FinishedMap,
    survivors: &[u32],
    crop: (u32, u32),
    want: &IndexMap,
) -> MapDifference {
    assert_eq!((got.width, got.height), (want.0, want.1), "size");
    let scores = score_maps(got).to_vec3::<f32>().unwrap();
    let rows_and_columns = |(width, height): (u32, u32)| (height as usize, width as usize);
    let (size, crop) = (rows_and_columns((got.width, got.height)), rows_and_columns(crop));
    let mut difference = MapDifference { pixels: 0, widest_gap: 0.0, widest: None };
    for (pixel, (&a, &b)) in got.indices.iter().zip(&want.2).enumerate() {
        if a == u16::from(b) {
            continue;
        }
        difference.pixels += 1;
        let at = (pixel / size.1, pixel % size.1);
        let score = |category: u16| {
            let position = survivors.iter().position(|&s| s == u32::from(category));
            position.map_or(0.0, |p| interpolate(&scores[p], crop, size, at))
        };
        let gap = f64::from((score(a) - score(u16::from(b))).abs());
        if gap.is_nan() || gap >= difference.widest_gap {
            difference = MapDifference { widest_gap: gap, widest: Some((at, a, b)), ..difference };
        }
    }
    difference
}

/// Fails where the index map differs from the reference's, unless the scores of the two categories are
/// closer than `tolerance` there. Returns how many pixels differ.
#[track_caller]
pub fn assert_same_map(
    got: &FinishedMap,
    survivors: &[u32],
    crop: (u32, u32),
    want: &IndexMap,
    tolerance: f32,
    what: &str,
) -> usize {
    let MapDifference { pixels, widest_gap, widest } = map_difference(got, survivors, crop, want);
    assert!(
        widest_gap <= f64::from(tolerance),
        "{what}: {widest:?} (pixel, category, want): their scores differ by {widest_gap:e}"
    );
    println!("{what:45} index map: {pixels} near ties differ of {} pixels", want.2.len());
    pixels
}

/// The score maps that a test has asked for: `[survivors, height, width]`.
pub fn score_maps(map: &FinishedMap) -> Tensor {
    let maps = map.score_maps.as_ref().expect("the test asks for score maps");
    let shape = (maps.categories.len(), maps.height as usize, maps.width as usize);
    Tensor::from_slice(&maps.scores, shape, &Device::Cpu).unwrap()
}

/// One value of a map, cut to `crop` and resized bilinearly to `size`.
pub(crate) fn interpolate(
    map: &[Vec<f32>],
    crop: (usize, usize),
    size: (usize, usize),
    at: (usize, usize),
) -> f32 {
    let sample = |i: usize, outputs: usize, inputs: usize| {
        let source = (inputs as f32 / outputs as f32 * (i as f32 + 0.5) - 0.5).max(0.0);
        let low = (source as usize).min(inputs - 1);
        (low, (low + 1).min(inputs - 1), source - low as f32)
    };
    let (top, bottom, v) = sample(at.0, size.0, crop.0);
    let (left, right, h) = sample(at.1, size.1, crop.1);
    let row = |y: usize| map[y][left] * (1.0 - h) + map[y][right] * h;
    row(top) * (1.0 - v) + row(bottom) * v
}
