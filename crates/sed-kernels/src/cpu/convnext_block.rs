//! A ConvNeXt block in one pass: depthwise convolution, layer norm, expansion with GELU, contraction,
//! layer scale and residual, over tiles of pixels that stay in the second-level cache.

use candle_core::{Result, Tensor, bail};

use super::depthwise::{DepthwiseConv, RowSegment, depthwise_row};
use super::epilogue::Epilogue;
use super::layer_norm::{LayerNorm, layer_norm_rows};
use super::memory::{Values, cpu_values, from_values, require_cpu, to_vec, written};
use super::product::pack::{PANEL, PackedMatrix};
use super::product::{Product, product};
use super::scratch::with_scratch;
use crate::parallel;
use crate::simd::{Isa, Lanes, kernel};
use crate::specs::{Activation, ConvNextWeights};

/// Pixels of a tile.
const PIXELS: usize = 96;
/// Hidden channels that are expanded and contracted again before the next ones.
const HIDDEN: usize = 256;
/// Added to row strides, so that the rows of a tile do not share their cache sets.
const PAD: usize = 16;

/// `x + scale · W₂ gelu(W₁ norm(depthwise(x)))`, with packed weights.
#[derive(Debug, Clone)]
pub(crate) struct ConvNextBlock {
    depthwise: DepthwiseConv,
    norm: LayerNorm,
    expand: PackedMatrix,
    expand_bias: Vec<f32>,
    contract: PackedMatrix,
    contract_bias: Vec<f32>,
    layer_scale: Vec<f32>,
}

impl ConvNextBlock {
    /// Packs the weights; `eps` is the layer norm's.
    pub(crate) fn new(weights: &ConvNextWeights<'_>, eps: f64) -> Result<Self> {
        let depthwise = DepthwiseConv::new(weights.depthwise_weight, weights.depthwise_bias)?;
        let norm = LayerNorm::new(weights.norm_weight, weights.norm_bias, eps)?;
        let (channels, hidden) = weights.sizes()?;
        let dtype = weights.expand_weight.dtype();
        Ok(Self {
            depthwise,
            norm,
            expand: PackedMatrix::from_out_in(&to_vec(weights.expand_weight)?, hidden, channels, dtype),
            expand_bias: to_vec(weights.expand_bias)?,
            contract: PackedMatrix::from_out_in(&to_vec(weights.contract_weight)?, channels, hidden, dtype),
            contract_bias: to_vec(weights.contract_bias)?,
            layer_scale: to_vec(weights.layer_scale)?,
        })
    }

    /// `x [n, height, width, C]` to the same shape.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        require_cpu(x, "convnext block")?;
        let (_, height, width, channels) = x.dims4()?;
        if channels != self.depthwise.channels() {
            bail!("convnext block: {channels} channels, the weights have {}", self.depthwise.channels());
        }
        let y = self.forward_values(&cpu_values(x)?, (height, width), Isa::best());
        from_values(y, x.shape())
    }

    fn forward_values(&self, x: &Values<'_>, (height, width): (usize, usize), isa: Isa) -> Vec<f32> {
        let channels = self.depthwise.channels();
        if x.is_empty() {
            return Vec::new();
        }
        let pixels = x.len() / channels;
        let tasks = pixels.div_ceil(PIXELS).next_multiple_of(parallel::threads());
        let tile = pixels.div_ceil(tasks).next_multiple_of(8).clamp(8, PIXELS);
        let fill = |index: usize, out: &mut [f32]| {
            let (rows, hidden) = (tile * (channels + PAD), tile * (HIDDEN + PAD));
            with_scratch(rows + hidden, |scratch| {
                let (rows, hidden) = scratch.split_at_mut(rows);
                let tile = Tile { x, height, width, first: index * tile, rows, hidden, out };
                // SAFETY: `out` is a run of whole pixels of the output, the scratch has room for it.
                unsafe { run_block_tile(isa, self, tile) };
            });
        };
        // SAFETY: the first contraction of a tile stores all of its output, later ones add to that.
        unsafe { written(x.len(), |y| parallel::chunks(y, tile * channels, fill)) }
    }
}

