//! Class attention: linear attention over the categories of one image, for every pixel on its own,
//! followed by its feed-forward layer, in one pass over tiles of pixels.
//!
//! Pixels are independent and categories of different images never meet, so a batch of any mix of
//! images is a list of segments; what an image gets does not depend on its neighbours in the batch.

use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

use crate::gemm::pack::PackedMatrix;
use crate::gemm::{Activation, Epilogue, Product, product};
use crate::layer_norm::{LayerNorm, layer_norm_rows};
use crate::math;
use crate::scratch::with_scratch;
use crate::simd::{Isa, Lanes, kernel};
use crate::tensor::{SharedMut, Values, cpu_values, from_values, require_cpu, to_vec};

/// Pixels of a tile: their sums of K·V stay in the second-level cache.
const PIXELS: usize = 8;
/// Pairs whose rows go through a product together, so that its weights are read once for all of them.
const PAIRS: usize = 8;
/// Added to row strides, so that the rows of a tile do not share their cache sets.
const PAD: usize = 16;
/// Keeps the division by the sum of keys finite (the reference's constant).
const EPS: f32 = 1e-6;

/// The tensors of the layer, in torch's layouts; C channels.
#[derive(Debug, Clone, Copy)]
pub struct ClassAttentionWeights<'a> {
    /// `[C]`, `[C]`: the norm before attention.
    pub norm1: (&'a Tensor, &'a Tensor),
    /// `[C, C]`, `[C]`
    pub query: (&'a Tensor, &'a Tensor),
    /// `[C, C]`, `[C]`
    pub key: (&'a Tensor, &'a Tensor),
    /// `[C, C]`, `[C]`
    pub value: (&'a Tensor, &'a Tensor),
    /// `[C]`, `[C]`: the norm before the feed-forward layer.
    pub norm2: (&'a Tensor, &'a Tensor),
    /// `[4C, C]`, `[4C]`
    pub expand: (&'a Tensor, &'a Tensor),
    /// `[C, 4C]`, `[C]`
    pub contract: (&'a Tensor, &'a Tensor),
}

/// The layer `x + x2` of SED's feature aggregation: `x1 = x + attention(norm1(x))`,
/// `x2 = x1 + W₂ relu(W₁ norm2(x1))`.
#[derive(Debug, Clone)]
pub struct ClassAttention {
    heads: usize,
    norm1: LayerNorm,
    /// Query, key and value side by side: `[C, 3C]`.
    qkv: PackedMatrix,
    qkv_bias: Vec<f32>,
    norm2: LayerNorm,
    expand: PackedMatrix,
    expand_bias: Vec<f32>,
    contract: PackedMatrix,
    contract_bias: Vec<f32>,
}

impl ClassAttention {
    /// Packs the weights; `eps` is that of both norms.
    pub fn new(weights: &ClassAttentionWeights<'_>, heads: usize, eps: f64) -> Result<Self> {
        let (hidden, channels) = weights.expand.0.dims2()?;
        if heads == 0 || channels % heads != 0 {
            bail!("class attention: {channels} channels do not divide into {heads} heads");
        }
        let qkv = Tensor::cat(&[weights.query.0, weights.key.0, weights.value.0], 0)?;
        let bias = Tensor::cat(&[weights.query.1, weights.key.1, weights.value.1], 0)?;
        if qkv.dims2()? != (3 * channels, channels) || weights.contract.0.dims2()? != (channels, hidden) {
            bail!("class attention: projections of {:?} do not fit {channels} channels", qkv.shape());
        }
        let dtype = qkv.dtype();
        Ok(Self {
            heads,
            norm1: LayerNorm::new(weights.norm1.0, weights.norm1.1, eps)?,
            qkv: PackedMatrix::from_out_in(&to_vec(&qkv)?, 3 * channels, channels, dtype),
            qkv_bias: to_vec(&bias)?,
            norm2: LayerNorm::new(weights.norm2.0, weights.norm2.1, eps)?,
            expand: PackedMatrix::from_out_in(&to_vec(weights.expand.0)?, hidden, channels, dtype),
            expand_bias: to_vec(weights.expand.1)?,
            contract: PackedMatrix::from_out_in(&to_vec(weights.contract.0)?, channels, hidden, dtype),
            contract_bias: to_vec(weights.contract.1)?,
        })
    }

