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

/// The packed weights of a tile.
#[derive(Clone, Copy)]
pub(crate) struct Panels<E> {
    /// The first row of the first panel.
    pub(crate) first: *const E,
    /// Values from one panel to the next.
    pub(crate) stride: usize,
    pub(crate) ahead: Option<Ahead<E>>,
}

/// Packed weights that a later tile will read, to be fetched into the second-level cache meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct Ahead<E> {
    /// The first of them in the tile's first panel; any address will do.
    pub(crate) first: *const E,
    /// Bytes fetched for every step of the tile.
    pub(crate) pace: usize,
}

/// Steps from one fetch to the next.
const FETCH_EVERY: usize = 8;

/// `acc[r][·] += Σ_k a[r][k] · b[k][·]` for `k` values (rounded up to whole steps).
///
/// # Safety
/// `a` must be readable for all rows and steps, `b` for `k` rows of every panel of the tile.
#[inline(always)]
pub(crate) unsafe fn accumulate<L: Lanes, E: Element, const R: usize, const N: usize>(
    acc: &mut Acc<L, R, N>,
    a: Rows<E>,
    k: usize,
    b: Panels<E>,
) {
    // SAFETY: see the function's contract.
    unsafe {
        for step in (0..k).step_by(E::STEP) {
            if let Some(ahead) = b.ahead
                && step % (FETCH_EVERY * E::STEP) == 0
            {
                let line = ahead.first.wrapping_byte_add(step / E::STEP * ahead.pace);
                for j in 0..N * L::WIDTH / PANEL {
                    L::prefetch(line.wrapping_add(j * b.stride).cast());
                }
            }
            let first = b.first.add(step * PANEL);
            let mut weights = [E::load::<L>(first); N];
            for (j, w) in weights.iter_mut().enumerate().skip(1) {
                let column = j * L::WIDTH;
                *w = E::load::<L>(first.add((column / PANEL) * b.stride + column % PANEL * E::STEP));
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