/// A run of pixels and its work space.
struct Tile<'a> {
    x: &'a [f32],
    height: usize,
    width: usize,
    /// Index of the first pixel, over all images.
    first: usize,
    rows: &'a mut [f32],
    hidden: &'a mut [f32],
    out: &'a mut [f32],
}

#[inline(always)]
unsafe fn block_tile<L: Lanes>(block: &ConvNextBlock, tile: Tile<'_>) {
    let channels = block.depthwise.channels();
    let stride = channels + PAD;
    let pixels = tile.out.len() / channels;
    let rows = tile.rows.as_mut_ptr();
    // SAFETY: segments end at the end of their row and of the tile; the products read and write the
    // scratch rows and the output run that the tile owns.
    unsafe {
        let mut done = 0;
        while done < pixels {
            let pixel = tile.first + done;
            let (line, column) = (pixel / tile.width, pixel % tile.width);
            let count = (tile.width - column).min(pixels - done);
            let image = tile.x.as_ptr().add(line / tile.height * tile.height * tile.width * channels);
            let segment = RowSegment {
                height: tile.height,
                width: tile.width,
                y: line % tile.height,
                columns: (column, column + count),
            };
            depthwise_row::<L>(&block.depthwise, image, segment, rows.add(done * stride), stride);
            done += count;
        }
        layer_norm_rows::<L>(&block.norm, rows, pixels, stride);
        let hidden_stride = HIDDEN + PAD;
        let residual = tile.x.as_ptr().add(tile.first * channels);
        let mut first = 0;
        while first < block.expand.n {
            let end = (first + HIDDEN).min(block.expand.n);
            let mut expand = Product::whole(
                (rows, stride),
                pixels,
                &block.expand,
                (tile.hidden.as_mut_ptr(), hidden_stride),
                Some(Epilogue {
                    bias: Some(&block.expand_bias),
                    activation: Activation::Gelu,
                    ..Epilogue::default()
                }),
            );
            expand.panels = first / PANEL..end.div_ceil(PANEL);
            product::<L>(&expand);
            let tail = Epilogue {
                bias: Some(&block.contract_bias),
                scale: Some(&block.layer_scale),
                residual: Some((residual, channels)),
                ..Epilogue::default()
            };
            let mut contract = Product::whole(
                (tile.hidden.as_ptr(), hidden_stride),
                pixels,
                &block.contract,
                (tile.out.as_mut_ptr(), channels),
                (end == block.expand.n).then_some(tail),
            );
            contract.k = first..end;
            contract.add_to_c = first > 0;
            product::<L>(&contract);
            first = end;
        }
    }
}