    /// `x [pairs, height, width, C]` to the same shape. `offsets` (one more than there are images,
    /// from 0 to `pairs`) says which pairs belong to which image.
    pub fn forward(&self, x: &Tensor, offsets: &[usize]) -> Result<Tensor> {
        require_cpu(x, "class attention")?;
        let (pairs, height, width, channels) = x.dims4()?;
        if channels != self.norm1.channels() {
            bail!("class attention: {channels} channels, the weights have {}", self.norm1.channels());
        }
        let ordered = offsets.windows(2).all(|w| w[0] <= w[1]);
        if offsets.first() != Some(&0) || offsets.last() != Some(&pairs) || !ordered {
            bail!("class attention: offsets {offsets:?} do not cover {pairs} pairs");
        }
        let y = self.forward_values(&cpu_values(x)?, height * width, offsets, Isa::best());
        from_values(y, x.shape())
    }

    fn forward_values(&self, x: &Values<'_>, pixels: usize, offsets: &[usize], isa: Isa) -> Vec<f32> {
        let mut y = vec![0.0; x.len()];
        let out = SharedMut::new(&mut y);
        let tiles = pixels.div_ceil(PIXELS);
        offsets.par_windows(2).for_each(|segment| {
            let (first, end) = (segment[0], segment[1]);
            (0..tiles).into_par_iter().for_each(|tile| {
                let first_pixel = tile * PIXELS;
                let count = PIXELS.min(pixels - first_pixel);
                let work = Work::new(self, end - first);
                with_scratch(work.len(), |scratch| {
                    let tile = Tile { x, out, pixels, pairs: (first, end), first_pixel, count };
                    // SAFETY: tiles write disjoint pixels of disjoint pairs; the scratch has `work.len()`.
                    unsafe { run_attention_tile(isa, self, tile, work, scratch) };
                });
            });
        });
        y
    }
}

/// Pixels `first_pixel .. first_pixel + count` of one image's pairs.
#[derive(Clone, Copy)]
struct Tile<'a> {
    x: &'a [f32],
    out: SharedMut,
    /// Pixels of a whole map.
    pixels: usize,
    pairs: (usize, usize),
    first_pixel: usize,
    count: usize,
}

/// The layout of a tile's scratch memory: offsets of its parts.
#[derive(Clone, Copy)]
struct Work {
    /// Queries of every pair: `[pairs][pixel][C]`.
    queries: usize,
    /// Rows of a block of pairs: `[pair][pixel][C + PAD]`.
    rows: usize,
    /// The products of a block: `[pair][pixel][4C + PAD]`.
    wide: usize,
    /// Sums over the pairs, per pixel: `[pixel][C / heads][C]` (row c of a head beside those of the others).
    key_values: usize,
    /// Sums of keys: `[pixel][C]`.
    keys: usize,
    end: usize,
}

impl Work {
    fn new(layer: &ClassAttention, pairs: usize) -> Self {
        let channels = layer.norm1.channels();
        let block = PAIRS * PIXELS;
        let rows = pairs * PIXELS * channels;
        let wide = rows + block * (channels + PAD);
        let key_values = wide + block * (layer.expand.n.max(layer.qkv.n) + PAD);
        let keys = key_values + PIXELS * channels * (channels / layer.heads);
        Self { queries: 0, rows, wide, key_values, keys, end: keys + PIXELS * channels }
    }

    fn len(&self) -> usize {
        self.end
    }
}

#[inline(always)]
unsafe fn attention_tile<L: Lanes>(layer: &ClassAttention, tile: Tile<'_>, work: Work, scratch: &mut [f32]) {
    let channels = layer.norm1.channels();
    let (first, end) = tile.pairs;
    let pairs = end - first;
    let base = scratch.as_mut_ptr();
    // SAFETY: `Work` reserves every part for the tile's pairs; x and out hold all pixels of all pairs.
    unsafe {
        std::slice::from_raw_parts_mut(base.add(work.key_values), work.end - work.key_values).fill(0.0);
        for start in (0..pairs).step_by(PAIRS) {
            let block = PAIRS.min(pairs - start);
            let rows = block * tile.count;
            let stride = channels + PAD;
            load_rows(&tile, first + start, block, channels, base.add(work.rows), stride);
            layer_norm_rows::<L>(&layer.norm1, base.add(work.rows), rows, stride);
            let wide = 3 * channels + PAD;
            let bias = Epilogue { bias: Some(&layer.qkv_bias), ..Epilogue::default() };
            let (a, c) = ((base.add(work.rows).cast_const(), stride), (base.add(work.wide), wide));
            product::<L>(&Product::whole(a, rows, &layer.qkv, c, Some(bias)));
            let queries = base.add(work.queries + start * tile.count * channels);
            for row in 0..rows {
                let qkv = base.add(work.wide + row * wide);
                map_row::<L>(qkv, queries.add(row * channels), channels, |v| math::elu_plus_one::<L>(v));
                map_row::<L>(qkv.add(channels), qkv.add(channels), channels, |v| math::elu_plus_one::<L>(v));
            }
            for pixel in 0..tile.count {
                let keys = base.add(work.wide + pixel * wide + channels);
                let sums = base.add(work.keys + pixel * channels);
                let key_values = base.add(work.key_values + pixel * channels * (channels / layer.heads));
                add_keys::<L>(layer.heads, channels, keys, tile.count * wide, block, key_values, sums);
            }
        }
        for start in (0..pairs).step_by(PAIRS) {
            let block = PAIRS.min(pairs - start);
            finish_block::<L>(layer, &tile, work, base, start, block);
        }
    }
}

