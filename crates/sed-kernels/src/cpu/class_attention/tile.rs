//! Tiles of pixels through class attention: one kernel for all categories of an image at once, and two for
//! an image in parts.

use crate::cpu::epilogue::Epilogue;
use crate::cpu::layer_norm::layer_norm_into;
use crate::cpu::memory::SharedMut;
use crate::cpu::product::{Product, product};
use crate::simd::{Lanes, kernel};
use crate::specs::Activation;

use super::ClassAttention;
use super::pixel::{Heads, PairRows, PixelSums, add_keys, attend, elu_row};

/// Pixels of a tile: their sums of K·V stay in the second-level cache.
const PIXELS: usize = 8;
/// Pairs whose rows go through a product together, so that its weights are read once for all of them.
const PAIRS: usize = 8;
/// Added to row strides, so that the rows of a tile do not share their cache sets.
const PAD: usize = 16;

/// Pixels `first_pixel .. first_pixel + count` of one image's pairs.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a> {
    x: &'a [f32],
    /// Pixels of a whole map.
    pixels: usize,
    pairs: (usize, usize),
    pub(super) first_pixel: usize,
    pub(super) count: usize,
}

impl<'a> Tile<'a> {
    /// Number of tiles in a map.
    pub(super) fn count(pixels: usize) -> usize {
        pixels.div_ceil(PIXELS)
    }

    /// Tile `index` of the pairs `pairs.0 .. pairs.1` of `x [pairs, pixels, C]`.
    pub(super) fn new(x: &'a [f32], pixels: usize, pairs: (usize, usize), index: usize) -> Self {
        let first_pixel = index * PIXELS;
        Self { x, pixels, pairs, first_pixel, count: PIXELS.min(pixels - first_pixel) }
    }

    fn pair_count(&self) -> usize {
        self.pairs.1 - self.pairs.0
    }

    /// Index in `x` of the tile's first value of a pair. Pairs count from the tile's first.
    fn first_value(&self, pair: usize, channels: usize) -> usize {
        ((self.pairs.0 + pair) * self.pixels + self.first_pixel) * channels
    }
}

/// The layout of a tile's scratch memory: offsets of its parts.
#[derive(Clone, Copy)]
pub(super) struct Work {
    /// Queries of every pair (in parts: of a block of pairs): `[pairs][pixel][C]`.
    queries: usize,
    /// Rows of a block of pairs behind a norm: `[pair][pixel][C + PAD]`.
    normed: usize,
    /// Rows of a block behind attention, likewise.
    attended: usize,
    /// The products of a block: `[pair][pixel][4C + PAD]`.
    wide: usize,
    /// Sums over the pairs, per pixel: `[pixel][C / heads][C]` (row c of a head beside those of the others).
    key_values: usize,
    /// Sums of keys: `[pixel][C]`.
    keys: usize,
    end: usize,
}

impl Work {
    /// For all categories of an image at once.
    pub(super) fn new(layer: &ClassAttention, pairs: usize) -> Self {
        let channels = layer.norm1.channels();
        let block = PAIRS * PIXELS;
        let normed = pairs * PIXELS * channels;
        let attended = normed + block * (channels + PAD);
        let wide = attended + block * (channels + PAD);
        let key_values = wide + block * (layer.expand.n.max(layer.qkv.n) + PAD);
        let keys = key_values + PIXELS * channels * (channels / layer.heads);
        Self { queries: 0, normed, attended, wide, key_values, keys, end: keys + PIXELS * channels }
    }

    /// For one part of an image's categories.
    pub(super) fn for_part(layer: &ClassAttention) -> Self {
        Self::new(layer, PAIRS)
    }

    /// The sums of one pixel of the tile, in the scratch memory at `base`.
    #[inline(always)]
    unsafe fn sums(&self, heads: Heads, base: *mut f32, pixel: usize) -> PixelSums {
        // SAFETY: the caller's: the scratch has `len()` values.
        unsafe {
            PixelSums {
                key_values: base.add(self.key_values + pixel * heads.channels * heads.depth()),
                keys: base.add(self.keys + pixel * heads.channels),
            }
        }
    }

    /// Length of the scratch memory.
    pub(super) fn len(&self) -> usize {
        self.end
    }
}

/// Attention and feed-forward layer over all categories of an image.
#[inline(always)]
unsafe fn attention_tile<L: Lanes>(
    layer: &ClassAttention,
    tile: Tile<'_>,
    out: SharedMut,
    work: Work,
    scratch: &mut [f32],
) {
    let channels = layer.norm1.channels();
    let base = scratch.as_mut_ptr();
    // SAFETY: `Work` reserves every part for the tile's pairs; x and out hold all pixels of all pairs.
    unsafe {
        std::slice::from_raw_parts_mut(base.add(work.key_values), work.end - work.key_values).fill(0.0);
        for start in (0..tile.pair_count()).step_by(PAIRS) {
            let queries = base.add(work.queries + start * tile.count * channels);
            let block = project_block::<L>(layer, &tile, work, base, start, queries);
            add_block::<L>(layer, &tile, work, base, block);
        }
        for start in (0..tile.pair_count()).step_by(PAIRS) {
            let queries = base.add(work.queries + start * tile.count * channels).cast_const();
            finish_block::<L>(layer, &tile, out, work, base, start, queries);
        }
    }
}

