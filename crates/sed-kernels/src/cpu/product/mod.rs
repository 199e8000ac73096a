//! Matrix products with packed weights and a fused tail.

pub(super) mod pack;
pub(super) mod tile;

use std::ops::Range;

use half::bf16;
use pack::{PANEL, PackedMatrix};
use tile::{Acc, Ahead, Panels, Rows, accumulate};

use super::epilogue::Epilogue;
use super::scratch::Scratch;
use crate::simd::{Element, Lanes, kernel};

/// Bytes of a packed column between two stores of a tile: 32 columns then fill the first-level cache.
const K_BLOCK_BYTES: usize = 1024;

/// One product `c = a · weights` over a block of rows, a range of k and a range of panels.
#[derive(Clone)]
pub(crate) struct Product<'a> {
    /// Row 0 of the left matrix at the first k of `k`.
    pub(crate) a: *const f32,
    /// Elements from one row of `a` to the next.
    pub(crate) a_row: usize,
    /// Number of rows.
    pub(crate) rows: usize,
    pub(crate) weights: &'a PackedMatrix,
    /// The rows of `weights` that take part.
    pub(crate) k: Range<usize>,
    /// The panels of `weights` that take part.
    pub(crate) panels: Range<usize>,
    /// Row 0 of the output at the first column of `panels`.
    pub(crate) c: *mut f32,
    /// Elements from one row of `c` to the next.
    pub(crate) c_row: usize,
    /// Add to what `c` holds instead of overwriting it.
    pub(crate) add_to_c: bool,
    /// The tail, applied when the last k has been added; columns count from the matrix's first.
    pub(crate) epilogue: Option<Epilogue<'a>>,
}

impl<'a> Product<'a> {
    /// The whole product of `rows` rows with `weights`.
    pub(crate) fn whole(
        (a, a_row): (*const f32, usize),
        rows: usize,
        weights: &'a PackedMatrix,
        (c, c_row): (*mut f32, usize),
        epilogue: Option<Epilogue<'a>>,
    ) -> Self {
        let (k, panels) = (0..weights.k, 0..weights.panels());
        Self { a, a_row, rows, weights, k, panels, c, c_row, add_to_c: false, epilogue }
    }
}

/// Position of a tile in its product.
#[derive(Clone, Copy)]
struct Spot {
    k: usize,
    steps: usize,
    panel: usize,
    row: usize,
    load: bool,
    last: bool,
    /// The weights that will be read after this panel's.
    ahead: *const (),
}

#[inline(always)]
unsafe fn tile_product<L: Lanes, E: Element, const R: usize, const N: usize>(
    a: Rows<E>,
    p: &Product<'_>,
    at: Spot,
) {
    // SAFETY: the product's pointers cover all of its rows, columns and k (`product`'s contract).
    unsafe {
        let first_column = at.panel * PANEL;
        let c = p.c.add(at.row * p.c_row + (at.panel - p.panels.start) * PANEL);
        let left = p.weights.n - first_column;
        let mut acc: Acc<L, R, N> = tile::zeros::<L, R, N>();
        if at.load {
            for (r, row) in acc.iter_mut().enumerate() {
                for (j, v) in row.iter_mut().enumerate() {
                    let column = j * L::WIDTH;
                    if column < left {
                        *v = L::load_upto(c.add(r * p.c_row + column), left - column);
                    }
                }
            }
        }
        let a = Rows { first: a.first.add(at.row * a.stride + at.k - p.k.start), ..a };
        // The tiles of a panel share the work of fetching the next one.
        let pace = E::STEP * PANEL * size_of::<E>() / p.rows.div_ceil(R);
        let first = at.ahead.cast::<E>().wrapping_byte_add(at.row / R * (at.steps / E::STEP) * pace);
        let panels = Panels {
            first: p.weights.panel::<E>(at.panel, at.k).as_ptr(),
            stride: p.weights.panel_stride(),
            ahead: Some(Ahead { first, pace }),
        };
        accumulate::<L, E, R, N>(&mut acc, a, at.steps, panels);
        for (r, row) in acc.iter().enumerate() {
            for (j, v) in row.iter().enumerate() {
                let column = j * L::WIDTH;
                if column < left {
                    let mut v = *v;
                    if let (true, Some(tail)) = (at.last, &p.epilogue) {
                        v = tail.apply::<L>(v, at.row + r, first_column + column, left - column);
                    }
                    L::store_upto(c.add(r * p.c_row + column), v, left - column);
                }
            }
        }
    }
}

