//! Elementary functions on lanes: exponential, error function, GELU, logistic function. Each keeps NaN.

use super::Lanes;

/// `e^x`, relative error below 2e-7; clamps to the normal range of f32.
///
/// Cephes' `expf`: `e^x = 2^n · e^r`, with `r` in ±ln(2)/2 and a polynomial of degree 6.
#[inline(always)]
pub(crate) unsafe fn exp<L: Lanes>(x: L::V) -> L::V {
    // SAFETY: lane arithmetic; the instruction set is the caller's duty.
    unsafe {
        let x = L::max(L::splat(-87.0), L::min(L::splat(88.0), x));
        let n = L::round(L::mul(x, L::splat(std::f32::consts::LOG2_E)));
        // ln(2) in two parts, so that the subtraction loses nothing.
        let r = L::fma(n, L::splat(-0.693_359_4), x);
        let r = L::fma(n, L::splat(2.121_944_4e-4), r);
        let mut p = L::splat(1.987_569_1e-4);
        for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.000_000_3e-1] {
            p = L::fma(p, r, L::splat(c));
        }
        let e = L::add(L::fma(p, L::mul(r, r), r), L::splat(1.0));
        L::mul(e, L::exp2_int(n))
    }
}

/// The error function, absolute error below 2e-7.
///
/// Rational minimax approximation on ±4 (beyond, erf is ±1 in f32); the coefficients are those that
/// Eigen and XLA use for f32.
#[inline(always)]
unsafe fn erf<L: Lanes>(x: L::V) -> L::V {
    // SAFETY: lane arithmetic; the instruction set is the caller's duty.
    unsafe {
        let x = L::max(L::splat(-4.0), L::min(L::splat(4.0), x));
        let x2 = L::mul(x, x);
        let mut p = L::splat(-2.726_142e-10);
        for c in
            [2.770_681_4e-8, -2.101_024e-6, -5.692_506_4e-5, -7.349_906_3e-4, -2.954_6e-3, -1.609_603_3e-2]
        {
            p = L::fma(p, x2, L::splat(c));
        }
        let mut q = L::splat(-1.456_607_2e-5);
        for c in [-2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2] {
            q = L::fma(q, x2, L::splat(c));
        }
        L::div(L::mul(x, p), q)
    }
}

/// GELU in its exact form, `x · Φ(x)` with the error function.
#[inline(always)]
pub(crate) unsafe fn gelu<L: Lanes>(x: L::V) -> L::V {
    // SAFETY: lane arithmetic; the instruction set is the caller's duty.
    unsafe {
        let e = erf::<L>(L::mul(x, L::splat(std::f32::consts::FRAC_1_SQRT_2)));
        let half = L::mul(x, L::splat(0.5));
        L::fma(half, e, half)
    }
}

/// `elu(x) + 1`: `x + 1` above zero, `e^x` below (the feature map of linear attention).
#[inline(always)]
pub(crate) unsafe fn elu_plus_one<L: Lanes>(x: L::V) -> L::V {
    // SAFETY: lane arithmetic; the instruction set is the caller's duty.
    unsafe {
        let zero = L::splat(0.0);
        let above = L::max(zero, x);
        // e^min(x, 0) is 1 where x is positive, so the two parts add up.
        L::add(above, exp::<L>(L::min(zero, x)))
    }
}

/// The logistic function `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) unsafe fn sigmoid<L: Lanes>(x: L::V) -> L::V {
    // SAFETY: lane arithmetic; the instruction set is the caller's duty.
    unsafe {
        let one = L::splat(1.0);
        L::div(one, L::add(one, exp::<L>(L::sub(L::splat(0.0), x))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Isa, kernel};

    #[inline(always)]
    unsafe fn apply<L: Lanes>(which: u8, x: &[f32], y: &mut [f32]) {
        let mut i = 0;
        while i < x.len() {
            let n = (x.len() - i).min(L::WIDTH);
            // SAFETY: at most `n` lanes of the two equally long slices are touched.
            unsafe {
                let v = L::load_upto(x.as_ptr().add(i), n);
                let r = match which {
                    0 => exp::<L>(v),
                    1 => gelu::<L>(v),
                    2 => elu_plus_one::<L>(v),
                    3 => sigmoid::<L>(v),
                    _ => erf::<L>(v),
                };
                L::store_upto(y.as_mut_ptr().add(i), r, n);
            }
            i += n;
        }
    }
    kernel! { unsafe fn apply_isa(which: u8, x: &[f32], y: &mut [f32]) = apply }

    /// erf by its Maclaurin series in f64, exact to 1e-12 on ±4.
    fn erf64(x: f64) -> f64 {
        if x.abs() > 5.0 {
            return x.signum();
        }
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            let n = f64::from(n);
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn no_function_makes_a_number_of_what_is_none() {
        for isa in Isa::available() {
            for which in 0..5 {
                let mut y = [0.0; 19];
                // SAFETY: the instruction set is available and the slices are equally long.
                unsafe { apply_isa(isa, which, &[f32::NAN; 19], &mut y) };
                assert!(y.iter().all(|y| y.is_nan()), "{isa:?} function {which}: {y:?}");
            }
        }
    }

    /// Number in `apply`, exact function, tolerance.
    type Case = (u8, fn(f64) -> f64, f64);

    #[test]
    fn functions_match_double_precision() {
        let x: Vec<f32> = (-20_000..20_003).map(|i| i as f32 * 0.002_5 / 4.0).collect();
        let mut y = vec![0.0; x.len()];
        for isa in Isa::available() {
            let reference: [Case; 5] = [
                (0, f64::exp, 2e-7),
                (1, |x| 0.5 * x * (1.0 + erf64(x / 2f64.sqrt())), 5e-7),
                (2, |x| if x > 0.0 { x + 1.0 } else { x.exp() }, 2e-7),
                (3, |x| 1.0 / (1.0 + (-x).exp()), 2e-7),
                (4, erf64, 2e-7),
            ];
            for (which, exact, tolerance) in reference {
                // SAFETY: the instruction set is available and the slices are equally long.
                unsafe { apply_isa(isa, which, &x, &mut y) };
                for (&x, &y) in x.iter().zip(&y) {
                    let want = exact(f64::from(x));
                    // GELU multiplies the error of erf by x.
                    let scale = want.abs().max(f64::from(x.abs())).max(1.0);
                    let error = (f64::from(y) - want).abs() / scale;
                    assert!(error < tolerance, "{isa:?} function {which}({x}) = {y}, want {want}");
                }
            }
        }
    }
}
