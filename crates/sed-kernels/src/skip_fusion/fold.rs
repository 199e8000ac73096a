//! Folding the transposed convolution into the 3×3 convolution behind it.

/// Channel counts of the two weights.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Input channels of the transposed convolution.
    pub(crate) channels: usize,
    /// Its output channels, the first input channels of the 3×3 convolution.
    pub(crate) up: usize,
    /// All input channels of the 3×3 convolution.
    pub(crate) inputs: usize,
    /// Its output channels.
    pub(crate) outputs: usize,
}

/// The 2×2 convolution of the low-resolution map that gives output pixels `(2y + py, 2x + px)`.
///
/// Tap `t` of the 3×3 kernel (0, 1, 2 for offsets -1, 0, 1) reads upsampled row `2y + py + t - 1`: the
/// low-resolution row `y + (py + t - 1).div_euclid(2)`, which is row `(py + t - 1).div_euclid(2) + 1 - py`
/// of the 2×2 window that starts at `y - 1 + py`, through row `(py + t - 1).rem_euclid(2)` of the
/// transposed kernel. Gives `[(2, 2, channels), outputs]`.
pub(crate) fn phase(conv0: &[f32], up: &[f32], shape: Shape, (py, px): (usize, usize)) -> Vec<f32> {
    let Shape { channels, outputs, .. } = shape;
    let mut folded = vec![0.0f64; 4 * channels * outputs];
    for (ty, tx) in (0..3).flat_map(|y| (0..3).map(move |x| (y, x))) {
        let (wy, ky) = window(py, ty);
        let (wx, kx) = window(px, tx);
        for c in 0..channels {
            let target = &mut folded[((wy * 2 + wx) * channels + c) * outputs..][..outputs];
            for (o, value) in target.iter_mut().enumerate() {
                for u in 0..shape.up {
                    let first = up[(c * shape.up + u) * 4 + ky * 2 + kx];
                    let second = conv0[(o * shape.inputs + u) * 9 + ty * 3 + tx];
                    *value += f64::from(first) * f64::from(second);
                }
            }
        }
    }
    folded.into_iter().map(|value| value as f32).collect()
}

/// Row of the 2×2 window and row of the transposed kernel that tap `t` of phase `p` reads.
fn window(p: usize, t: usize) -> (usize, usize) {
    // p + t + 1 is the upsampled row counted from row -2, which starts low-resolution row -1.
    let row = p + t + 1;
    (row / 2 - p, row % 2)
}

/// Contribution of the transposed convolution's bias through each tap of conv0: `[9][outputs]`.
pub(crate) fn bias_taps(conv0: &[f32], up_bias: &[f32], shape: Shape) -> Vec<f32> {
    let mut taps = vec![0.0; 9 * shape.outputs];
    for (tap, values) in taps.chunks_exact_mut(shape.outputs).enumerate() {
        for (o, value) in values.iter_mut().enumerate() {
            let sum: f64 = (0..shape.up)
                .map(|u| f64::from(up_bias[u]) * f64::from(conv0[(o * shape.inputs + u) * 9 + tap]))
                .sum();
            *value = sum as f32;
        }
    }
    taps
}

/// The sum of the taps that lie inside an image `[height, width]`, for every pixel and output channel.
pub(crate) fn bias_map(taps: &[f32], (height, width): (usize, usize)) -> Vec<f32> {
    let outputs = taps.len() / 9;
    let mut map = vec![0.0; height * width * outputs];
    for (pixel, values) in map.chunks_exact_mut(outputs).enumerate() {
        let (y, x) = (pixel / width, pixel % width);
        for (ty, tx) in (0..3).flat_map(|y| (0..3).map(move |x| (y, x))) {
            let inside = y + ty > 0 && y + ty <= height && x + tx > 0 && x + tx <= width;
            if inside {
                let tap = &taps[(ty * 3 + tx) * outputs..][..outputs];
                values.iter_mut().zip(tap).for_each(|(value, tap)| *value += tap);
            }
        }
    }
    map
}