/// Adds the keys and values of one part of an image's categories to its sums
/// `[pixels][C / heads + 1][C]`, in place.
#[inline(always)]
unsafe fn sums_tile<L: Lanes>(
    layer: &ClassAttention,
    tile: Tile<'_>,
    sums: SharedMut,
    work: Work,
    scratch: &mut [f32],
) {
    let base = scratch.as_mut_ptr();
    // SAFETY: as in `attention_tile`; no other task touches the sums of the tile's pixels.
    unsafe {
        copy_sums(layer, &tile, work, base, |scratch, i| scratch.write(*sums.at(i)));
        for start in (0..tile.pair_count()).step_by(PAIRS) {
            let block = project_block::<L>(layer, &tile, work, base, start, base.add(work.queries));
            add_block::<L>(layer, &tile, work, base, block);
        }
        copy_sums(layer, &tile, work, base, |scratch, i| sums.at(i).write(*scratch));
    }
}

/// The output of one part of an image's categories, from the sums over all of them.
#[inline(always)]
unsafe fn part_tile<L: Lanes>(
    layer: &ClassAttention,
    tile: Tile<'_>,
    sums: &[f32],
    out: SharedMut,
    work: Work,
    scratch: &mut [f32],
) {
    let base = scratch.as_mut_ptr();
    // SAFETY: as in `attention_tile`; `sums` holds all pixels.
    unsafe {
        copy_sums(layer, &tile, work, base, |scratch, i| scratch.write(*sums.as_ptr().add(i)));
        for start in (0..tile.pair_count()).step_by(PAIRS) {
            let queries = base.add(work.queries);
            project_block::<L>(layer, &tile, work, base, start, queries);
            finish_block::<L>(layer, &tile, out, work, base, start, queries.cast_const());
        }
    }
}

/// Calls `copy` with every sum of the tile in the scratch memory and its index in an image's sums.
#[inline(always)]
unsafe fn copy_sums(
    layer: &ClassAttention,
    tile: &Tile<'_>,
    work: Work,
    base: *mut f32,
    copy: impl Fn(*mut f32, usize),
) {
    let channels = layer.norm1.channels();
    let own = channels * (channels / layer.heads);
    for pixel in 0..tile.count {
        let at = (tile.first_pixel + pixel) * (own + channels);
        // SAFETY: `Work` reserves the sums of every pixel of a tile.
        unsafe {
            (0..own).for_each(|i| copy(base.add(work.key_values + pixel * own + i), at + i));
            (0..channels).for_each(|i| copy(base.add(work.keys + pixel * channels + i), at + own + i));
        }
    }
}

/// Queries, keys and values of the block of pairs from `start` on: the queries at `queries`, keys and values
/// in `work.wide`. Gives the number of pairs in the block.
#[inline(always)]
unsafe fn project_block<L: Lanes>(
    layer: &ClassAttention,
    tile: &Tile<'_>,
    work: Work,
    base: *mut f32,
    start: usize,
    queries: *mut f32,
) -> usize {
    let channels = layer.norm1.channels();
    let block = PAIRS.min(tile.pair_count() - start);
    let rows = block * tile.count;
    let stride = channels + PAD;
    let wide = 3 * channels + PAD;
    // SAFETY: as in `attention_tile`; `queries` has room for the block's.
    unsafe {
        let normed = base.add(work.normed);
        for pair in 0..block {
            let from = tile.x.as_ptr().add(tile.first_value(start + pair, channels));
            // The maps of the pairs lie so far apart that the processor does not guess what the next tile
            // reads.
            for i in (0..PIXELS * channels).step_by(16) {
                L::prefetch(from.wrapping_add(PIXELS * channels + i).cast());
            }
            let to = normed.add(pair * tile.count * stride);
            layer_norm_into::<L>(&layer.norm1, (from, channels), (to, stride), tile.count);
        }
        let bias = Epilogue { bias: Some(&layer.qkv_bias), ..Epilogue::default() };
        let (a, c) = ((normed.cast_const(), stride), (base.add(work.wide), wide));
        product::<L>(&Product::whole(a, rows, &layer.qkv, c, Some(bias)));
        for row in 0..rows {
            let qkv = base.add(work.wide + row * wide);
            elu_row::<L>(qkv, queries.add(row * channels), channels);
            elu_row::<L>(qkv.add(channels), qkv.add(channels), channels);
        }
    }
    block
}

