//! Class attention at one pixel of a block of pairs.
//!
//! Heads at least as wide as a register are computed one by one. Several smaller ones share a register
//! ([`SmallHeads`]): key and query are then spread over the lanes of their head instead of over all.

use crate::cpu::product::for_row_tiles;
use crate::simd::Lanes;
use crate::simd::math;

/// Added to the sum of keys before the division by it, so that the quotient is finite (the reference's
/// constant).
const EPS: f32 = 1e-6;

/// One pixel's rows of a block of pairs.
#[derive(Clone, Copy)]
pub(super) struct PairRows {
    /// The first pair's row.
    pub(super) first: *mut f32,
    /// Values from one pair to the next.
    pub(super) stride: usize,
    /// Number of pairs.
    pub(super) pairs: usize,
}

impl PairRows {
    /// The row of a pair.
    #[inline(always)]
    unsafe fn row(self, pair: usize) -> *mut f32 {
        // SAFETY: the caller's: there are more pairs than that.
        unsafe { self.first.add(pair * self.stride) }
    }

    /// The rows from that of a pair on.
    #[inline(always)]
    unsafe fn skip(self, pair: usize) -> Self {
        // SAFETY: as above.
        unsafe { Self { first: self.row(pair), pairs: self.pairs - pair, ..self } }
    }
}

/// The sums over the pairs of one pixel.
#[derive(Clone, Copy)]
pub(super) struct PixelSums {
    /// `[C / heads][C]`: row c of a head beside row c of the others.
    pub(super) key_values: *mut f32,
    /// `[C]`
    pub(super) keys: *mut f32,
}

/// Channels and their division into heads.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    pub(super) channels: usize,
    pub(super) heads: usize,
}

impl Heads {
    /// Channels of a head.
    pub(super) fn depth(self) -> usize {
        self.channels / self.heads
    }

    /// Reports whether the heads have `depth` channels and can share registers.
    #[inline(always)]
    fn share<L: Lanes>(self, depth: usize) -> bool {
        self.depth() == depth && depth < L::WIDTH && self.channels.is_multiple_of(L::WIDTH)
    }
}

/// `to[i] = elu(from[i]) + 1` for `n` values. (A closure over lanes would not take on the caller's
/// instruction set: each of its operations would be a call.)
#[inline(always)]
pub(super) unsafe fn elu_row<L: Lanes>(from: *const f32, to: *mut f32, n: usize) {
    let mut i = 0;
    while i < n {
        // SAFETY: both rows hold `n` values.
        unsafe { L::store_upto(to.add(i), math::elu_plus_one::<L>(L::load_upto(from.add(i), n - i)), n - i) };
        i += L::WIDTH;
    }
}

/// Adds a block of pairs to a pixel's sums: `key_values[c][head] += K[head][c] · V[head]`, `keys += K`.
/// The values of a row of `keys` lie `channels` behind it.
#[inline(always)]
pub(super) unsafe fn add_keys<L: Lanes>(heads: Heads, keys: PairRows, sums: PixelSums) {
    // SAFETY: keys and values of the block and the pixel's sums are readable and writable.
    unsafe {
        let mut i = 0;
        while i < heads.channels {
            let n = heads.channels - i;
            let mut sum = L::load_upto(sums.keys.add(i), n);
            for pair in 0..keys.pairs {
                sum = L::add(sum, L::load_upto(keys.row(pair).add(i), n));
            }
            L::store_upto(sums.keys.add(i), sum, n);
            i += L::WIDTH;
        }
        if heads.share::<L>(8) {
            SmallHeads::<8>::add_products::<L>(heads.channels, keys, sums.key_values);
        } else if heads.share::<L>(4) {
            SmallHeads::<4>::add_products::<L>(heads.channels, keys, sums.key_values);
        } else {
            add_products::<L>(heads, keys, sums.key_values);
        }
    }
}

