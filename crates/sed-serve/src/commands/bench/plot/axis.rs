//! Axes: the places of values, and their labels.

/// An axis from `low` to `high`, in its own units.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) low: f64,
    pub(super) high: f64,
    /// Places that have a grid line, and their labels.
    pub(super) ticks: Vec<(f64, String)>,
    scale: Scale,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    Linear,
    Log,
}

/// Above this ratio of the largest to the smallest value an axis is logarithmic.
const WIDE: f64 = 30.0;
/// Above this many decades, only the decades have grid lines.
const MANY_DECADES: f64 = 5.0;
/// Shares that have a grid line on an axis of nines.
const SHARES: [(f64, &str); 9] = [
    (0.0, "0 %"),
    (0.5, "50 %"),
    (0.9, "90 %"),
    (0.95, "95 %"),
    (0.99, "99 %"),
    (0.999, "99.9 %"),
    (0.9999, "99.99 %"),
    (0.99999, "99.999 %"),
    (0.999999, "99.9999 %"),
];

impl Axis {
    /// An axis for values up to `most`, from 0.
    pub(super) fn linear(most: f64, label: impl Fn(f64) -> String) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let step = round_step(most / 5.0);
        let count = (most * 1.02 / step).ceil() as u32;
        let ticks = (0..=count).map(|tick| f64::from(tick) * step).map(|at| (at, label(at))).collect();
        Self { low: 0.0, high: f64::from(count) * step, ticks, scale: Scale::Linear }
    }

    /// An axis for times from `least` to `most` milliseconds: logarithmic where they are wide apart.
    pub(super) fn times(least: f64, most: f64) -> Self {
        if least <= 0.0 || most / least < WIDE {
            return Self::linear(most, time_label);
        }
        Self::log(least, most, time_label)
    }

    /// An axis for counts from `least` to `most`: logarithmic where they are wide apart.
    pub(super) fn counts(least: f64, most: f64) -> Self {
        if least <= 0.0 || most / least < WIDE {
            return Self::linear(most, plain);
        }
        Self::log(least, most, plain)
    }

    /// A logarithmic axis with marks at 1, 2 and 5 of every decade, or at the decades where there are many.
    fn log(least: f64, most: f64, label: impl Fn(f64) -> String) -> Self {
        let (low, high) = ((least / 1.2).log10(), (most * 1.2).log10());
        let decades = (low.floor() as i32)..=(high.ceil() as i32);
        let every: &[f64] = if high - low > MANY_DECADES { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let marks = decades.flat_map(|decade| every.iter().map(move |mark| mark * 10f64.powi(decade)));
        let inside = marks.filter(|mark| (low..=high).contains(&mark.log10()));
        let ticks = inside.map(|mark| (mark.log10(), label(mark))).collect();
        Self { low, high, ticks, scale: Scale::Log }
    }

    /// An axis for shares of `count` things: every further nine takes as much room as the one before.
    pub(super) fn nines(count: u64) -> Self {
        let high = nines(1.0, count).max(1.0) * 1.04;
        let places = SHARES.iter().map(|(share, name)| (-(1.0 - share).log10(), (*name).to_owned()));
        Self { low: 0.0, high, ticks: places.filter(|(at, _)| *at <= high).collect(), scale: Scale::Linear }
    }

    /// The place of a value, in the axis's units.
    pub(super) fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value,
            Scale::Log => value.max(f64::MIN_POSITIVE).log10().max(self.low),
        }
    }
}

/// The place of a share of `count` things on an axis of nines; a share of 1 has the place of all but one.
pub(super) fn nines(share: f64, count: u64) -> f64 {
    let left = (1.0 - share).max(1.0 / count.max(1) as f64);
    -left.log10()
}

/// A time as short as it can be written: `20 ms`, `1.5 s`.
pub(super) fn time_label(milliseconds: f64) -> String {
    let (value, unit) = if milliseconds >= 1e3 { (milliseconds / 1e3, "s") } else { (milliseconds, "ms") };
    format!("{} {unit}", plain(value))
}

/// A number without needless digits.
pub(super) fn plain(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text.is_empty() { "0".to_owned() } else { text.to_owned() }
}

/// The least of 1, 2 and 5 times a power of ten that is at least `step`.
fn round_step(step: f64) -> f64 {
    let decade = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0].map(|mark| mark * decade).into_iter().find(|mark| *mark >= step).unwrap_or(10.0 * decade)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn linear_axes_have_round_steps() {
        assert_eq!(labels(&Axis::linear(47.0, plain)), ["0", "10", "20", "30", "40", "50"]);
        assert_eq!(labels(&Axis::linear(0.9, plain)), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert!(Axis::linear(0.0, plain).high > 0.0);
    }

    #[test]
    fn times_that_are_wide_apart_stand_on_a_logarithmic_axis() {
        assert_eq!(labels(&Axis::times(20.0, 90.0))[1], "20 ms");
        let wide = Axis::times(15.0, 4000.0);
        assert_eq!(labels(&wide), ["20 ms", "50 ms", "100 ms", "200 ms", "500 ms", "1 s", "2 s"]);
        assert!((wide.place(1000.0) - 3.0).abs() < 1e-12);
    }

    #[test]
    fn counts_that_are_wide_apart_stand_on_a_logarithmic_axis() {
        assert_eq!(labels(&Axis::counts(1.0, 150.0)), ["1", "2", "5", "10", "20", "50", "100"]);
        assert_eq!(labels(&Axis::counts(20.0, 40.0)), ["0", "10", "20", "30", "40", "50"]);
        assert_eq!(labels(&Axis::counts(1.0, 1e6)).len(), 7);
    }

    #[test]
    fn every_nine_takes_the_same_room() {
        let axis = Axis::nines(1000);
        assert_eq!(labels(&axis), ["0 %", "50 %", "90 %", "95 %", "99 %", "99.9 %"]);
        assert!((nines(0.99, 1000) - 2.0).abs() < 1e-9);
        // The last of a thousand stands where 99.9 % do.
        assert!((nines(1.0, 1000) - 3.0).abs() < 1e-9);
    }
}
