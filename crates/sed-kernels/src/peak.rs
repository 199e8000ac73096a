//! The most that the processor multiplies and adds per second, measured in registers: what the speed of every
//! kernel is held against.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::simd::{Isa, Lanes, kernel};

/// Chains of dependent operations that run beside each other: more than any core needs to hide the latency of
/// its units, and few enough to stay in 16 registers.
const CHAINS: usize = 12;
/// Steps between two looks at the clock, some 0.1 ms.
const STEPS: usize = 1 << 14;
/// Parts of a measurement, of which the best counts.
const SLICES: u32 = 20;
/// Values of the widest vector.
const WIDEST: usize = 16;

/// Floating-point operations per second of fused multiply-adds in f32, on `threads` threads of their own that
/// run for `time`. The instruction set is the widest of this processor, unless `SED_KERNELS_ISA` lowers it.
pub fn f32_flops(threads: usize, time: Duration) -> f64 {
    let isa = Isa::best();
    let operations = 2 * isa.width() * CHAINS * STEPS;
    // SAFETY: the set is one that this processor has, and the buffer holds every chain's widest vector.
    flops(threads, time, operations, |sums| unsafe { run_chains(isa, sums) })
}

/// As [`f32_flops`], of dot products of pairs of bf16 numbers with f32 sums (AVX512-BF16); none where the
/// processor has no instruction for them, or `SED_KERNELS_ISA` names a lower set.
pub fn bf16_flops(threads: usize, time: Duration) -> Option<f64> {
    let isa = Isa::best();
    let operations = 4 * isa.width() * CHAINS * STEPS;
    // SAFETY: the set is one that this processor has, and the buffer holds every chain's widest vector.
    let block = |sums: &mut _| unsafe { run_bf16_chains(isa, sums) };
    (isa == Isa::Avx512Bf16).then(|| flops(threads, time, operations, block))
}

/// Runs `block` of `operations` operations again and again on all threads, in slices that begin together: the
/// speed of the best slice. Whatever else the machine does lowers a mean, and a peak should not depend on it.
fn flops(
    threads: usize,
    time: Duration,
    operations: usize,
    block: impl Fn(&mut [f32; CHAINS * WIDEST]) + Sync,
) -> f64 {
    let together = Barrier::new(threads);
    let one = || {
        // Different values, so that no chain is another's copy.
        let mut sums = std::array::from_fn(|i| i as f32 * 1e-3);
        block(&mut sums); // wakes the units up
        let mut slice = || {
            together.wait();
            let (begin, mut blocks) = (Instant::now(), 0u64);
            while begin.elapsed() < time / SLICES {
                block(black_box(&mut sums));
                blocks += 1;
            }
            black_box(&sums);
            blocks as f64 * operations as f64 / begin.elapsed().as_secs_f64()
        };
        (0..SLICES).map(|_| slice()).collect::<Vec<f64>>()
    };
    let slices: Vec<Vec<f64>> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let together = |slice: usize| slices.iter().filter_map(|speeds| speeds.get(slice)).sum();
    (0..SLICES as usize).map(together).fold(0.0, f64::max)
}

kernel! {
    unsafe fn run_chains(sums: &mut [f32; CHAINS * WIDEST]) = chains
}

/// `sum = sum · a + b`, [`STEPS`] times in each chain: it tends to 1 and never leaves the normal numbers.
#[inline(always)]
unsafe fn chains<L: Lanes>(sums: &mut [f32; CHAINS * WIDEST]) {
    // SAFETY: chain `i` reads and writes at most `WIDEST` values from `i * WIDEST` on.
    unsafe {
        let p = sums.as_mut_ptr();
        let (a, b) = (L::splat(black_box(0.999)), L::splat(black_box(0.001)));
        let mut chain = [a; CHAINS];
        for (i, sum) in chain.iter_mut().enumerate() {
            *sum = L::load(p.add(i * WIDEST));
        }
        for _ in 0..STEPS {
            for sum in &mut chain {
                *sum = L::fma(*sum, a, b);
            }
        }
        for (i, sum) in chain.into_iter().enumerate() {
            L::store(p.add(i * WIDEST), sum);
        }
    }
}

kernel! {
    unsafe fn run_bf16_chains(sums: &mut [f32; CHAINS * WIDEST]) = bf16_chains
}

/// `sum += x₀ · y₀ + x₁ · y₁` in bf16, [`STEPS`] times in each chain: the sums grow by 2.
#[inline(always)]
unsafe fn bf16_chains<L: Lanes>(sums: &mut [f32; CHAINS * WIDEST]) {
    // SAFETY: chain `i` reads and writes at most `WIDEST` values from `i * WIDEST` on.
    unsafe {
        let p = sums.as_mut_ptr();
        let ones = L::splat_pair(black_box(0x3f80_3f80));
        let mut chain = [L::splat(0.0); CHAINS];
        for (i, sum) in chain.iter_mut().enumerate() {
            *sum = L::load(p.add(i * WIDEST));
        }
        for _ in 0..STEPS {
            for sum in &mut chain {
                *sum = L::dot_pairs(*sum, ones, ones);
            }
        }
        for (i, sum) in chain.into_iter().enumerate() {
            L::store(p.add(i * WIDEST), sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_compute_what_they_say_on_every_instruction_set() {
        for isa in Isa::available() {
            let mut sums = [0.0; CHAINS * WIDEST];
            // SAFETY: an available set, and a buffer of the kernel's size.
            unsafe { run_chains(isa, &mut sums) };
            let width = isa.width();
            // After 16384 steps 0.999^16384 is left of the way to 1.
            let near = |value: &f32| (value - 1.0).abs() < 1e-3;
            assert!(sums.chunks(WIDEST).all(|chain| chain[..width].iter().all(near)), "{isa:?}: {sums:?}");
            assert!(sums.chunks(WIDEST).all(|chain| chain[width..].iter().all(|&v| v == 0.0)), "{isa:?}");
        }
    }

    #[test]
    fn bf16_chains_add_up_on_every_instruction_set() {
        for isa in Isa::available() {
            let mut sums = [0.0; CHAINS * WIDEST];
            // SAFETY: an available set, and a buffer of the kernel's size.
            unsafe { run_bf16_chains(isa, &mut sums) };
            let right = |chain: &[f32]| chain[..isa.width()].iter().all(|&v| v == 2.0 * STEPS as f32);
            assert!(sums.chunks(WIDEST).all(right), "{isa:?}: {sums:?}");
        }
    }

    #[test]
    fn speeds_are_positive_and_counted_for_every_thread() {
        let time = Duration::from_millis(2);
        assert!(f32_flops(2, time) > 0.0);
        assert_eq!(f32_flops(0, time), 0.0);
        assert!(bf16_flops(1, time).is_none_or(|flops| flops > 0.0));
    }
}
