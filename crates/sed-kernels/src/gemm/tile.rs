//! The register tile: `rows × panels` accumulators that stay in registers while k runs.
//!
//! Per step of k a tile reads one vector of packed weights per 16 columns and broadcasts one
//! activation per row. With 8 rows and 32 columns (AVX-512) that is 16 multiply-adds for 10 loads.

use super::pack::{PANEL, Weight};
use crate::simd::Lanes;

/// Accumulators of a tile: `R` rows of `N` vectors.
pub(crate) type Acc<L, const R: usize, const N: usize> = [[<L as Lanes>::V; N]; R];

/// A tile of zeros.
#[inline(always)]
pub(crate) unsafe fn zeros<L: Lanes, const R: usize, const N: usize>() -> Acc<L, R, N> {
    // SAFETY: lane arithmetic; the instruction set is the caller's duty.
    unsafe { [[L::splat(0.0); N]; R] }
}

/// `acc[r][·] += Σ_k a[r · a_row + k] · b[k][·]` for `k` steps.
///
/// `b` points at a packed panel row; vector `j` of the tile lies `panel_stride` elements further for
/// every [`PANEL`] columns.
///
/// # Safety
/// `a` must be readable at `r · a_row + k` for all rows and steps, `b` for `k` packed rows of every
/// panel of the tile.
#[inline(always)]
pub(crate) unsafe fn accumulate<L: Lanes, W: Weight, const R: usize, const N: usize>(
    acc: &mut Acc<L, R, N>,
    a: *const f32,
    a_row: usize,
    k: usize,
    b: *const W,
    panel_stride: usize,
) {
    // SAFETY: see the function's contract.
    unsafe {
        for step in 0..k {
            let mut weights = [L::splat(0.0); N];
            for (j, w) in weights.iter_mut().enumerate() {
                let column = j * L::WIDTH;
                *w = W::load::<L>(b.add((column / PANEL) * panel_stride + column % PANEL + step * PANEL));
            }
            for (r, row) in acc.iter_mut().enumerate() {
                let x = L::splat(*a.add(r * a_row + step));
                for (sum, w) in row.iter_mut().zip(weights) {
                    *sum = L::fma(x, w, *sum);
                }
            }
        }
    }
}
