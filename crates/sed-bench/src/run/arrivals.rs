//! Due times of the requests of an open loop.

use std::time::Duration;

/// Lower bound of the rate, in requests per second: the mean gap is at most 1000 s.
const LEAST_RATE: f64 = 1e-3;

/// Poisson arrivals: the gaps between them are independent and exponentially distributed, as with many
/// independent callers.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    rng: fastrand::Rng,
    mean_gap: f64,
    due: f64,
}

impl Arrivals {
    /// `rate` arrivals a second in the mean; the same seed gives the same times.
    pub(crate) fn new(rate: f64, seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), mean_gap: rate.max(LEAST_RATE).recip(), due: 0.0 }
    }

    /// The next arrival, counted from the beginning.
    pub(crate) fn next_due(&mut self) -> Duration {
        // 1 - [0, 1) is never 0, so the logarithm is finite.
        self.due -= (1.0 - self.rng.f64()).ln() * self.mean_gap;
        Duration::from_secs_f64(self.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(rate: f64, seed: u64, count: usize) -> Vec<f64> {
        let mut arrivals = Arrivals::new(rate, seed);
        let mut before = Duration::ZERO;
        let mut gap = || {
            let due = arrivals.next_due();
            let gap = due - before;
            before = due;
            gap.as_secs_f64()
        };
        (0..count).map(|_| gap()).collect()
    }

    #[test]
    fn gaps_have_mean_and_spread_of_the_exponential_distribution() {
        let gaps = gaps(50.0, 7, 20_000);
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // Five standard errors of the mean of 20 000 are 3.5 %.
        assert!((mean * 50.0 - 1.0).abs() < 0.035, "{mean}");
        // The standard deviation equals the mean; equal gaps would have none.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "{variance}");
        // e^-1 of the gaps are longer than the mean.
        let longer = gaps.iter().filter(|gap| **gap > 0.02).count() as f64 / gaps.len() as f64;
        assert!((longer - (-1f64).exp()).abs() < 0.02, "{longer}");
    }

    #[test]
    fn a_seed_gives_the_same_times_again() {
        assert_eq!(gaps(10.0, 3, 50), gaps(10.0, 3, 50));
        assert_ne!(gaps(10.0, 3, 50), gaps(10.0, 4, 50));
    }
}
