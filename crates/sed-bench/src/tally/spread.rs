//! Histograms of times.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest time that is recorded, in microseconds: a day. Longer times count as this.
const LONGEST: u64 = 86_400_000_000;
/// Significant digits: a time is recorded to a thousandth of itself.
const DIGITS: u8 = 3;

/// A histogram of times, from a microsecond to a day.
#[derive(Clone, Debug)]
pub struct Spread(Histogram<u64>);

/// A spread in a few figures; times in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Percentiles {
    /// Number of times.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// The shortest.
    pub min: f64,
    /// The median.
    pub p50: f64,
    /// The time that 90 % do not exceed.
    pub p90: f64,
    /// The same for 95 %.
    pub p95: f64,
    /// The same for 99 %.
    pub p99: f64,
    /// The same for 99.9 %.
    pub p99_9: f64,
    /// The longest.
    pub max: f64,
}

/// The figures of a stage's times, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct MeanAndP95 {
    /// The mean.
    pub mean: f64,
    /// The time that 95 % do not exceed.
    pub p95: f64,
}

impl Default for Spread {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the bounds are constants, and every test makes one")]
        Self(Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("the bounds of a histogram of times"))
    }
}

impl Spread {
    /// Adds one time.
    pub fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// The time that a share of all times, 0 to 1, does not exceed, in milliseconds.
    pub fn quantile(&self, share: f64) -> f64 {
        milliseconds(self.0.value_at_quantile(share))
    }

    /// Number of recorded times.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The usual figures; all are 0 without recorded times.
    pub fn percentiles(&self) -> Percentiles {
        if self.0.is_empty() {
            return Percentiles::default();
        }
        Percentiles {
            count: self.0.len(),
            mean: self.0.mean() / 1e3,
            min: milliseconds(self.0.min()),
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p95: self.quantile(0.95),
            p99: self.quantile(0.99),
            p99_9: self.quantile(0.999),
            max: milliseconds(self.0.max()),
        }
    }

    /// Mean and 95th percentile.
    pub fn mean_and_p95(&self) -> MeanAndP95 {
        if self.0.is_empty() {
            return MeanAndP95::default();
        }
        MeanAndP95 { mean: self.0.mean() / 1e3, p95: self.quantile(0.95) }
    }

    /// Every recorded time in milliseconds with the share of all times, 0 to 1, that do not exceed it.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        let mut below = 0;
        let point = |bucket: hdrhistogram::iterators::IterationValue<u64>| {
            below += bucket.count_at_value();
            let time = self.0.highest_equivalent(bucket.value_iterated_to()).min(self.0.max());
            (below as f64 / self.0.len() as f64, milliseconds(time))
        };
        self.0.iter_recorded().map(point).collect()
    }
}

fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_times() {
        let mut spread = Spread::default();
        (1..=1000).for_each(|time| spread.record(Duration::from_millis(time)));
        let found = spread.percentiles();
        let near = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 2e-3, "{got} for {want}");
        assert_eq!(found.count, 1000);
        near(found.mean, 500.5);
        near(found.min, 1.0);
        near(found.p50, 500.0);
        near(found.p95, 950.0);
        near(found.p99_9, 999.0);
        near(found.max, 1000.0);
        assert_eq!(Spread::default().percentiles().max, 0.0);
    }

    #[test]
    fn curves_rise_to_all_times() {
        let mut spread = Spread::default();
        [5, 1, 3, 3].into_iter().for_each(|time| spread.record(Duration::from_millis(time)));
        let shares: Vec<f64> = spread.curve().into_iter().map(|(share, _)| share).collect();
        assert_eq!(shares, [0.25, 0.75, 1.0]);
        assert!(spread.curve().is_sorted_by(|a, b| a.1 < b.1));
        assert!(Spread::default().curve().is_empty());
    }
}
