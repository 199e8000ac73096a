//! A line fitted to measurements.

/// `value = at_zero + slope * time`, by least squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) at_zero: f64,
    /// Units of the value per second.
    pub(crate) slope: f64,
    /// The standard error of the slope. Neighbouring measurements resemble each other, so `n` of them are worth fewer:
    /// `n * (1 - r) / (1 + r)`, where `r` is the correlation of a residual with the one before it.
    pub(crate) error: f64,
}

/// Fits points of time and value; `None` for fewer than three different times.
pub(crate) fn line(points: &[(f64, f64)]) -> Option<Line> {
    let count = points.len() as f64;
    if points.len() < 3 {
        return None;
    }
    let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / count;
    let (mean_time, mean_value) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|(time, _)| (time - mean_time).powi(2)).sum();
    if spread == 0.0 {
        return None;
    }
    let slope =
        points.iter().map(|(time, value)| (time - mean_time) * (value - mean_value)).sum::<f64>() / spread;
    let at_zero = mean_value - slope * mean_time;
    let residuals: Vec<f64> = points.iter().map(|(time, value)| value - at_zero - slope * time).collect();
    let squares: f64 = residuals.iter().map(|residual| residual * residual).sum();
    let plain = (squares / (count - 2.0) / spread).sqrt();
    Some(Line { at_zero, slope, error: plain * inflation(&residuals, squares) })
}

/// Factor by which correlated residuals make the error larger.
fn inflation(residuals: &[f64], squares: f64) -> f64 {
    if squares == 0.0 {
        return 1.0;
    }
    let products: f64 = residuals.windows(2).map(|pair| pair[0] * pair[1]).sum();
    // Independent points are not worth more than they are; and a correlation near 1 is not known that well.
    let correlation = (products / squares).clamp(0.0, 0.99);
    ((1.0 + correlation) / (1.0 - correlation)).sqrt()
}

impl Line {
    pub(crate) fn at(&self, time: f64) -> f64 {
        self.at_zero + self.slope * time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut random = fastrand::Rng::with_seed(seed);
        move || random.f64() - 0.5
    }

    fn points(value: impl FnMut(f64) -> f64) -> Vec<(f64, f64)> {
        let mut value = value;
        (0..400).map(|second| (f64::from(second), value(f64::from(second)))).collect()
    }

    #[test]
    fn a_line_is_found_exactly() {
        let found = line(&points(|time| 7.0 - 0.25 * time)).unwrap();
        assert!((found.slope + 0.25).abs() < 1e-12 && (found.at(400.0) + 93.0).abs() < 1e-9);
        assert!(found.error < 1e-9);
    }

    #[test]
    fn the_error_covers_the_slope_of_noise_and_not_a_true_one() {
        for seed in 0..50 {
            let mut random = noise(seed);
            let flat = line(&points(|_| 100.0 + random())).unwrap();
            assert!(flat.slope.abs() < 4.0 * flat.error, "{seed}: {flat:?}");
            let rising = line(&points(|time| 100.0 + 0.01 * time + random())).unwrap();
            assert!(rising.slope > 10.0 * rising.error, "{seed}: {rising:?}");
        }
    }

    #[test]
    fn one_step_is_hardly_a_slope_because_neighbours_resemble_each_other() {
        let step = line(&points(|time| if time < 200.0 { 100.0 } else { 104.0 })).unwrap();
        // Of independent points it would be 25 errors.
        assert!(step.slope > 0.0 && step.slope < 4.0 * step.error, "{step:?}");
    }

    #[test]
    fn too_few_times_have_no_line() {
        assert_eq!(line(&[(0.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(line(&[(5.0, 1.0), (5.0, 2.0), (5.0, 3.0)]), None);
    }
}
