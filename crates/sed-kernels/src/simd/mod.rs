//! One source, four instruction sets: kernels are written once over [`Lanes`] and compiled for AVX-512
//! with and without bf16 products, AVX2 + FMA and plain Rust; the processor chooses at run time.

mod avx2;
mod avx512;
mod element;
pub(crate) mod math;
mod portable;

use std::sync::OnceLock;

pub(crate) use avx2::Avx2;
pub(crate) use avx512::{Avx512, Avx512Bf16};
pub(crate) use element::{Element, Elements};
pub(crate) use portable::Portable;

/// An instruction set that the kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isa {
    /// Plain Rust: whatever the compiler's baseline target offers.
    Portable,
    /// 8 lanes of f32 with fused multiply-add.
    Avx2,
    /// 16 lanes of f32 with fused multiply-add and masks.
    Avx512,
    /// The same, with products of two bf16 pairs per lane.
    Avx512Bf16,
}

impl Isa {
    /// The widest instruction set of this processor. The environment variable `SED_KERNELS_ISA`
    /// (`portable`, `avx2`, `avx512` or `avx512bf16`) lowers it, for comparisons; it is read once.
    pub(crate) fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            let available = Self::available();
            let wanted = match std::env::var("SED_KERNELS_ISA").as_deref() {
                Ok("portable") => Isa::Portable,
                Ok("avx2") => Isa::Avx2,
                Ok("avx512") => Isa::Avx512,
                _ => Isa::Avx512Bf16,
            };
            if available.contains(&wanted) { wanted } else { available[available.len() - 1] }
        })
    }

    /// Lanes of f32 in a register.
    pub(crate) fn width(self) -> usize {
        match self {
            Isa::Avx512 | Isa::Avx512Bf16 => Avx512::WIDTH,
            Isa::Avx2 => Avx2::WIDTH,
            Isa::Portable => Portable::WIDTH,
        }
    }

    /// Every instruction set that this processor can run, narrowest first.
    pub(crate) fn available() -> Vec<Self> {
        let mut sets = vec![Isa::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                sets.push(Isa::Avx2);
                let avx512 = is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl");
                if avx512 {
                    sets.push(Isa::Avx512);
                    if is_x86_feature_detected!("avx512bf16") {
                        sets.push(Isa::Avx512Bf16);
                    }
                }
            }
        }
        sets
    }
}

/// A vector of f32 lanes.
///
/// # Safety
/// Every method needs the instruction set of its type to be present (the dispatching functions made
/// by [`kernel!`] check that), and pointers must be valid for the lanes that are read or written.
pub(crate) trait Lanes: Copy {
    /// The vector register.
    type V: Copy;
    /// A register of as many pairs of bf16.
    type Pairs: Copy;
    /// Number of f32 lanes.
    const WIDTH: usize;

