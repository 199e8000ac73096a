//! Comparisons with the reference outputs.

use candle_core::Tensor;
use sed_model::SegmentationMap;

/// `[n, h, w, c]` to `[n, c, h, w]`, the layout of the reference outputs.
pub fn channels_first(x: &Tensor) -> Tensor {
    x.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap()
}

/// The largest absolute difference between two tensors with equally many values.
pub fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.elem_count(), b.elem_count(), "{:?} and {:?}", a.shape(), b.shape());
    let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values(a).iter().zip(values(b)).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}

/// Fails if two tensors differ by more than `tolerance`.
#[track_caller]
pub fn assert_near(got: &Tensor, want: &Tensor, tolerance: f64, what: &str) {
    let difference = largest_difference(got, want);
    println!("{what:45} differs by {difference:.1e} of {tolerance:.1e}");
    assert!(difference <= tolerance, "{what}: differs by {difference:e}, tolerance {tolerance:e}");
}

/// Fails where the index map differs from the reference's, unless the scores of the two categories are
/// closer than `tolerance` there. Returns how many pixels differ.
#[track_caller]
pub fn assert_same_map(
    got: &SegmentationMap,
    survivors: &[u32],
    crop: (usize, usize),
    want: &(usize, usize, Vec<u8>),
    tolerance: f32,
    what: &str,
) -> usize {
    assert_eq!((got.width, got.height), (want.0, want.1), "{what}: size");
    let scores = got.score_maps.as_ref().expect("the test asks for score maps");
    let mut different = 0;
    for (pixel, (&a, &b)) in got.indices.iter().zip(&want.2).enumerate() {
        if a == u16::from(b) {
            continue;
        }
        different += 1;
        let at = (pixel / got.width, pixel % got.width);
        let score = |category: u16| {
            let position = survivors.iter().position(|&s| s == u32::from(category));
            position.map_or(0.0, |p| interpolate(scores, p, crop, (got.height, got.width), at))
        };
        let gap = (score(a) - score(u16::from(b))).abs();
        assert!(gap <= tolerance, "{what}: pixel {at:?} is {a}, want {b}; their scores differ by {gap:e}");
    }
    println!("{what:45} index map: {different} near ties differ of {} pixels", want.2.len());
    different
}

/// One value of map `index`, cut to `crop` and resized bilinearly to `size`.
fn interpolate(
    maps: &Tensor,
    index: usize,
    crop: (usize, usize),
    size: (usize, usize),
    at: (usize, usize),
) -> f32 {
    let map = maps.get(index).unwrap().to_vec2::<f32>().unwrap();
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
