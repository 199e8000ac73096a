//! The number formats of a product's operands; sums are f32 in all of them.

use half::bf16;

use super::{Lanes, narrow};

/// Values in one of the formats.
#[derive(Debug, Clone)]
pub(crate) enum Elements {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
}

/// A number format: f32, or bf16, of which one step of a tile multiplies two.
pub(crate) trait Element: Copy + Send + Sync + 'static {
    /// Neighbouring values of k that one step takes.
    const STEP: usize;
    /// A register of `WIDTH · STEP` values.
    type Operand<L: Lanes>: Copy;

    /// The values, if they are in this format; else none.
    fn of(elements: &Elements) -> &[Self];

    /// Loads the weights of `WIDTH` columns for one step.
    ///
    /// # Safety
    /// They must be readable.
    unsafe fn load<L: Lanes>(p: *const Self) -> Self::Operand<L>;

    /// One step's values of a row, the same in every lane.
    ///
    /// # Safety
    /// `STEP` values must be readable.
    unsafe fn broadcast<L: Lanes>(p: *const Self) -> Self::Operand<L>;

    /// `acc + a · b`.
    ///
    /// # Safety
    /// The instruction set of `L` must be present.
    unsafe fn multiply_add<L: Lanes>(a: Self::Operand<L>, b: Self::Operand<L>, acc: L::V) -> L::V;

    /// Loads up to `WIDTH` values, `n` of them from memory, as f32.
    ///
    /// # Safety
    /// `min(n, WIDTH)` values must be readable.
    unsafe fn load_lanes<L: Lanes>(p: *const Self, n: usize) -> L::V;

    /// Stores up to `WIDTH` lanes, `n` of them to memory.
    ///
    /// # Safety
    /// `min(n, WIDTH)` values must be writable.
    unsafe fn store_lanes<L: Lanes>(p: *mut Self, v: L::V, n: usize);

    /// Stores `n` values of f32 in this format.
    ///
    /// # Safety
    /// `from` must be readable and `to` writable for `n` values, and they must not overlap.
    unsafe fn convert<L: Lanes>(from: *const f32, to: *mut Self, n: usize);

    /// The first `len` values that a buffer of f32 has room for.
    fn view(buffer: &mut [f32], len: usize) -> &mut [Self];

    /// Values of f32 that make room for `len` of these.
    fn room(len: usize) -> usize {
        (len * size_of::<Self>()).div_ceil(size_of::<f32>())
    }
}

impl Element for f32 {
    const STEP: usize = 1;
    type Operand<L: Lanes> = L::V;

    fn of(elements: &Elements) -> &[Self] {
        if let Elements::F32(values) = elements { values } else { &[] }
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(p: *const f32) -> L::V {
        // SAFETY: the caller's.
        unsafe { L::load(p) }
    }

    #[inline(always)]
    unsafe fn broadcast<L: Lanes>(p: *const f32) -> L::V {
        // SAFETY: the caller's.
        unsafe { L::splat(*p) }
    }

    #[inline(always)]
    unsafe fn multiply_add<L: Lanes>(a: L::V, b: L::V, acc: L::V) -> L::V {
        // SAFETY: the caller's.
        unsafe { L::fma(a, b, acc) }
    }

    #[inline(always)]
    unsafe fn load_lanes<L: Lanes>(p: *const f32, n: usize) -> L::V {
        // SAFETY: the caller's.
        unsafe { L::load_upto(p, n) }
    }

    #[inline(always)]
    unsafe fn store_lanes<L: Lanes>(p: *mut f32, v: L::V, n: usize) {
        // SAFETY: the caller's.
        unsafe { L::store_upto(p, v, n) }
    }

    #[inline(always)]
    unsafe fn convert<L: Lanes>(from: *const f32, to: *mut f32, n: usize) {
        // SAFETY: the caller's.
        unsafe { from.copy_to_nonoverlapping(to, n) }
    }

    fn view(buffer: &mut [f32], len: usize) -> &mut [f32] {
        &mut buffer[..len]
    }
}

impl Element for bf16 {
    const STEP: usize = 2;
    type Operand<L: Lanes> = L::Pairs;

    fn of(elements: &Elements) -> &[Self] {
        if let Elements::Bf16(values) = elements { values } else { &[] }
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(p: *const bf16) -> L::Pairs {
        // SAFETY: the caller's; a pair is two bf16 side by side.
        unsafe { L::load_pairs(p.cast()) }
    }

    #[inline(always)]
    unsafe fn broadcast<L: Lanes>(p: *const bf16) -> L::Pairs {
        // SAFETY: the caller's.
        unsafe { L::splat_pair(p.cast::<u32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn multiply_add<L: Lanes>(a: L::Pairs, b: L::Pairs, acc: L::V) -> L::V {
        // SAFETY: the caller's.
        unsafe { L::dot_pairs(acc, a, b) }
    }

    #[inline(always)]
    unsafe fn load_lanes<L: Lanes>(p: *const bf16, n: usize) -> L::V {
        // SAFETY: the caller's; a partial vector is read from a copy.
        unsafe {
            if n >= L::WIDTH {
                return L::load_bf16(p.cast());
            }
            let mut lanes = [0u16; 16];
            p.cast::<u16>().copy_to_nonoverlapping(lanes.as_mut_ptr(), n);
            L::load_bf16(lanes.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn store_lanes<L: Lanes>(p: *mut bf16, v: L::V, n: usize) {
        // SAFETY: the caller's; a partial vector is written from a copy.
        unsafe {
            if n >= L::WIDTH {
                return L::store_bf16(p.cast(), v);
            }
            let mut lanes = [0u16; 16];
            L::store_bf16(lanes.as_mut_ptr(), v);
            p.cast::<u16>().copy_from_nonoverlapping(lanes.as_ptr(), n);
        }
    }

    #[inline(always)]
    unsafe fn convert<L: Lanes>(from: *const f32, to: *mut bf16, n: usize) {
        // SAFETY: the caller's; a bf16 is its 16 bits.
        unsafe { narrow::<L>(from, to.cast(), n) }
    }

    fn view(buffer: &mut [f32], len: usize) -> &mut [bf16] {
        assert!(len <= 2 * buffer.len(), "the buffer is too small");
        // SAFETY: two bf16 lie in one f32, whose alignment is enough; any bits are a bf16.
        unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast(), len) }
    }
}