/// [`add_keys`]' products, head by head.
#[inline(always)]
unsafe fn add_products<L: Lanes>(heads: Heads, keys: PairRows, key_values: *mut f32) {
    const ROWS: usize = 8;
    let (channels, depth) = (heads.channels, heads.depth());
    // SAFETY: as in `add_keys`.
    unsafe {
        for head in (0..channels).step_by(depth) {
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
                    for pair in 0..keys.pairs {
                        let row = keys.row(pair);
                        let value = L::load_upto(row.add(channels + head + d), n);
                        for (r, sum) in acc.iter_mut().enumerate().take(count) {
                            *sum = L::fma(L::splat(*row.add(head + c + r)), value, *sum);
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

/// `out = Q · KV / (Q · ΣK + ε)` for a block of pairs of one pixel, head by head. What a pair gets does not
/// depend on how many are in the block.
///
/// The reference divides the values by the number of categories and multiplies the result by it
/// again, to keep half precision in range; in f32 the two cancel.
#[inline(always)]
pub(super) unsafe fn attend<L: Lanes>(heads: Heads, queries: PairRows, sums: PixelSums, out: PairRows) {
    // SAFETY: the caller's.
    unsafe {
        if heads.share::<L>(8) {
            SmallHeads::<8>::attend::<L>(heads.channels, queries, sums, out);
        } else if heads.share::<L>(4) {
            SmallHeads::<4>::attend::<L>(heads.channels, queries, sums, out);
        } else {
            for_row_tiles!(queries.pairs, pair, [4, 1], R => attend_rows::<L, R>(heads, queries.skip(pair), sums, out.skip(pair)));
        }
    }
}

/// [`attend`] for `R` pairs.
#[inline(always)]
unsafe fn attend_rows<L: Lanes, const R: usize>(
    heads: Heads,
    queries: PairRows,
    sums: PixelSums,
    out: PairRows,
) {
    let (channels, depth) = (heads.channels, heads.depth());
    // SAFETY: queries, sums and out hold `channels` values, key_values `depth · channels`.
    unsafe {
        for head in (0..channels).step_by(depth) {
            let mut scales = [L::splat(0.0); R];
            for (r, scale) in scales.iter_mut().enumerate() {
                let (query, keys) = (queries.row(r).add(head), sums.keys.add(head));
                let mut norm = L::splat(0.0);
                for d in (0..depth).step_by(L::WIDTH) {
                    let n = depth - d;
                    norm = L::fma(L::load_upto(query.add(d), n), L::load_upto(keys.add(d), n), norm);
                }
                *scale = L::splat(1.0 / (L::sum(norm) + EPS));
            }
            for d in (0..depth).step_by(L::WIDTH) {
                let n = depth - d;
                let mut acc = [L::splat(0.0); R];
                for c in 0..depth {
                    let row = L::load_upto(sums.key_values.add(c * channels + head + d), n);
                    for (r, sum) in acc.iter_mut().enumerate() {
                        *sum = L::fma(L::splat(*queries.row(r).add(head + c)), row, *sum);
                    }
                }
                for (r, (sum, scale)) in acc.into_iter().zip(scales).enumerate() {
                    L::store_upto(out.row(r).add(head + d), L::mul(sum, scale), n);
                }
            }
        }
    }
}

/// Heads of `DEPTH` channels, a power of two that divides the lanes of a register.
struct SmallHeads<const DEPTH: usize>;

impl<const DEPTH: usize> SmallHeads<DEPTH> {
    /// By channel of a head: that channel of a lane's own head.
    const SPREAD: [[u32; 16]; DEPTH] = {
        let mut lanes = [[0; 16]; DEPTH];
        let mut i = 0;
        while i < DEPTH * 16 {
            lanes[i / 16][i % 16] = (i % 16 / DEPTH * DEPTH + i / 16) as u32;
            i += 1;
        }
        lanes
    };

    /// By distance, a power of two: the lane at that distance within the head.
    const PARTNER: [[u32; 16]; 4] = {
        let mut lanes = [[0; 16]; 4];
        let mut i = 0;
        while i < 64 {
            lanes[i / 16][i % 16] = ((i % 16) ^ (1 << (i / 16))) as u32;
            i += 1;
        }
        lanes
    };

    /// As the function of that name, for all heads of a register together.
    #[inline(always)]
    unsafe fn add_products<L: Lanes>(channels: usize, keys: PairRows, key_values: *mut f32) {
        // SAFETY: as in `add_keys`; `channels` is a multiple of `WIDTH`.
        unsafe {
            for i in (0..channels).step_by(L::WIDTH) {
                let target = key_values.add(i);
                let mut acc = [L::splat(0.0); DEPTH];
                for (c, sum) in acc.iter_mut().enumerate() {
                    *sum = L::load(target.add(c * channels));
                }
                for pair in 0..keys.pairs {
                    let row = keys.row(pair).add(i);
                    let (key, value) = (L::load(row), L::load(row.add(channels)));
                    for (sum, lanes) in acc.iter_mut().zip(&Self::SPREAD) {
                        *sum = L::fma(L::permute(key, lanes), value, *sum);
                    }
                }
                for (c, sum) in acc.into_iter().enumerate() {
                    L::store(target.add(c * channels), sum);
                }
            }
        }
    }

    /// As the function of that name, for all heads of a register together.
    #[inline(always)]
    unsafe fn attend<L: Lanes>(channels: usize, queries: PairRows, sums: PixelSums, out: PairRows) {
        // SAFETY: queries, sums and out hold `channels` values, a multiple of `WIDTH`; key_values
        // `DEPTH · channels`.
        unsafe {
            for i in (0..channels).step_by(L::WIDTH) {
                let keys = L::load(sums.keys.add(i));
                let mut key_values = [L::splat(0.0); DEPTH];
                for (c, row) in key_values.iter_mut().enumerate() {
                    *row = L::load(sums.key_values.add(c * channels + i));
                }
                for pair in 0..queries.pairs {
                    let query = L::load(queries.row(pair).add(i));
                    let mut norm = L::mul(query, keys);
                    for partner in &Self::PARTNER[..DEPTH.ilog2() as usize] {
                        norm = L::add(norm, L::permute(norm, partner));
                    }
                    let mut sum = L::splat(0.0);
                    for (row, lanes) in key_values.into_iter().zip(&Self::SPREAD) {
                        sum = L::fma(L::permute(query, lanes), row, sum);
                    }
                    L::store(out.row(pair).add(i), L::div(sum, L::add(norm, L::splat(EPS))));
                }
            }
        }
    }
}
