//! The register tile: `rows × panels` accumulators that stay in registers while k runs.
//!
//! Per step of k a tile reads one vector of packed weights per 16 columns and broadcasts one
//! activation per row. With 8 rows and 32 columns (AVX-512) that is 16 multiply-adds for 10 loads.

use super::element::Element;
use super::pack::PANEL;
use crate::simd::Lanes;

/// Accumulators of a tile: `R` rows of `N` vectors.
pub(crate) type Acc<L, const R: usize, const N: usize> = [[<L as Lanes>::V; N]; R];

/// A tile of zeros.
#[inline(always)]
pub(crate) unsafe fn zeros<L: Lanes, const R: usize, const N: usize>() -> Acc<L, R, N> {
    // SAFETY: lane arithmetic; the instruction set is the caller's duty.
    unsafe { [[L::splat(0.0); N]; R] }
}

/// The rows of a left matrix.
#[derive(Clone, Copy)]
pub(crate) struct Rows<E> {
    /// First value of the first row.
    pub(crate) first: *const E,
    /// Values from one row to the next.
    pub(crate) stride: usize,
}

/// `acc[r][·] += Σ_k a[r][k] · b[k][·]` for `k` values (rounded up to whole steps).
///
/// `b` points at a packed panel row; vector `j` of the tile lies `panel_stride` elements further for
/// every [`PANEL`] columns.
///
/// # Safety
/// `a` must be readable for all rows and steps, `b` for `k` packed rows of every panel of the tile.
#[inline(always)]
pub(crate) unsafe fn accumulate<L: Lanes, E: Element, const R: usize, const N: usize>(
    acc: &mut Acc<L, R, N>,
    a: Rows<E>,
    k: usize,
    b: *const E,
    panel_stride: usize,
) {
    // SAFETY: see the function's contract.
    unsafe {
        for step in (0..k).step_by(E::STEP) {
            let b = b.add(step * PANEL);
            let mut weights = [E::load::<L>(b); N];
            for (j, w) in weights.iter_mut().enumerate().skip(1) {
                let column = j * L::WIDTH;
                *w = E::load::<L>(b.add((column / PANEL) * panel_stride + column % PANEL * E::STEP));
            }
            for (r, row) in acc.iter_mut().enumerate() {
                let x = E::broadcast::<L>(a.first.add(r * a.stride + step));
                for (sum, w) in row.iter_mut().zip(weights) {
                    *sum = E::multiply_add::<L>(x, w, *sum);
                }
            }
        }
    }
}