/// The second pass for a block of pairs: attention output, residuals and feed-forward layer.
#[inline(always)]
unsafe fn finish_block<L: Lanes>(
    layer: &ClassAttention,
    tile: &Tile<'_>,
    work: Work,
    base: *mut f32,
    start: usize,
    block: usize,
) {
    let channels = layer.norm1.channels();
    let stride = channels + PAD;
    let rows = block * tile.count;
    // SAFETY: as in `attention_tile`.
    unsafe {
        let normed = base.add(work.rows);
        for pair in 0..block {
            let at = ((tile.pairs.0 + start + pair) * tile.pixels + tile.first_pixel) * channels;
            for pixel in 0..tile.count {
                let query = base.add(work.queries + ((start + pair) * tile.count + pixel) * channels);
                let sums = base.add(work.keys + pixel * channels);
                let key_values = base.add(work.key_values + pixel * channels * (channels / layer.heads));
                let row = normed.add((pair * tile.count + pixel) * stride);
                attend::<L>(layer.heads, channels, query, key_values, sums, row);
                // x1 = x + attention; the output starts as x + x1, the feed-forward layer adds to it.
                let x = tile.x.as_ptr().add(at + pixel * channels);
                let out = tile.out.at(at + pixel * channels);
                let mut c = 0;
                while c < channels {
                    let n = channels - c;
                    let input = L::load_upto(x.add(c), n);
                    let x1 = L::add(input, L::load_upto(row.add(c), n));
                    L::store_upto(row.add(c), x1, n);
                    L::store_upto(out.add(c), L::add(input, x1), n);
                    c += L::WIDTH;
                }
            }
        }
        layer_norm_rows::<L>(&layer.norm2, normed, rows, stride);
        let wide = layer.expand.n + PAD;
        let expand =
            Epilogue { bias: Some(&layer.expand_bias), activation: Activation::Relu, ..Epilogue::default() };
        let hidden = base.add(work.wide);
        let (a, c) = ((normed.cast_const(), stride), (hidden, wide));
        product::<L>(&Product::whole(a, rows, &layer.expand, c, Some(expand)));
        let contract = Epilogue { bias: Some(&layer.contract_bias), ..Epilogue::default() };
        let (a, c) = ((hidden.cast_const(), wide), (normed, stride));
        product::<L>(&Product::whole(a, rows, &layer.contract, c, Some(contract)));
        for row in 0..rows {
            let pixel =
                (tile.pairs.0 + start + row / tile.count) * tile.pixels + tile.first_pixel + row % tile.count;
            let (out, update) = (tile.out.at(pixel * channels), normed.add(row * stride));
            let mut c = 0;
            while c < channels {
                let n = channels - c;
                let sum = L::add(L::load_upto(out.add(c), n), L::load_upto(update.add(c), n));
                L::store_upto(out.add(c), sum, n);
                c += L::WIDTH;
            }
        }
    }
}

/// Copies the tile's pixels of `block` pairs into rows.
#[inline(always)]
unsafe fn load_rows(
    tile: &Tile<'_>,
    pair: usize,
    block: usize,
    channels: usize,
    rows: *mut f32,
    stride: usize,
) {
    for p in 0..block {
        let at = ((pair + p) * tile.pixels + tile.first_pixel) * channels;
        for pixel in 0..tile.count {
            // SAFETY: the pair's pixels lie in `x`, the block's rows in the scratch.
            unsafe {
                let from = tile.x.as_ptr().add(at + pixel * channels);
                from.copy_to_nonoverlapping(rows.add((p * tile.count + pixel) * stride), channels);
            }
        }
    }
}