kernel! {
    unsafe fn run_block_tile(block: &ConvNextBlock, tile: Tile<'_>) = block_tile
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random, tensor};

    #[test]
    fn equals_the_chain_of_its_parts() {
        for (size, n, h, w, c) in [(7, 2, 12, 13, 40), (9, 3, 6, 6, 16), (7, 1, 24, 24, 96)] {
            let weights = [
                random(c * size * size, 1),
                random(c, 2),
                random(c, 3),
                random(c, 4),
                random(4 * c * c, 5),
                random(4 * c, 6),
                random(4 * c * c, 7),
                random(c, 8),
                random(c, 9),
            ];
            let [dw, db, nw, nb, ew, eb, cw, cb, scale] = &weights;
            let block = ConvNextBlock::new(
                &ConvNextWeights {
                    depthwise_weight: &tensor(dw, &[c, 1, size, size]),
                    depthwise_bias: &tensor(db, &[c]),
                    norm_weight: &tensor(nw, &[c]),
                    norm_bias: &tensor(nb, &[c]),
                    expand_weight: &tensor(ew, &[4 * c, c]),
                    expand_bias: &tensor(eb, &[4 * c]),
                    contract_weight: &tensor(cw, &[c, 4 * c]),
                    contract_bias: &tensor(cb, &[c]),
                    layer_scale: &tensor(scale, &[c]),
                },
                1e-6,
            )
            .unwrap();
            let x = random(n * h * w * c, 10);
            let mut want = Vec::new();
            for image in x.chunks_exact(h * w * c) {
                let conv = crate::cpu::depthwise::tests::naive(image, (h, w, c), dw, db, size);
                let normed = crate::cpu::layer_norm::tests::naive(&conv, nw, nb, 1e-6);
                for (pixel, input) in normed.chunks_exact(c).zip(image.chunks_exact(c)) {
                    let hidden: Vec<f64> = (0..4 * c)
                        .map(|o| {
                            let row = &ew[o * c..][..c];
                            let sum: f64 =
                                row.iter().zip(pixel).map(|(&w, &v)| f64::from(w) * f64::from(v)).sum();
                            let v = sum + f64::from(eb[o]);
                            // tanh form of GELU is too coarse here: integrate the density instead.
                            v * normal_cdf(v)
                        })
                        .collect();
                    for o in 0..c {
                        let row = &cw[o * 4 * c..][..4 * c];
                        let sum: f64 = row.iter().zip(&hidden).map(|(&w, &v)| f64::from(w) * v).sum();
                        let v = (sum + f64::from(cb[o])) * f64::from(scale[o]);
                        want.push((f64::from(input[o]) + v) as f32);
                    }
                }
            }
            let x = tensor(&x, &[n, h, w, c]);
            for isa in Isa::available() {
                let got = block.forward_values(&cpu_values(&x).unwrap(), (h, w), isa);
                assert_close(&got, &want, 3e-4, &format!("{isa:?} {size} {n}×{h}×{w}×{c}"));
            }
        }
    }

    #[test]
    fn no_pairs_and_no_channels_are_no_division_by_zero() {
        let weights = |channels: usize, f: &dyn Fn(&ConvNextWeights<'_>)| {
            let c = channels;
            let (vector, hidden) = (tensor(&vec![1.0; c], &[c]), tensor(&vec![1.0; 4 * c], &[4 * c]));
            f(&ConvNextWeights {
                depthwise_weight: &tensor(&vec![1.0; c * 9], &[c, 1, 3, 3]),
                depthwise_bias: &vector,
                norm_weight: &vector,
                norm_bias: &vector,
                expand_weight: &tensor(&vec![1.0; 4 * c * c], &[4 * c, c]),
                expand_bias: &hidden,
                contract_weight: &tensor(&vec![1.0; 4 * c * c], &[c, 4 * c]),
                contract_bias: &vector,
                layer_scale: &vector,
            });
        };
        weights(16, &|weights| {
            let block = ConvNextBlock::new(weights, 1e-6).unwrap();
            for shape in [[0, 12, 12, 16], [2, 0, 12, 16], [2, 12, 0, 16]] {
                assert_eq!(block.forward(&tensor(&[], &shape)).unwrap().dims(), shape);
            }
        });
        weights(0, &|weights| assert!(ConvNextBlock::new(weights, 1e-6).is_err()));
    }

    /// Φ(x) by the series of the error function.
    fn normal_cdf(x: f64) -> f64 {
        let z = x / 2f64.sqrt();
        if z.abs() > 5.5 {
            return if z > 0.0 { 1.0 } else { 0.0 };
        }
        let (mut term, mut sum) = (z, z);
        for n in 1..250 {
            let n = f64::from(n);
            term *= -z * z / n;
            sum += term / (2.0 * n + 1.0);
        }
        0.5 + sum / std::f64::consts::PI.sqrt()
    }
}
