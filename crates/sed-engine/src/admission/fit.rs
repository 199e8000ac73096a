//! A line through the times of recent launches, which a stalled launch among them does not move.
//!
//! It is the line of Theil and Sen: the median slope between two launches, and the median of what remains.
//! Medians of an even count are the lower of the two in the middle, because a stall only ever makes a launch
//! longer.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Launches that a fit remembers.
const MOST: usize = 32;
/// Age at which a launch is forgotten.
const MEMORY: Duration = Duration::from_secs(60);
/// The newest launches, which stay whatever their age: with three, one of them may have stalled.
const KEPT: usize = 3;
/// Sizes closer than this factor give no slope: the noise of the times would outweigh it.
const APART: f64 = 1.25;

/// The times of one stage's recent launches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fit {
    launches: VecDeque<Observation>,
    /// Of the launches; computed when they change.
    line: Line,
}

/// Seconds of a launch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Line {
    /// Of any launch; not negative.
    pub(crate) fixed: f64,
    /// Of each unit; not negative.
    pub(crate) each: f64,
}

#[derive(Clone, Copy, Debug)]
struct Observation {
    units: f64,
    seconds: f64,
    requests: f64,
    ended: Instant,
}

impl Fit {
    /// Adds a launch of `units` for `requests` requests. A launch of no units says nothing and is left out.
    pub(crate) fn add(&mut self, units: f64, requests: usize, time: Duration, ended: Instant) {
        if units <= 0.0 {
            return;
        }
        let (seconds, requests) = (time.as_secs_f64(), requests as f64);
        self.launches.push_back(Observation { units, seconds, requests, ended });
        let is_old = |launch: &Observation| ended.saturating_duration_since(launch.ended) >= MEMORY;
        while self.launches.len() > MOST
            || (self.launches.len() > KEPT && self.launches.front().is_some_and(is_old))
        {
            self.launches.pop_front();
        }
        self.line = self.fitted();
    }

    /// The line of the recent launches; zero without any.
    pub(crate) fn line(&self) -> Line {
        self.line
    }

    /// Mean number of requests that share a launch, at least 1.
    pub(crate) fn shared_by(&self) -> f64 {
        let sum: f64 = self.launches.iter().map(|launch| launch.requests).sum();
        (sum / self.launches.len().max(1) as f64).max(1.0)
    }

    /// Units of the largest recent launch.
    pub(crate) fn largest(&self) -> Option<f64> {
        self.launches.iter().map(|launch| launch.units).max_by(f64::total_cmp)
    }

    fn fitted(&self) -> Line {
        let of_each =
            |value: fn(&Observation) -> f64| lower_median(self.launches.iter().map(value).collect());
        let proportional = Line { fixed: 0.0, each: of_each(|launch| launch.seconds / launch.units) };
        // Launches of one size say nothing of the fixed part.
        let slopes = self.slopes();
        if slopes.is_empty() {
            return proportional;
        }
        let each = lower_median(slopes);
        if each < 0.0 {
            return Line { fixed: of_each(|launch| launch.seconds), each: 0.0 };
        }
        let rests = self.launches.iter().map(|launch| launch.seconds - each * launch.units).collect();
        let fixed = lower_median(rests);
        if fixed < 0.0 { proportional } else { Line { fixed, each } }
    }

    fn slopes(&self) -> Vec<f64> {
        let mut slopes = Vec::new();
        for (index, one) in self.launches.iter().enumerate() {
            for other in self.launches.iter().skip(index + 1) {
                if one.units.max(other.units) >= one.units.min(other.units) * APART {
                    slopes.push((one.seconds - other.seconds) / (one.units - other.units));
                }
            }
        }
        slopes
    }
}

/// The median, the lower one of an even count; 0 of nothing.
fn lower_median(mut values: Vec<f64>) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = (values.len() - 1) / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FREEZE: Duration = Duration::from_secs(60);

    /// A fit of launches of these sizes, one a second, of `fixed + each * size` seconds.
    fn fit(sizes: &[usize], Line { fixed, each }: Line) -> (Fit, Instant) {
        let (mut fit, mut now) = (Fit::default(), Instant::now());
        for &size in sizes {
            now += Duration::from_secs(1);
            fit.add(size as f64, 1, Duration::from_secs_f64(fixed + each * size as f64), now);
        }
        (fit, now)
    }

    fn seconds(fit: &Fit, units: f64) -> f64 {
        fit.line().fixed + fit.line().each * units
    }

    proptest! {
        #[test]
        fn a_line_is_found_from_its_points_with_a_stall_among_them(
            fixed in 0.0..0.1_f64,
            each in 0.0..0.01_f64,
            sizes in prop::collection::vec(1_usize..200, 8..40),
            stalled in 1_usize..200,
        ) {
            let (least, most) = (*sizes.iter().min().unwrap(), *sizes.iter().max().unwrap());
            let (mut found, now) = fit(&sizes, Line { fixed, each });
            let exact = fixed + each * 77.0;
            if most as f64 >= least as f64 * APART && sizes.len() <= MOST {
                prop_assert!((seconds(&found, 77.0) - exact).abs() < 1e-5, "{:?}", found.line());
            }
            found.add(stalled as f64, 1, FREEZE, now);
            // At worst the times are taken as proportional to the sizes.
            let bound = sizes.iter().map(|size| fixed / *size as f64 + each).fold(0.0, f64::max) * 77.0;
            prop_assert!(seconds(&found, 77.0) <= bound + fixed + each * 200.0 + 1e-6, "{:?}", found.line());
        }

        #[test]
        fn no_time_is_negative(points in prop::collection::vec((1_usize..50, 0.0..1.0_f64), 1..20)) {
            let mut fit = Fit::default();
            for (size, seconds) in points {
                fit.add(size as f64, 1, Duration::from_secs_f64(seconds), Instant::now());
                prop_assert!(fit.line().fixed >= 0.0 && fit.line().each >= 0.0, "{:?}", fit.line());
            }
        }
    }

    #[test]
    fn one_stall_among_launches_of_one_size_changes_nothing() {
        let (mut fit, now) = fit(&[20; 3], Line { fixed: 0.1, each: 0.01 });
        let before = fit.line();
        fit.add(20.0, 1, FREEZE, now);
        assert_eq!(fit.line(), before);
    }

    #[test]
    fn the_newest_launches_decide() {
        let (mut fit, mut now) = fit(&[1, 2, 3, 4].repeat(10), Line { fixed: 0.1, each: 0.0 });
        for _ in 0..MOST {
            now += Duration::from_millis(1);
            fit.add(3.0, 1, Duration::from_secs(2), now);
        }
        assert!((seconds(&fit, 3.0) - 2.0).abs() < 1e-6, "{:?}", fit.line());
    }

    #[test]
    fn what_is_a_minute_old_is_forgotten_after_two_launches() {
        let (mut fit, mut now) = fit(&[20; MOST], Line { fixed: 0.0, each: 3.0 });
        for _ in 0..2 {
            now += MEMORY * 2;
            fit.add(20.0, 1, Duration::from_secs(1), now);
        }
        assert!((seconds(&fit, 20.0) - 1.0).abs() < 1e-6, "{:?}", fit.line());
    }
}
