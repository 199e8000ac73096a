//! Tiles of pixels through class attention: one kernel for all categories of an image at once, and two for
//! an image in parts.

use crate::gemm::{Activation, Epilogue, Product, product};
use crate::layer_norm::layer_norm_rows;
use crate::simd::{Lanes, kernel};
use crate::tensor::SharedMut;

use super::ClassAttention;
use super::pixel::{add_keys, attend, elu_row};

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
}

/// The layout of a tile's scratch memory: offsets of its parts.
#[derive(Clone, Copy)]
pub(super) struct Work {
    /// Queries of every pair (in parts: of a block of pairs): `[pairs][pixel][C]`.
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
    /// For all categories of an image at once.
    pub(super) fn new(layer: &ClassAttention, pairs: usize) -> Self {
        let channels = layer.norm1.channels();
        let block = PAIRS * PIXELS;
        let rows = pairs * PIXELS * channels;
        let wide = rows + block * (channels + PAD);
        let key_values = wide + block * (layer.expand.n.max(layer.qkv.n) + PAD);
        let keys = key_values + PIXELS * channels * (channels / layer.heads);
        Self { queries: 0, rows, wide, key_values, keys, end: keys + PIXELS * channels }
    }

    /// For one part of an image's categories.
    pub(super) fn for_part(layer: &ClassAttention) -> Self {
        Self::new(layer, PAIRS)
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
    // SAFETY: as in `attention_tile`; the sums of the tile's pixels are nobody else's.
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
        load_rows(tile, tile.pairs.0 + start, block, channels, base.add(work.rows), stride);
        layer_norm_rows::<L>(&layer.norm1, base.add(work.rows), rows, stride);
        let bias = Epilogue { bias: Some(&layer.qkv_bias), ..Epilogue::default() };
        let (a, c) = ((base.add(work.rows).cast_const(), stride), (base.add(work.wide), wide));
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
    let channels = layer.norm1.channels();
    let wide = 3 * channels + PAD;
    for pixel in 0..tile.count {
        // SAFETY: as in `attention_tile`.
        unsafe {
            let keys = base.add(work.wide + pixel * wide + channels);
            let sums = base.add(work.keys + pixel * channels);
            let key_values = base.add(work.key_values + pixel * channels * (channels / layer.heads));
            add_keys::<L>(layer.heads, channels, keys, tile.count * wide, block, key_values, sums);
        }
    }
}

/// The second half for the block of pairs from `start` on, whose queries are given: attention output, residuals and feed-forward layer.
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
    let channels = layer.norm1.channels();
    let block = PAIRS.min(tile.pair_count() - start);
    let stride = channels + PAD;
    let rows = block * tile.count;
    // SAFETY: as in `attention_tile`.
    unsafe {
        let normed = base.add(work.rows);
        for pair in 0..block {
            let at = ((tile.pairs.0 + start + pair) * tile.pixels + tile.first_pixel) * channels;
            for pixel in 0..tile.count {
                let query = queries.add((pair * tile.count + pixel) * channels);
                let sums = base.add(work.keys + pixel * channels);
                let key_values = base.add(work.key_values + pixel * channels * (channels / layer.heads));
                let row = normed.add((pair * tile.count + pixel) * stride);
                attend::<L>(layer.heads, channels, query, key_values, sums, row);
                // x1 = x + attention; the output starts as x + x1, the feed-forward layer adds to it.
                let x = tile.x.as_ptr().add(at + pixel * channels);
                let row_out = out.at(at + pixel * channels);
                let mut c = 0;
                while c < channels {
                    let n = channels - c;
                    let input = L::load_upto(x.add(c), n);
                    let x1 = L::add(input, L::load_upto(row.add(c), n));
                    L::store_upto(row.add(c), x1, n);
                    L::store_upto(row_out.add(c), L::add(input, x1), n);
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
            let (row_out, update) = (out.at(pixel * channels), normed.add(row * stride));
            let mut c = 0;
            while c < channels {
                let n = channels - c;
                let sum = L::add(L::load_upto(row_out.add(c), n), L::load_upto(update.add(c), n));
                L::store_upto(row_out.add(c), sum, n);
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