/// Runs a tile over `rows` rows in the tallest heights that fit; the tile sees its height as a constant.
macro_rules! for_row_tiles {
    ($rows:expr, $row:ident, [$($height:literal),+], $constant:ident => $tile:expr) => {{
        let mut $row = 0;
        while $row < $rows {
            let left = $rows - $row;
            $(if left >= $height {
                const $constant: usize = $height;
                $tile;
                $row += $height;
                continue;
            })+
        }
    }};
}
pub(crate) use for_row_tiles;

/// Computes a [`Product`]. With bf16 weights the rows of the left matrix are rounded to bf16 first.
///
/// # Safety
/// The product's pointers must be valid for its rows, columns and k; `c` overlaps nothing else. A range
/// of k starts at an even number.
#[inline(always)]
pub(crate) unsafe fn product<L: Lanes>(p: &Product<'_>) {
    // SAFETY: the caller's; the rounded rows have room for every row's k and a step more.
    unsafe {
        if !p.weights.is_bf16() {
            return product_of::<L, f32>(Rows { first: p.a, stride: p.a_row }, p);
        }
        let k = p.k.len();
        // Rows of a tile should not share their cache sets.
        let stride = k.next_multiple_of(32) + 32;
        let mut scratch = Scratch::lend(bf16::room(p.rows * stride));
        let rows = bf16::view(&mut scratch, p.rows * stride).as_mut_ptr();
        for row in 0..p.rows {
            let to = rows.add(row * stride);
            bf16::convert::<L>(p.a.add(row * p.a_row), to, k);
            *to.add(k) = bf16::ZERO; // the other half of the last pair, if k is odd
        }
        product_of::<L, bf16>(Rows { first: rows, stride }, p);
    }
}

/// [`product`] with the rows `a` in the format of the weights.
#[inline(always)]
unsafe fn product_of<L: Lanes, E: Element>(a: Rows<E>, p: &Product<'_>) {
    let block = K_BLOCK_BYTES / size_of::<E>();
    let mut k = p.k.start;
    while k < p.k.end {
        let steps = (p.k.end - k).min(block);
        let (load, last) = (p.add_to_c || k > p.k.start, k + steps == p.k.end);
        let mut panel = p.panels.start;
        while panel < p.panels.end {
            let pair = L::WIDTH == 16 && panel + 1 < p.panels.end;
            let next = panel + if pair { 2 } else { 1 };
            // After the last panel the first of the next steps, or of the next rows.
            let (ahead, from) = match (next < p.panels.end, last) {
                (true, _) => (next, k),
                (false, true) => (p.panels.start, p.k.start),
                (false, false) => (p.panels.start, k + steps),
            };
            let ahead = p.weights.panel::<E>(ahead, from).as_ptr().cast::<()>();
            // SAFETY: tiles stay inside the product's rows and panels.
            unsafe {
                if pair {
                    for_row_tiles!(p.rows, row, [8, 4, 2, 1], R => tile_product::<L, E, R, 2>(a, p, Spot { k, steps, panel, row, load, last, ahead }));
                } else if L::WIDTH == 16 {
                    for_row_tiles!(p.rows, row, [16, 8, 4, 2, 1], R => tile_product::<L, E, R, 1>(a, p, Spot { k, steps, panel, row, load, last, ahead }));
                } else {
                    for_row_tiles!(p.rows, row, [4, 2, 1], R => tile_product::<L, E, R, 2>(a, p, Spot { k, steps, panel, row, load, last, ahead }));
                }
            }
            panel = next;
        }
        k += steps;
    }
}

kernel! {
    /// [`product`] on a chosen instruction set.
    pub(crate) unsafe fn run_product(p: &Product<'_>) = product
}
