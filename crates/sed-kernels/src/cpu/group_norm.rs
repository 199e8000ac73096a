//! Group norm over one image `[rows, width, channels]`, with statistics gathered row by row while the
//! rows are still in the first-level cache.

use candle_core::{Result, Tensor, bail};

use super::memory::{require_cpu, to_vec};
use crate::simd::{Element, Isa, Lanes, kernel};

/// Weight, bias, groups and epsilon of a group norm.
#[derive(Debug, Clone)]
pub(crate) struct GroupNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    groups: usize,
    eps: f64,
}

/// Mean and sum of squared deviations of each channel over `count` values.
#[derive(Debug, Clone)]
pub(crate) struct ChannelStats {
    count: f64,
    /// `[(mean, squares)]` per channel.
    moments: Vec<(f64, f64)>,
}

impl ChannelStats {
    pub(crate) fn new(channels: usize) -> Self {
        Self { count: 0.0, moments: vec![(0.0, 0.0); channels] }
    }

    /// Joins the moments of `count` more values (Chan, Golub and LeVeque's update).
    fn join(&mut self, count: f64, channel: usize, mean: f64, squares: f64) {
        let (m, s) = &mut self.moments[channel];
        let total = self.count + count;
        let delta = mean - *m;
        *m += delta * count / total;
        *s += squares + delta * delta * self.count * count / total;
    }

    /// Adds a row of pixels `[width, channels]`.
    pub(crate) fn add_row(&mut self, isa: Isa, row: &[f32], work: &mut [f32]) {
        let channels = self.moments.len();
        let (sums, squares) = work[..2 * channels].split_at_mut(channels);
        let count = (row.len() / channels) as f64;
        // SAFETY: the row holds whole pixels, the work space two values for each channel.
        unsafe { run_row_moments(isa, row, sums, squares) };
        for channel in 0..channels {
            self.join(count, channel, f64::from(sums[channel]), f64::from(squares[channel]));
        }
        self.count += count;
    }

    /// Adds another part of the same image.
    pub(crate) fn merge(&mut self, other: &Self) {
        if other.count > 0.0 {
            for (channel, &(mean, squares)) in other.moments.iter().enumerate() {
                self.join(other.count, channel, mean, squares);
            }
            self.count += other.count;
        }
    }
}

impl GroupNorm {
    /// Creates the norm from `weight [channels]` and `bias [channels]`.
    pub(crate) fn new(weight: &Tensor, bias: &Tensor, groups: usize, eps: f64) -> Result<Self> {
        require_cpu(weight, "group norm")?;
        let (weight, bias) = (to_vec(weight)?, to_vec(bias)?);
        if groups == 0 || weight.len() % groups != 0 || bias.len() != weight.len() {
            bail!("group norm: {} channels do not divide into {groups} groups", weight.len());
        }
        Ok(Self { weight, bias, groups, eps })
    }

    /// The norm as `scale · x + shift` per channel, for the image with these statistics.
    pub(crate) fn affine(&self, stats: &ChannelStats) -> (Vec<f32>, Vec<f32>) {
        let channels = self.weight.len();
        let width = channels / self.groups;
        let (mut scale, mut shift) = (vec![0.0; channels], vec![0.0; channels]);
        for group in 0..self.groups {
            let range = group * width..(group + 1) * width;
            let moments = &stats.moments[range.clone()];
            let mean = moments.iter().map(|m| m.0).sum::<f64>() / width as f64;
            let squares: f64 = moments.iter().map(|(m, s)| s + stats.count * (m - mean) * (m - mean)).sum();
            let inverse = 1.0 / (squares / (stats.count * width as f64) + self.eps).sqrt();
            for channel in range {
                let factor = f64::from(self.weight[channel]) * inverse;
                scale[channel] = factor as f32;
                shift[channel] = (f64::from(self.bias[channel]) - mean * factor) as f32;
            }
        }
        (scale, shift)
    }
}

/// Sums that run side by side, since an addition waits for the one before it.
const CHAINS: usize = 4;

