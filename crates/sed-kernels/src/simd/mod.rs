//! One source, three instruction sets: kernels are written once over [`Lanes`] and compiled for
//! AVX-512, AVX2 + FMA and plain Rust; the processor chooses at run time.

mod avx2;
mod avx512;
mod portable;

use std::sync::OnceLock;

pub(crate) use avx2::Avx2;
pub(crate) use avx512::Avx512;
pub(crate) use portable::Portable;

/// An instruction set that the kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust: whatever the compiler's baseline target offers.
    Portable,
    /// 8 lanes of f32 with fused multiply-add.
    Avx2,
    /// 16 lanes of f32 with fused multiply-add and masks.
    Avx512,
}

impl Isa {
    /// The widest instruction set of this processor. The environment variable `SED_KERNELS_ISA`
    /// (`portable`, `avx2` or `avx512`) lowers it, for comparisons; it is read once.
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            let available = Self::available();
            let wanted = match std::env::var("SED_KERNELS_ISA").as_deref() {
                Ok("portable") => Isa::Portable,
                Ok("avx2") => Isa::Avx2,
                _ => Isa::Avx512,
            };
            if available.contains(&wanted) { wanted } else { available[available.len() - 1] }
        })
    }

    /// Every instruction set that this processor can run, narrowest first.
    pub fn available() -> Vec<Self> {
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
    /// Number of f32 lanes.
    const WIDTH: usize;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    /// Loads the first `n < WIDTH` lanes, the rest are zero.
    unsafe fn load_n(p: *const f32, n: usize) -> Self::V;
    /// Stores the first `n < WIDTH` lanes.
    unsafe fn store_n(p: *mut f32, v: Self::V, n: usize);
    /// Loads `WIDTH` bf16 values as f32.
    unsafe fn load_bf16(p: *const u16) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// Rounds to the nearest integer, ties to even.
    unsafe fn round(a: Self::V) -> Self::V;
    /// `2^a` for integral lanes in -126 ..= 127.
    unsafe fn exp2_int(a: Self::V) -> Self::V;
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

/// Declares `fn name(isa, args…)` that runs `kernel::<L>(args…)` compiled for that instruction set.
/// The kernel must be `#[inline(always)]`, so that it takes on the target features of its caller.
macro_rules! kernel {
    ($(#[$meta:meta])* $vis:vis unsafe fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $kernel:ident) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis unsafe fn $name(isa: $crate::simd::Isa, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            unsafe fn avx512($($arg: $ty),*) {
                // SAFETY: the features are enabled on this function; the rest is the caller's duty.
                unsafe { $kernel::<$crate::simd::Avx512>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $ty),*) {
                // SAFETY: the features are enabled on this function; the rest is the caller's duty.
                unsafe { $kernel::<$crate::simd::Avx2>($($arg),*) }
            }
            match isa {
                // SAFETY: an `Isa` other than portable exists only where `Isa::available` found it.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::Isa::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::Isa::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: needs no feature; the rest is the caller's duty.
                _ => unsafe { $kernel::<$crate::simd::Portable>($($arg),*) },
            }
        }
    };
}
pub(crate) use kernel;
