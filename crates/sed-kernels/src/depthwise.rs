//! Depthwise convolution, stride 1, zero padding, channels last: one kernel per channel, so lanes run
//! over channels and a row of output columns shares each weight.

use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

use crate::simd::{Isa, Lanes, kernel};
use crate::tensor::{cpu_values, from_values, require_cpu, to_vec};

/// Kernel and bias of a depthwise convolution.
#[derive(Debug, Clone)]
pub(crate) struct DepthwiseConv {
    /// `[ky][kx][channel]`
    weight: Vec<f32>,
    bias: Vec<f32>,
    size: usize,
}

impl DepthwiseConv {
    /// Takes `weight [channels, 1, size, size]` with an odd size, and `bias [channels]`.
    pub(crate) fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        require_cpu(weight, "depthwise convolution")?;
        let (channels, one, size, width) = weight.dims4()?;
        if one != 1 || size != width || size % 2 == 0 {
            bail!("depthwise convolution: weight {:?} is not [channels, 1, odd, odd]", weight.shape());
        }
        let taps = weight.reshape((channels, size * size))?.t()?.contiguous()?;
        let bias = to_vec(bias)?;
        if bias.len() != channels {
            bail!("depthwise convolution: {} biases for {channels} channels", bias.len());
        }
        Ok(Self { weight: to_vec(&taps)?, bias, size })
    }

    /// Number of channels.
    pub(crate) fn channels(&self) -> usize {
        self.bias.len()
    }

    /// `x [n, height, width, channels]` to the same shape.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        require_cpu(x, "depthwise convolution")?;
        let (_, height, width, channels) = x.dims4()?;
        if channels != self.channels() {
            bail!("depthwise convolution: {channels} channels, the kernel has {}", self.channels());
        }
        let values = cpu_values(x)?;
        let mut y = vec![0.0; values.len()];
        let isa = Isa::best();
        y.par_chunks_mut((width * channels).max(1)).enumerate().for_each(|(index, out)| {
            let image = &values[index / height * height * width * channels..];
            let row = RowSegment { height, width, y: index % height, columns: (0, width) };
            // SAFETY: `image` starts an image of that size, `out` is one of its rows.
            unsafe { run_depthwise_row(isa, self, image.as_ptr(), row, out.as_mut_ptr(), channels) };
        });
        drop(values);
        from_values(y, x.shape())
    }
}

/// A part of an image's row: the outputs that one call computes.
#[derive(Clone, Copy)]
pub(crate) struct RowSegment {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) y: usize,
    /// First column and the one behind the last.
    pub(crate) columns: (usize, usize),
}

/// Columns that are computed together where the kernel lies inside the image.
const COLUMNS: usize = 8;

/// Computes a part of a row; column `columns.0 + i` goes to `out + i · out_stride`.
///
/// # Safety
/// `x` must start an image `[height, width, channels]`; `out` must hold the segment's columns.
#[inline(always)]
pub(crate) unsafe fn depthwise_row<L: Lanes>(
    conv: &DepthwiseConv,
    x: *const f32,
    row: RowSegment,
    out: *mut f32,
    out_stride: usize,
) {
    let (first, end) = row.columns;
    let radius = conv.size / 2;
    let mut column = first;
    while column < end {
        let inside = column >= radius && column + COLUMNS + radius <= row.width && column + COLUMNS <= end;
        // SAFETY: the caller's; `inside` keeps the wide path off the image's edges.
        unsafe {
            let out = out.add((column - first) * out_stride);
            if inside {
                wide::<L>(conv, x, row, column, out, out_stride);
                column += COLUMNS;
            } else {
                edge::<L>(conv, x, row, column, out);
                column += 1;
            }
        }
    }
}

/// The rows of the kernel that lie inside the image, and the image row of the first.
#[inline(always)]
fn kernel_rows(size: usize, y: usize, height: usize) -> (usize, usize, usize) {
    let radius = size / 2;
    let first = radius.saturating_sub(y);
    let end = size.min(height + radius - y);
    (first, end, y + first - radius)
}

/// [`COLUMNS`] neighbouring outputs whose kernels do not leave the image sideways.
#[inline(always)]
unsafe fn wide<L: Lanes>(
    conv: &DepthwiseConv,
    x: *const f32,
    row: RowSegment,
    column: usize,
    out: *mut f32,
    out_stride: usize,
) {
    let channels = conv.channels();
    let size = conv.size;
    let (ky_first, ky_end, y_first) = kernel_rows(size, row.y, row.height);
    let mut c = 0;
    while c < channels {
        let n = channels - c;
        // SAFETY: rows `y_first..` and columns `column - radius ..` lie inside the image.
        unsafe {
            let mut acc = [L::load_upto(conv.bias.as_ptr().add(c), n); COLUMNS];
            for ky in ky_first..ky_end {
                let y = y_first + ky - ky_first;
                let line = x.add((y * row.width + column - size / 2) * channels + c);
                let weights = conv.weight.as_ptr().add(ky * size * channels + c);
                if n >= L::WIDTH {
                    for kx in 0..size {
                        let w = L::load(weights.add(kx * channels));
                        for (j, sum) in acc.iter_mut().enumerate() {
                            *sum = L::fma(L::load(line.add((kx + j) * channels)), w, *sum);
                        }
                    }
                } else {
                    for kx in 0..size {
                        let w = L::load_n(weights.add(kx * channels), n);
                        for (j, sum) in acc.iter_mut().enumerate() {
                            *sum = L::fma(L::load_n(line.add((kx + j) * channels), n), w, *sum);
                        }
                    }
                }
            }
            for (j, sum) in acc.into_iter().enumerate() {
                L::store_upto(out.add(j * out_stride + c), sum, n);
            }
        }
        c += L::WIDTH;
    }
}