/// Mean and sum of squared deviations of each channel over one row, in two passes.
#[inline(always)]
unsafe fn row_moments<L: Lanes>(row: &[f32], means: &mut [f32], squares: &mut [f32]) {
    let channels = means.len();
    let pixels = row.len() / channels;
    let even = pixels / CHAINS * CHAINS;
    for c in (0..channels).step_by(L::WIDTH) {
        let n = channels - c;
        // SAFETY: channel c of every pixel lies in the row, the outputs hold `channels` values.
        unsafe {
            let p = row.as_ptr().add(c);
            let mut sums = [L::splat(0.0); CHAINS];
            for pixel in (0..even).step_by(CHAINS) {
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = L::add(*sum, L::load_upto(p.add((pixel + i) * channels), n));
                }
            }
            for pixel in even..pixels {
                sums[0] = L::add(sums[0], L::load_upto(p.add(pixel * channels), n));
            }
            let mean = L::mul(join::<L>(sums), L::splat(1.0 / pixels as f32));
            let mut sums = [L::splat(0.0); CHAINS];
            for pixel in (0..even).step_by(CHAINS) {
                for (i, sum) in sums.iter_mut().enumerate() {
                    let d = L::sub(L::load_upto(p.add((pixel + i) * channels), n), mean);
                    *sum = L::fma(d, d, *sum);
                }
            }
            for pixel in even..pixels {
                let d = L::sub(L::load_upto(p.add(pixel * channels), n), mean);
                sums[0] = L::fma(d, d, sums[0]);
            }
            L::store_upto(means.as_mut_ptr().add(c), mean, n);
            L::store_upto(squares.as_mut_ptr().add(c), join::<L>(sums), n);
        }
    }
}

/// The sum of all chains.
#[inline(always)]
unsafe fn join<L: Lanes>(sums: [L::V; CHAINS]) -> L::V {
    // SAFETY: lane arithmetic; the instruction set is the caller's duty.
    unsafe { L::add(L::add(sums[0], sums[1]), L::add(sums[2], sums[3])) }
}

kernel! {
    unsafe fn run_row_moments(row: &[f32], means: &mut [f32], squares: &mut [f32]) = row_moments
}

/// `to = max(scale · from + shift, 0)` for rows of whole pixels; NaN stays NaN.
#[inline(always)]
unsafe fn scale_relu<L: Lanes, E: Element>(from: &[f32], scale: &[f32], shift: &[f32], to: &mut [E]) {
    let channels = scale.len();
    let mut c = 0;
    while c < channels {
        let n = channels - c;
        // SAFETY: both rows hold the same whole pixels.
        unsafe {
            let (scale, shift) =
                (L::load_upto(scale.as_ptr().add(c), n), L::load_upto(shift.as_ptr().add(c), n));
            for pixel in 0..from.len() / channels {
                let at = pixel * channels + c;
                let v = L::fma(L::load_upto(from.as_ptr().add(at), n), scale, shift);
                E::store_lanes::<L>(to.as_mut_ptr().add(at), L::max(L::splat(0.0), v), n);
            }
        }
        c += L::WIDTH;
    }
}

kernel! {
    /// [`scale_relu`] on a chosen instruction set; `from` and `to` are equally long.
    pub(crate) unsafe fn run_scale_relu<E>(from: &[f32], scale: &[f32], shift: &[f32], to: &mut [E]) = scale_relu
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testing::{assert_close, random, tensor};

    /// The definition with ReLU, `x [pixels][c]`.
    pub(crate) fn naive_relu(x: &[f32], weight: &[f32], bias: &[f32], groups: usize, eps: f64) -> Vec<f32> {
        let c = weight.len();
        let width = c / groups;
        let mut y = vec![0.0; x.len()];
        for g in 0..groups {
            let of_group = |i: usize| (i % c) / width == g;
            let values: Vec<f64> = (0..x.len()).filter(|&i| of_group(i)).map(|i| f64::from(x[i])).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
            for i in (0..x.len()).filter(|&i| of_group(i)) {
                let unit = (f64::from(x[i]) - mean) / (variance + eps).sqrt();
                y[i] = (unit * f64::from(weight[i % c]) + f64::from(bias[i % c])).max(0.0) as f32;
            }
        }
        y
    }

    #[test]
    fn equals_the_definition() {
        for (groups, c, h, w) in [(4, 64, 6, 5), (1, 16, 3, 9), (2, 40, 4, 4), (1, 3, 2, 2)] {
            let x: Vec<f32> = random(h * w * c, 1).iter().map(|v| v * 2.0 + 20.0).collect();
            let (weight, bias) = (random(c, 2), random(c, 3));
            let norm = GroupNorm::new(&tensor(&weight, &[c]), &tensor(&bias, &[c]), groups, 1e-5).unwrap();
            let want = naive_relu(&x, &weight, &bias, groups, 1e-5);
            for isa in Isa::available() {
                let mut work = vec![0.0; 2 * c];
                let (mut top, mut bottom) = (ChannelStats::new(c), ChannelStats::new(c));
                for (index, row) in x.chunks_exact(w * c).enumerate() {
                    if index < h / 2 { &mut top } else { &mut bottom }.add_row(isa, row, &mut work);
                }
                top.merge(&bottom);
                let (scale, shift) = norm.affine(&top);
                let mut y = vec![0.0; x.len()];
                // SAFETY: equally long slices of whole pixels.
                unsafe { run_scale_relu(isa, &x, &scale, &shift, &mut y) };
                assert_close(&y, &want, 1e-4, &format!("{isa:?} {groups} {c}"));
            }
        }
    }
}
