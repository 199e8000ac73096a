//! Depthwise convolution, stride 1, zero padding, channels last: one kernel per channel, so lanes run
//! over channels and a row of output columns shares each weight.

use candle_core::{Result, Tensor, bail};

use super::memory::{cpu_values, from_values, require_cpu, to_vec};
use crate::parallel;
use crate::simd::{Isa, Lanes, kernel};

/// Kernel and bias of a depthwise convolution.
#[derive(Debug, Clone)]
pub(crate) struct DepthwiseConv {
    /// `[channel / LANES][ky][kx][channel % LANES]`: all that one block of channels needs lies together.
    weight: Vec<f32>,
    /// Filled up with zeros to whole blocks.
    bias: Vec<f32>,
    channels: usize,
    size: usize,
}

/// Channels of a block: lanes of the widest register.
const LANES: usize = 16;
/// Distance in values at which inputs are prefetched: two blocks of channels.
const AHEAD: usize = 2 * LANES;

impl DepthwiseConv {
    /// Creates the layer from `weight [channels, 1, size, size]` with an odd size, and `bias [channels]`.
    pub(crate) fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        require_cpu(weight, "depthwise convolution")?;
        let (channels, one, size, width) = weight.dims4()?;
        if one != 1 || size != width || size % 2 == 0 {
            bail!("depthwise convolution: weight {:?} is not [channels, 1, odd, odd]", weight.shape());
        }
        let values = to_vec(weight)?;
        let mut bias = to_vec(bias)?;
        if bias.len() != channels {
            bail!("depthwise convolution: {} biases for {channels} channels", bias.len());
        }
        bias.resize(channels.next_multiple_of(LANES), 0.0);
        let taps = size * size;
        let mut weight = vec![0.0; bias.len() * taps];
        for (i, value) in values.into_iter().enumerate() {
            let (channel, tap) = (i / taps, i % taps);
            weight[(channel / LANES * taps + tap) * LANES + channel % LANES] = value;
        }
        Ok(Self { weight, bias, channels, size })
    }

    /// Number of channels.
    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    /// The first tap of channel `c`; the next tap of it lies [`LANES`] further.
    #[inline(always)]
    fn taps(&self, c: usize) -> *const f32 {
        self.weight[c / LANES * self.size * self.size * LANES + c % LANES..].as_ptr()
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
        parallel::chunks(&mut y, width * channels, |index, out| {
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
    // As many as have room in the registers, with the inputs that they share.
    let columns = if L::WIDTH == 16 && end - first >= 8 { 8 } else { 4 };
    // Sizes that SED does not have, and segments that are too short, go column by column.
    let blocks = matches!(conv.size, 7 | 9) && end - first >= columns;
    let mut column = first;
    while column < end {
        // SAFETY: the caller's; blocks stay inside the segment.
        unsafe {
            if blocks {
                // The last block goes over columns of the one before it again rather than to be cut.
                let block = column.min(end - columns);
                let out = out.add((block - first) * out_stride);
                match (conv.size, columns) {
                    (7, 8) => block_of::<L, 7, 8, 14>(conv, x, row, block, out, out_stride),
                    (9, 8) => block_of::<L, 9, 8, 16>(conv, x, row, block, out, out_stride),
                    (7, _) => block_of::<L, 7, 4, 10>(conv, x, row, block, out, out_stride),
                    _ => block_of::<L, 9, 4, 12>(conv, x, row, block, out, out_stride),
                }
                column = block + columns;
            } else {
                single::<L>(conv, x, row, column, out.add((column - first) * out_stride));
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

/// `COLUMNS` neighbouring outputs. Every input is read once for each row of the kernel: neighbours in a row
/// lie so far apart that the first-level cache keeps few. `INPUTS` is `SIZE + COLUMNS - 1`.
#[inline(always)]
unsafe fn block_of<L: Lanes, const SIZE: usize, const COLUMNS: usize, const INPUTS: usize>(
    conv: &DepthwiseConv,
    x: *const f32,
    row: RowSegment,
    column: usize,
    out: *mut f32,
    out_stride: usize,
) {
    let channels = conv.channels();
    let (ky_first, ky_end, y_first) = kernel_rows(SIZE, row.y, row.height);
    // The inputs that lie inside the image.
    let inside = (SIZE / 2).saturating_sub(column)..INPUTS.min(row.width + SIZE / 2 - column);
    let whole = inside == (0..INPUTS);
    let mut c = 0;
    while c < channels {
        let n = channels - c;
        // SAFETY: only inputs in rows `y_first..` and columns `inside` are read; all weights and biases are
        // there.
        unsafe {
            let mut sums = [L::load(conv.bias.as_ptr().add(c)); COLUMNS];
            for ky in ky_first..ky_end {
                let y = y_first + ky - ky_first;
                let line = x.wrapping_add((y * row.width + column) * channels + c);
                let line = line.wrapping_sub(SIZE / 2 * channels);
                let mut inputs = [L::splat(0.0); INPUTS];
                if whole && n >= L::WIDTH {
                    for (i, input) in inputs.iter_mut().enumerate() {
                        let at = line.add(i * channels);
                        L::prefetch(at.wrapping_add(AHEAD).cast());
                        *input = L::load(at);
                    }
                } else {
                    for (i, input) in inputs.iter_mut().enumerate() {
                        if inside.contains(&i) {
                            *input = L::load_upto(line.wrapping_add(i * channels), n);
                        }
                    }
                }
                let weights = conv.taps(c).add(ky * SIZE * LANES);
                for kx in 0..SIZE {
                    let w = L::load(weights.add(kx * LANES));
                    for (j, sum) in sums.iter_mut().enumerate() {
                        *sum = L::fma(inputs[kx + j], w, *sum);
                    }
                }
            }
            for (j, sum) in sums.into_iter().enumerate() {
                L::store_upto(out.add(j * out_stride + c), sum, n);
            }
        }
        c += L::WIDTH;
    }
}

/// One output.
#[inline(always)]
unsafe fn single<L: Lanes>(
    conv: &DepthwiseConv,
    x: *const f32,
    row: RowSegment,
    column: usize,
    out: *mut f32,
) {
    let channels = conv.channels();
    let size = conv.size;
    let (ky_first, ky_end, y_first) = kernel_rows(size, row.y, row.height);
    let (kx_first, kx_end, x_first) = kernel_rows(size, column, row.width);
    let mut c = 0;
    while c < channels {
        let n = channels - c;
        // SAFETY: only taps inside the image are read; all weights and biases are there.
        unsafe {
            let mut sum = L::load(conv.bias.as_ptr().add(c));
            for ky in ky_first..ky_end {
                let y = y_first + ky - ky_first;
                for kx in kx_first..kx_end {
                    let input = x.add((y * row.width + x_first + kx - kx_first) * channels + c);
                    let weight = L::load(conv.taps(c).add((ky * size + kx) * LANES));
                    sum = L::fma(L::load_upto(input, n), weight, sum);
                }
            }
            L::store_upto(out.add(c), sum, n);
        }
        c += L::WIDTH;
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
        for (size, h, w, c) in [
            (7, 24, 24, 40),
            (9, 5, 31, 16),
            (7, 3, 2, 1),
            (7, 6, 5, 24), // columns for one short block, which leaves the image on both sides
            (9, 24, 24, 130),
            (7, 1, 20, 33),
            (5, 4, 9, 17),
            (9, 3, 12, 16),
        ] {
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