/// Adds the projected block to the sums of the tile's pixels.
#[inline(always)]
unsafe fn add_block<L: Lanes>(
    layer: &ClassAttention,
    tile: &Tile<'_>,
    work: Work,
    base: *mut f32,
    block: usize,
) {
    let heads = layer.heads();
    let wide = 3 * heads.channels + PAD;
    for pixel in 0..tile.count {
        // SAFETY: as in `attention_tile`.
        unsafe {
            let first = base.add(work.wide + pixel * wide + heads.channels);
            let keys = PairRows { first, stride: tile.count * wide, pairs: block };
            add_keys::<L>(heads, keys, work.sums(heads, base, pixel));
        }
    }
}

/// The second half for the block of pairs from `start` on, whose queries are given: attention output,
/// residuals and feed-forward layer.
#[inline(always)]
unsafe fn finish_block<L: Lanes>(
    layer: &ClassAttention,
    tile: &Tile<'_>,
    out: SharedMut,
    work: Work,
    base: *mut f32,
    start: usize,
    queries: *const f32,
) {
    let heads = layer.heads();
    let channels = heads.channels;
    let block = PAIRS.min(tile.pair_count() - start);
    let stride = channels + PAD;
    let rows = block * tile.count;
    // SAFETY: as in `attention_tile`.
    unsafe {
        let (normed, attended) = (base.add(work.normed), base.add(work.attended));
        for pixel in 0..tile.count {
            let first = queries.add(pixel * channels).cast_mut();
            let queries = PairRows { first, stride: tile.count * channels, pairs: block };
            let first = attended.add(pixel * stride);
            let to = PairRows { first, stride: tile.count * stride, pairs: block };
            attend::<L>(heads, queries, work.sums(heads, base, pixel), to);
        }
        for pair in 0..block {
            let x = tile.x.as_ptr().add(tile.first_value(start + pair, channels));
            let to = attended.add(pair * tile.count * stride);
            add_rows::<L>((x, channels), (to, stride), (to, stride), (tile.count, channels));
        }
        layer_norm_into::<L>(&layer.norm2, (attended.cast_const(), stride), (normed, stride), rows);
        let wide = layer.expand.n + PAD;
        let expand =
            Epilogue { bias: Some(&layer.expand_bias), activation: Activation::Relu, ..Epilogue::default() };
        let hidden = base.add(work.wide);
        let (a, c) = ((normed.cast_const(), stride), (hidden, wide));
        product::<L>(&Product::whole(a, rows, &layer.expand, c, Some(expand)));
        let contract = Epilogue {
            bias: Some(&layer.contract_bias),
            residual: Some((attended.cast_const(), stride)),
            ..Epilogue::default()
        };
        let (a, c) = ((hidden.cast_const(), wide), (normed, stride));
        product::<L>(&Product::whole(a, rows, &layer.contract, c, Some(contract)));
        for pair in 0..block {
            let at = tile.first_value(start + pair, channels);
            let x = tile.x.as_ptr().add(at);
            let x2 = normed.add(pair * tile.count * stride);
            add_rows::<L>((x, channels), (x2, stride), (out.at(at), channels), (tile.count, channels));
        }
    }
}

/// `to = a + b` for rows of `channels` values, each given as the first one and the values from one to the
/// next.
#[inline(always)]
unsafe fn add_rows<L: Lanes>(
    (a, a_stride): (*const f32, usize),
    (b, b_stride): (*const f32, usize),
    (to, to_stride): (*mut f32, usize),
    (rows, channels): (usize, usize),
) {
    for row in 0..rows {
        for c in (0..channels).step_by(L::WIDTH) {
            let n = channels - c;
            // SAFETY: the caller's: all rows are there; `to` may be `b`.
            unsafe {
                let a = L::load_upto(a.add(row * a_stride + c), n);
                let b = L::load_upto(b.add(row * b_stride + c), n);
                L::store_upto(to.add(row * to_stride + c), L::add(a, b), n);
            }
        }
    }
}

kernel! {
    pub(super) unsafe fn run_attention_tile(
        layer: &ClassAttention, tile: Tile<'_>, out: SharedMut, work: Work, scratch: &mut [f32],
    ) = attention_tile
}

kernel! {
    pub(super) unsafe fn run_sums_tile(
        layer: &ClassAttention, tile: Tile<'_>, sums: SharedMut, work: Work, scratch: &mut [f32],
    ) = sums_tile
}

kernel! {
    pub(super) unsafe fn run_part_tile(
        layer: &ClassAttention, tile: Tile<'_>, sums: &[f32], out: SharedMut, work: Work, scratch: &mut [f32],
    ) = part_tile
}
