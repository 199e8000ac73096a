//! The cost of a category: lines through the measured times, beside the time of the arithmetic alone.

use sed_model::{Rejection, operations::Operations};
use serde::Serialize;

use super::{peaks::Peaks, result::CellResult, run::ModelRun};

/// A line by least squares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Its rise for each unit of x.
    pub slope: f64,
    /// Its value at 0.
    pub intercept: f64,
    /// Share of the variance that the line explains.
    pub r_squared: f64,
    /// Number of points that it is drawn through.
    pub points: usize,
}

impl Line {
    /// The line through points; `None` if they do not differ in x.
    pub(super) fn through(points: &[(f64, f64)]) -> Option<Self> {
        let count = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
        let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
            points.iter().map(|(x, y)| of(x - x_mean, y - y_mean)).sum()
        };
        let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
        // Also true without any points.
        if xx <= 0.0 {
            return None;
        }
        let slope = xy / xx;
        let intercept = y_mean - slope * x_mean;
        let left: f64 = points.iter().map(|(x, y)| (y - intercept - slope * x).powi(2)).sum();
        let r_squared = if yy > 0.0 { 1.0 - left / yy } else { 1.0 };
        Some(Self { slope, intercept, r_squared, points: points.len() })
    }

    /// The value of the line at `x`.
    pub fn at(&self, x: f64) -> f64 {
        self.intercept + self.slope * x
    }
}

/// The cost of one more category or survivor.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// The device.
    pub device: String,
    /// The number format.
    pub dtype: String,
    /// Images in a batch.
    pub batch: usize,
    /// The quantity of which there is one more.
    pub over: Over,
    /// In milliseconds for each image.
    pub line: Line,
    /// Milliseconds for the arithmetic of one more at the machine's peak, where that was measured.
    pub floor_ms: Option<f64>,
}

/// The quantity on the x axis of a fit, and the times on its y axis ([`super::StageResult::ms`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// The time of all stages after the encoder over the categories, rejection off.
    Categories,
    /// The time of the decoder's levels over the survivors (the mean of the three levels), at any rejection.
    Survivors,
}

impl Over {
    /// The name of one unit.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Categories => "category",
            Self::Survivors => "survivor",
        }
    }

    /// The point of a combination: x, and milliseconds per image. `None` for a combination outside the fit.
    fn point(self, result: &CellResult) -> Option<(f64, f64)> {
        let images = result.cell.batch as f64;
        let ms = |stages: &[usize]| stages.iter().map(|&stage| result.stages[stage].ms()).sum::<f64>();
        match self {
            Self::Categories if result.cell.rejection != Rejection::Off => None,
            Self::Categories => Some((result.cell.categories as f64, ms(&[1, 2, 3, 4, 5]) / images)),
            Self::Survivors => {
                let mean = result.survivors.iter().sum::<f64>() / 3.0;
                Some((mean, ms(&[2, 3, 4]) / images))
            }
        }
    }

    /// Multiply-accumulates of one more unit.
    fn macs(self, operations: &Operations) -> u64 {
        match self {
            Self::Categories => operations.pair(),
            Self::Survivors => operations.levels.iter().sum(),
        }
    }
}

/// The costs that the measured combinations show, by batch.
pub fn costs(run: &ModelRun, peaks: &Peaks) -> Vec<Cost> {
    let mut batches: Vec<usize> = run.results.iter().map(|result| result.cell.batch).collect();
    batches.sort_unstable();
    batches.dedup();
    let operations = Operations::rearranged(&run.config);
    let cost = |batch: usize, over: Over| {
        let results = run.results.iter().filter(|result| result.cell.batch == batch);
        let points: Vec<(f64, f64)> = results.filter_map(|result| over.point(result)).collect();
        let flop = 2.0 * over.macs(&operations) as f64;
        Some(Cost {
            device: run.device.clone(),
            dtype: run.dtype.clone(),
            batch,
            over,
            line: Line::through(&points)?,
            floor_ms: peaks.gflops(&run.device, &run.dtype).map(|gflops| flop / gflops / 1e6),
        })
    };
    let both = |batch| [Over::Categories, Over::Survivors].map(|over| cost(batch, over));
    batches.into_iter().flat_map(both).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_exactly() {
        let line = Line::through(&[(1.0, 5.0), (20.0, 43.0), (150.0, 303.0)]).unwrap();
        assert!((line.slope - 2.0).abs() < 1e-12 && (line.intercept - 3.0).abs() < 1e-9, "{line:?}");
        assert!((line.r_squared - 1.0).abs() < 1e-12);
        assert!((line.at(10.0) - 23.0).abs() < 1e-9);
    }

    #[test]
    fn scatter_lowers_what_the_line_explains() {
        let line = Line::through(&[(1.0, 2.0), (2.0, 4.0), (3.0, 3.0)]).unwrap();
        assert!((line.slope - 0.5).abs() < 1e-12 && (line.intercept - 2.0).abs() < 1e-12);
        assert!((line.r_squared - 0.25).abs() < 1e-12, "{line:?}");
        assert_eq!(line.points, 3);
    }

    #[test]
    fn points_above_each_other_have_no_line() {
        assert_eq!(Line::through(&[]), None);
        assert_eq!(Line::through(&[(5.0, 1.0)]), None);
        assert_eq!(Line::through(&[(5.0, 1.0), (5.0, 2.0)]), None);
    }
}