/// One output near the left or right edge: four vectors of channels run side by side instead.
#[inline(always)]
unsafe fn edge<L: Lanes>(conv: &DepthwiseConv, x: *const f32, row: RowSegment, column: usize, out: *mut f32) {
    const VECTORS: usize = 4;
    let channels = conv.channels();
    let size = conv.size;
    let (ky_first, ky_end, y_first) = kernel_rows(size, row.y, row.height);
    let (kx_first, kx_end, x_first) = kernel_rows(size, column, row.width);
    let mut c = 0;
    while c < channels {
        // SAFETY: only taps inside the image are read; a vector behind the last channel is skipped.
        unsafe {
            let mut acc = [L::splat(0.0); VECTORS];
            for ky in ky_first..ky_end {
                let y = y_first + ky - ky_first;
                for kx in kx_first..kx_end {
                    let input = x.add((y * row.width + x_first + kx - kx_first) * channels + c);
                    let weight = conv.weight.as_ptr().add((ky * size + kx) * channels + c);
                    for (j, sum) in acc.iter_mut().enumerate() {
                        let offset = j * L::WIDTH;
                        if c + offset < channels {
                            let n = channels - c - offset;
                            let (v, w) =
                                (L::load_upto(input.add(offset), n), L::load_upto(weight.add(offset), n));
                            *sum = L::fma(v, w, *sum);
                        }
                    }
                }
            }
            for (j, sum) in acc.into_iter().enumerate() {
                let at = c + j * L::WIDTH;
                if at < channels {
                    let n = channels - at;
                    L::store_upto(out.add(at), L::add(sum, L::load_upto(conv.bias.as_ptr().add(at), n)), n);
                }
            }
        }
        c += VECTORS * L::WIDTH;
    }
}

kernel! {
    /// [`depthwise_row`] on a chosen instruction set.
    pub(crate) unsafe fn run_depthwise_row(
        conv: &DepthwiseConv,
        x: *const f32,
        row: RowSegment,
        out: *mut f32,
        out_stride: usize,
    ) = depthwise_row
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testing::{assert_close, random, tensor};

    /// The definition: `x [h, w, c]`, `weight [c, size, size]`.
    pub(crate) fn naive(
        x: &[f32],
        (h, w, c): (usize, usize, usize),
        weight: &[f32],
        bias: &[f32],
        size: usize,
    ) -> Vec<f32> {
        let radius = (size / 2) as isize;
        let mut out = vec![0.0; h * w * c];
        for y in 0..h as isize {
            for x0 in 0..w as isize {
                for ch in 0..c {
                    let mut sum = f64::from(bias[ch]);
                    for ky in 0..size as isize {
                        for kx in 0..size as isize {
                            let (iy, ix) = (y + ky - radius, x0 + kx - radius);
                            if iy >= 0 && ix >= 0 && iy < h as isize && ix < w as isize {
                                let value = x[(iy as usize * w + ix as usize) * c + ch];
                                sum += f64::from(value)
                                    * f64::from(weight[(ch * size + ky as usize) * size + kx as usize]);
                            }
                        }
                    }
                    out[(y as usize * w + x0 as usize) * c + ch] = sum as f32;
                }
            }
        }
        out
    }

    #[test]
    fn equals_the_definition() {
        for (size, h, w, c) in
            [(7, 24, 24, 40), (9, 5, 31, 16), (7, 3, 2, 1), (9, 24, 24, 130), (7, 1, 20, 33)]
        {
            let (x, weight, bias) = (random(h * w * c, 1), random(c * size * size, 2), random(c, 3));
            let conv =
                DepthwiseConv::new(&tensor(&weight, &[c, 1, size, size]), &tensor(&bias, &[c])).unwrap();
            let want = naive(&x, (h, w, c), &weight, &bias, size);
            for isa in Isa::available() {
                let mut out = vec![0.0; w * c];
                for y in 0..h {
                    let row = RowSegment { height: h, width: w, y, columns: (0, w) };
                    // SAFETY: one image, one row of output.
                    unsafe { run_depthwise_row(isa, &conv, x.as_ptr(), row, out.as_mut_ptr(), c) };
                    assert_close(
                        &out,
                        &want[y * w * c..][..w * c],
                        2e-5,
                        &format!("{isa:?} {size} {h}×{w}×{c}"),
                    );
                }
            }
            let twice = [x.clone(), x.clone()].concat();
            let got = conv.forward(&tensor(&twice, &[2, h, w, c])).unwrap();
            assert_close(&to_vec(&got).unwrap(), &[want.clone(), want].concat(), 2e-5, "tensor");
        }
    }
}