    /// Asks for the cache line at `p` in the second-level cache; any address will do.
    unsafe fn prefetch(p: *const u8);
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    /// Loads the first `n < WIDTH` lanes, the rest are zero.
    unsafe fn load_n(p: *const f32, n: usize) -> Self::V;
    /// Stores the first `n < WIDTH` lanes.
    unsafe fn store_n(p: *mut f32, v: Self::V, n: usize);
    /// Loads `WIDTH` bf16 values as f32.
    unsafe fn load_bf16(p: *const u16) -> Self::V;
    /// Stores `WIDTH` lanes as bf16, rounded to the nearest, ties to even.
    unsafe fn store_bf16(p: *mut u16, v: Self::V);
    /// Loads `WIDTH` pairs of bf16.
    unsafe fn load_pairs(p: *const u32) -> Self::Pairs;
    /// The same pair of bf16 in every lane.
    unsafe fn splat_pair(pair: u32) -> Self::Pairs;
    /// `acc + a.0 * b.0 + a.1 * b.1` in every lane, in f32.
    unsafe fn dot_pairs(acc: Self::V, a: Self::Pairs, b: Self::Pairs) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sqrt(a: Self::V) -> Self::V;
    /// `a * b + c`
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The greater lane; the lane of `b` where one of them is NaN. A bound stands in `a`, so that a NaN in
    /// `b` stays.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The lesser lane; the lane of `b` where one of them is NaN.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// The lane of `x` where that of `a` is greater than that of `b`, else the lane of `y`.
    unsafe fn where_greater(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// Reports whether any lane of `a` is at least that of `b`.
    unsafe fn any_at_least(a: Self::V, b: Self::V) -> bool;
    /// Rounds to the nearest integer, ties to even.
    unsafe fn round(a: Self::V) -> Self::V;
    /// `2^a` for integral lanes in -126 ..= 127.
    unsafe fn exp2_int(a: Self::V) -> Self::V;
    /// Lane `i` of the result is lane `from[i]` of `a`; indices below `WIDTH`, those beyond it are not looked
    /// at.
    unsafe fn permute(a: Self::V, from: &[u32; 16]) -> Self::V;
    /// Sum of all lanes.
    unsafe fn sum(a: Self::V) -> f32;

    /// Loads up to `WIDTH` lanes, `n` of them from memory.
    #[inline(always)]
    unsafe fn load_upto(p: *const f32, n: usize) -> Self::V {
        // SAFETY: the caller vouches for `min(n, WIDTH)` readable lanes.
        unsafe { if n >= Self::WIDTH { Self::load(p) } else { Self::load_n(p, n) } }
    }

    /// Stores up to `WIDTH` lanes, `n` of them to memory.
    #[inline(always)]
    unsafe fn store_upto(p: *mut f32, v: Self::V, n: usize) {
        // SAFETY: the caller vouches for `min(n, WIDTH)` writable lanes.
        unsafe { if n >= Self::WIDTH { Self::store(p, v) } else { Self::store_n(p, v, n) } }
    }
}

/// Rounds `n` values to bf16.
///
/// # Safety
/// `from` must be readable and `to` writable for `n` values, and they must not overlap.
#[inline(always)]
pub(crate) unsafe fn narrow<L: Lanes>(from: *const f32, to: *mut u16, n: usize) {
    let vectors = n / L::WIDTH * L::WIDTH;
    // SAFETY: the caller's.
    unsafe {
        for i in (0..vectors).step_by(L::WIDTH) {
            L::store_bf16(to.add(i), L::load(from.add(i)));
        }
        for i in vectors..n {
            *to.add(i) = half::bf16::from_f32(*from.add(i)).to_bits();
        }
    }
}

/// Declares `fn name(isa, args…)` that runs `kernel::<L>(args…)` compiled for that instruction set.
/// A kernel over a number format too is declared as `fn name<E>(args…)`.
/// The kernel must be `#[inline(always)]`, so that it takes on the target features of its caller.
macro_rules! kernel {
    ($(#[$meta:meta])* $vis:vis unsafe fn $name:ident$(<$element:ident>)?($($arg:ident: $ty:ty),* $(,)?) = $kernel:ident) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis unsafe fn $name$(<$element: $crate::simd::Element>)?(isa: $crate::simd::Isa, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            unsafe fn avx512$(<$element: $crate::simd::Element>)?($($arg: $ty),*) {
                // SAFETY: the features are enabled on this function; the rest is the caller's duty.
                unsafe { $kernel::<$crate::simd::Avx512 $(, $element)?>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
            unsafe fn avx512bf16$(<$element: $crate::simd::Element>)?($($arg: $ty),*) {
                // SAFETY: the features are enabled on this function; the rest is the caller's duty.
                unsafe { $kernel::<$crate::simd::Avx512Bf16 $(, $element)?>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2$(<$element: $crate::simd::Element>)?($($arg: $ty),*) {
                // SAFETY: the features are enabled on this function; the rest is the caller's duty.
                unsafe { $kernel::<$crate::simd::Avx2 $(, $element)?>($($arg),*) }
            }
            match isa {
                // SAFETY: as below.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::Isa::Avx512Bf16 => unsafe { avx512bf16$(::<$element>)?($($arg),*) },
                // SAFETY: an `Isa` other than portable exists only where `Isa::available` found it.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::Isa::Avx512 => unsafe { avx512$(::<$element>)?($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::Isa::Avx2 => unsafe { avx2$(::<$element>)?($($arg),*) },
                // SAFETY: needs no feature; the rest is the caller's duty.
                _ => unsafe { $kernel::<$crate::simd::Portable $(, $element)?>($($arg),*) },
            }
        }
    };
}
pub(crate) use kernel;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    #[inline(always)]
    unsafe fn round<L: Lanes>(from: &[f32], to: &mut [u16]) {
        // SAFETY: both are equally long.
        unsafe { narrow::<L>(from.as_ptr(), to.as_mut_ptr(), from.len()) };
    }
    kernel! { unsafe fn run_round(from: &[f32], to: &mut [u16]) = round }

    #[test]
    fn bf16_is_rounded_to_the_nearest_even() {
        // Every exponent but the subnormal ones (which some processors take for zero), with mantissas
        // around the ties; both signs, infinities, numbers that are none.
        let values: Vec<f32> = (0x80..0xff80u32)
            .step_by(7)
            .flat_map(|high| {
                [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff].map(|low| f32::from_bits(high << 16 | low))
            })
            .chain([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, f32::MAX])
            .filter(|v| v.is_nan() || *v == 0.0 || v.abs() >= f32::MIN_POSITIVE)
            .collect();
        for isa in Isa::available() {
            let mut got = vec![0; values.len()];
            // SAFETY: the instruction set is there, the slices are equally long.
            unsafe { run_round(isa, &values, &mut got) };
            for (value, bits) in values.iter().zip(got) {
                let (got, want) = (half::bf16::from_bits(bits), half::bf16::from_f32(*value));
                assert!(got == want || (got.is_nan() && want.is_nan()), "{isa:?} {value:e}: {got} {want}");
            }
        }
    }

    #[inline(always)]
    unsafe fn bound<L: Lanes>(from: &[f32; 16], to: &mut [[f32; 16]; 2]) {
        // SAFETY: a register has at most 16 lanes.
        unsafe {
            let v = L::load(from.as_ptr());
            L::store(to[0].as_mut_ptr(), L::max(L::splat(0.0), v));
            L::store(to[1].as_mut_ptr(), L::min(L::splat(0.0), v));
        }
    }
    kernel! { unsafe fn run_bound(from: &[f32; 16], to: &mut [[f32; 16]; 2]) = bound }

    #[test]
    fn bounds_keep_what_is_no_number() {
        let mut values = [1.0; 16];
        values[..4].copy_from_slice(&[f32::NAN, -f32::NAN, -2.0, f32::INFINITY]);
        for isa in Isa::available() {
            let mut got = [[0.0; 16]; 2];
            // SAFETY: the instruction set is there.
            unsafe { run_bound(isa, &values, &mut got) };
            let [above, below] = got;
            assert!(above[0].is_nan() && above[1].is_nan() && below[0].is_nan() && below[1].is_nan());
            assert_eq!((&above[2..5], &below[2..5]), (&[0.0, f32::INFINITY, 1.0][..], &[-2.0, 0.0, 0.0][..]));
        }
    }

    #[inline(always)]
    unsafe fn permute<L: Lanes>(from: &[f32; 16], lanes: &[u32; 16], to: &mut [f32; 16]) {
        // SAFETY: a register has at most 16 lanes.
        unsafe { L::store(to.as_mut_ptr(), L::permute(L::load(from.as_ptr()), lanes)) };
    }
    kernel! { unsafe fn run_permute(from: &[f32; 16], lanes: &[u32; 16], to: &mut [f32; 16]) = permute }

    #[test]
    fn lanes_come_from_where_they_are_told() {
        let values: [f32; 16] = random(16, 1).try_into().unwrap();
        for isa in Isa::available() {
            let width = isa.width();
            for step in [0, 1, 3, 5] {
                let lanes = std::array::from_fn(|i| ((i * step + 2) % width) as u32);
                let mut got = [0.0; 16];
                // SAFETY: the instruction set is there.
                unsafe { run_permute(isa, &values, &lanes, &mut got) };
                let want: Vec<_> = lanes[..width].iter().map(|&lane| values[lane as usize]).collect();
                assert_eq!(got[..width], want, "{isa:?} {lanes:?}");
            }
        }
    }
}