/// `to[i] = f(from[i])` for `n` values.
#[inline(always)]
unsafe fn map_row<L: Lanes>(from: *const f32, to: *mut f32, n: usize, f: impl Fn(L::V) -> L::V) {
    let mut i = 0;
    while i < n {
        // SAFETY: both rows hold `n` values.
        unsafe { L::store_upto(to.add(i), f(L::load_upto(from.add(i), n - i)), n - i) };
        i += L::WIDTH;
    }
}

/// Adds `block` pairs of one pixel to its sums: `key_values[c][head] += K[head][c] · V[head]`.
/// `keys` points at the first pair's keys, its values `channels` behind; pairs are `stride` apart.
#[inline(always)]
unsafe fn add_keys<L: Lanes>(
    heads: usize,
    channels: usize,
    keys: *const f32,
    stride: usize,
    block: usize,
    key_values: *mut f32,
    sums: *mut f32,
) {
    const ROWS: usize = 4;
    let depth = channels / heads;
    // SAFETY: keys and values of `block` pairs and the pixel's sums are readable and writable.
    unsafe {
        let mut i = 0;
        while i < channels {
            let n = channels - i;
            let mut sum = L::load_upto(sums.add(i), n);
            for pair in 0..block {
                sum = L::add(sum, L::load_upto(keys.add(pair * stride + i), n));
            }
            L::store_upto(sums.add(i), sum, n);
            i += L::WIDTH;
        }
        for head in 0..heads {
            let head = head * depth;
            let mut d = 0;
            while d < depth {
                let n = depth - d;
                let mut c = 0;
                while c < depth {
                    let count = ROWS.min(depth - c);
                    let target = key_values.add(c * channels + head + d);
                    let mut acc = [L::splat(0.0); ROWS];
                    for (r, sum) in acc.iter_mut().enumerate().take(count) {
                        *sum = L::load_upto(target.add(r * channels), n);
                    }
                    for pair in 0..block {
                        let key = keys.add(pair * stride + head + c);
                        let value = L::load_upto(keys.add(pair * stride + channels + head + d), n);
                        for (r, sum) in acc.iter_mut().enumerate().take(count) {
                            *sum = L::fma(L::splat(*key.add(r)), value, *sum);
                        }
                    }
                    for (r, sum) in acc.into_iter().enumerate().take(count) {
                        L::store_upto(target.add(r * channels), sum, n);
                    }
                    c += count;
                }
                d += L::WIDTH;
            }
        }
    }
}

/// `out = Q · KV / (Q · ΣK + ε)` for one pixel of one pair, head by head.
///
/// The reference divides the values by the number of categories and multiplies the result by it
/// again, to keep half precision in range; in f32 the two cancel.
#[inline(always)]
unsafe fn attend<L: Lanes>(
    heads: usize,
    channels: usize,
    query: *const f32,
    key_values: *const f32,
    sums: *const f32,
    out: *mut f32,
) {
    let depth = channels / heads;
    // SAFETY: query, sums and out hold `channels` values, key_values `depth · channels`.
    unsafe {
        for head in 0..heads {
            let head = head * depth;
            let mut norm = 0.0;
            for c in 0..depth {
                norm += *query.add(head + c) * *sums.add(head + c);
            }
            let scale = L::splat(1.0 / (norm + EPS));
            let mut d = 0;
            while d < depth {
                let n = depth - d;
                let mut acc = L::splat(0.0);
                for c in 0..depth {
                    let row = L::load_upto(key_values.add(c * channels + head + d), n);
                    acc = L::fma(L::splat(*query.add(head + c)), row, acc);
                }
                L::store_upto(out.add(head + d), L::mul(acc, scale), n);
                d += L::WIDTH;
            }
        }
    }
}

