//! What class attention does to one pixel of one pair.

use crate::math;
use crate::simd::Lanes;

/// Keeps the division by the sum of keys finite (the reference's constant).
const EPS: f32 = 1e-6;

/// `to[i] = elu(from[i]) + 1` for `n` values. (A closure over lanes would not take on the caller's instruction
/// set: each of its operations would be a call.)
#[inline(always)]
pub(super) unsafe fn elu_row<L: Lanes>(from: *const f32, to: *mut f32, n: usize) {
    let mut i = 0;
    while i < n {
        // SAFETY: both rows hold `n` values.
        unsafe { L::store_upto(to.add(i), math::elu_plus_one::<L>(L::load_upto(from.add(i), n - i)), n - i) };
        i += L::WIDTH;
    }
}

/// Adds `block` pairs of one pixel to its sums: `key_values[c][head] += K[head][c] · V[head]`.
/// `keys` points at the first pair's keys, its values `channels` behind; pairs are `stride` apart.
#[inline(always)]
pub(super) unsafe fn add_keys<L: Lanes>(
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
pub(super) unsafe fn attend<L: Lanes>(
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
