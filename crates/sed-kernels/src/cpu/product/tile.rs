//! The register tile: `rows × panels` accumulators that stay in registers while k runs.
//!
//! Per step of k a tile reads one vector of packed weights per 16 columns and broadcasts one
//! activation per row. With 8 rows and 32 columns (AVX-512) that is 16 multiply-adds for 10 loads.

use super::pack::PANEL;
use crate::simd::{Element, Lanes};

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
    let steps = k.div_ceil(E::STEP);
    let mut ahead = b.ahead;
    // A copy that is never indexed stays in registers, even if the caller indexes its own.
    let mut sums = *acc;
    let mut rows = Addresses::new(a);
    // SAFETY: see the function's contract.
    unsafe {
        for start in (0..steps).step_by(FETCH_EVERY) {
            if let Some(ahead) = &mut ahead {
                for j in 0..N * L::WIDTH / PANEL {
                    L::prefetch(ahead.first.wrapping_add(j * b.stride).cast());
                }
                ahead.first = ahead.first.wrapping_byte_add(FETCH_EVERY * ahead.pace);
            }
            for step in start..steps.min(start + FETCH_EVERY) {
                let first = b.first.add(step * E::STEP * PANEL);
                let mut weights = [E::load::<L>(first); N];
                for (j, w) in weights.iter_mut().enumerate().skip(1) {
                    let column = j * L::WIDTH;
                    *w = E::load::<L>(first.add((column / PANEL) * b.stride + column % PANEL * E::STEP));
                }
                for (r, row) in sums.iter_mut().enumerate() {
                    let x = E::broadcast::<L>(rows.row(r));
                    for (sum, w) in row.iter_mut().zip(weights) {
                        *sum = E::multiply_add::<L>(x, w, *sum);
                    }
                }
                rows.advance(R);
            }
        }
    }
    *acc = sums;
}

/// Addresses of a tile's rows, in the forms that one instruction can encode: a pointer to every fourth row,
/// and the rows between at one, two or three strides from it.
#[derive(Clone, Copy)]
struct Addresses<E> {
    fourths: [*const E; 4],
    stride: usize,
    three: usize,
}

impl<E: Element> Addresses<E> {
    #[inline(always)]
    fn new(rows: Rows<E>) -> Self {
        let fourths = std::array::from_fn(|i| rows.first.wrapping_add(4 * i * rows.stride));
        Self { fourths, stride: rows.stride, three: 3 * rows.stride }
    }

    #[inline(always)]
    fn row(&self, r: usize) -> *const E {
        let further = if r % 4 == 3 { self.three } else { r % 4 * self.stride };
        self.fourths[r / 4].wrapping_add(further)
    }

    /// Goes to the next step of the first `rows` rows.
    #[inline(always)]
    fn advance(&mut self, rows: usize) {
        for pointer in &mut self.fourths[..rows.div_ceil(4)] {
            *pointer = opaque(pointer.wrapping_add(E::STEP));
        }
    }
}

/// The same pointer, of which the compiler does not know how it was computed: else it keeps one for each row,
/// more than there are registers.
#[inline(always)]
#[allow(clippy::pointers_in_nomem_asm_block, reason = "the pointer is not followed")]
fn opaque<E>(pointer: *const E) -> *const E {
    let mut pointer = pointer;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: no instruction at all.
    unsafe {
        std::arch::asm!("/* {0} */", inout(reg) pointer, options(pure, nomem, nostack, preserves_flags));
    }
    pointer
}