kernel! {
    unsafe fn run_attention_tile(layer: &ClassAttention, tile: Tile<'_>, work: Work, scratch: &mut [f32]) = attention_tile
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random, tensor};

    fn row_times(weight: &[f32], bias: &[f32], row: &[f32]) -> Vec<f32> {
        let dot = |w: &[f32]| w.iter().zip(row).map(|(&w, &v)| f64::from(w) * f64::from(v)).sum::<f64>();
        weight.chunks_exact(row.len()).zip(bias).map(|(w, &b)| (dot(w) + f64::from(b)) as f32).collect()
    }

    /// The definition for one pixel: `x [pairs][c]`.
    fn naive_pixel(x: &[Vec<f32>], w: &[Vec<f32>], heads: usize) -> Vec<Vec<f32>> {
        let c = x[0].len();
        let d = c / heads;
        let elu1 = |v: f32| if v > 0.0 { v + 1.0 } else { v.exp() };
        let normed: Vec<_> =
            x.iter().map(|r| crate::layer_norm::tests::naive(r, &w[0], &w[1], 1e-5)).collect();
        let project = |weight: usize| {
            normed.iter().map(|r| row_times(&w[weight], &w[weight + 1], r)).collect::<Vec<_>>()
        };
        let (q, k, v) = (project(2), project(4), project(6));
        let n = x.len() as f64;
        (0..x.len())
            .map(|i| {
                let mut x1 = x[i].clone();
                for h in 0..heads {
                    let mut norm = 0.0;
                    let mut out = vec![0.0; d];
                    for j in 0..x.len() {
                        let mut similarity = 0.0;
                        for e in h * d..(h + 1) * d {
                            similarity += f64::from(elu1(q[i][e])) * f64::from(elu1(k[j][e]));
                        }
                        norm += similarity;
                        for (o, &value) in out.iter_mut().zip(&v[j][h * d..(h + 1) * d]) {
                            *o += similarity * f64::from(value) / n;
                        }
                    }
                    for (e, o) in out.iter().enumerate() {
                        x1[h * d + e] += (o / (norm + 1e-6) * n) as f32;
                    }
                }
                let normed = crate::layer_norm::tests::naive(&x1, &w[8], &w[9], 1e-5);
                let hidden: Vec<f32> =
                    row_times(&w[10], &w[11], &normed).iter().map(|v| v.max(0.0)).collect();
                let update = row_times(&w[12], &w[13], &hidden);
                (0..c).map(|e| x[i][e] + x1[e] + update[e]).collect()
            })
            .collect()
    }

    #[test]
    fn equals_the_definition_in_every_segment() {
        for (c, heads, h, w, offsets) in [
            (32, 4, 3, 5, vec![0, 3, 3, 20, 21]),
            (16, 4, 6, 6, vec![0, 1]),
            (40, 4, 2, 2, vec![0, 17]),
            (128, 4, 2, 3, vec![0, 9, 12]),
        ] {
            let sizes = [c, c, c * c, c, c * c, c, c * c, c, c, c, 4 * c * c, 4 * c, 4 * c * c, c];
            let weights: Vec<_> = sizes.iter().zip(1..).map(|(&n, seed)| random(n, seed)).collect();
            let vector = |i: usize| tensor(&weights[i], &[weights[i].len()]);
            let matrix = |i: usize, out: usize| tensor(&weights[i], &[out, weights[i].len() / out]);
            let t: Vec<_> = (0..14)
                .map(|i| match i {
                    2 | 4 | 6 | 12 => matrix(i, c),
                    10 => matrix(i, 4 * c),
                    _ => vector(i),
                })
                .collect();
            let layer = ClassAttention::new(
                &ClassAttentionWeights {
                    norm1: (&t[0], &t[1]),
                    query: (&t[2], &t[3]),
                    key: (&t[4], &t[5]),
                    value: (&t[6], &t[7]),
                    norm2: (&t[8], &t[9]),
                    expand: (&t[10], &t[11]),
                    contract: (&t[12], &t[13]),
                },
                heads,
                1e-5,
            )
            .unwrap();
            let pairs = *offsets.last().unwrap();
            let x = random(pairs * h * w * c, 50);
            let mut want = vec![0.0; x.len()];
            for segment in offsets.windows(2).filter(|s| s[0] < s[1]) {
                for pixel in 0..h * w {
                    let at = |pair: usize| (pair * h * w + pixel) * c;
                    let rows: Vec<_> = (segment[0]..segment[1]).map(|p| x[at(p)..][..c].to_vec()).collect();
                    for (p, row) in (segment[0]..segment[1]).zip(naive_pixel(&rows, &weights, heads)) {
                        want[at(p)..][..c].copy_from_slice(&row);
                    }
                }
            }
            let x = tensor(&x, &[pairs, h, w, c]);
            for isa in Isa::available() {
                let got = layer.forward_values(&cpu_values(&x).unwrap(), h * w, &offsets, isa);
                assert_close(&got, &want, 2e-3, &format!("{isa:?} {c}"));
            }
            assert!(layer.forward(&x, &[0, pairs + 1]).is_err());
        }
    }
}
