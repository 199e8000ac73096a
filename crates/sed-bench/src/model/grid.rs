//! The combinations, and whether there is memory for them.

use sed_model::{Footprint, Rejection};
use serde::Serialize;

/// The axes of the grid on one model, each ascending: the survivors of a small batch predict the memory of a
/// large one.
#[derive(Clone, Debug)]
pub struct Axes {
    /// Numbers of categories.
    pub categories: Vec<usize>,
    /// Kinds of rejection.
    pub rejections: Vec<Rejection>,
    /// Images in a batch.
    pub batches: Vec<usize>,
}

/// One combination on one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Number of categories.
    pub categories: usize,
    /// The rejection.
    #[serde(rename = "top_k")]
    pub rejection: Rejection,
    /// Images in a batch.
    pub batch: usize,
}

impl Cell {
    /// The combination in one line, for the progress bar and messages.
    pub fn line(&self) -> String {
        format!("{} categories, top_k {}, batch {}", self.categories, self.rejection, self.batch)
    }

    /// An upper bound of the memory that a batch takes beside the weights, in bytes. `most_survivors` is the
    /// number of categories that an image kept in a smaller batch; without it or rejection, all categories
    /// count.
    pub(super) fn bytes(&self, footprint: &Footprint, most_survivors: Option<f64>) -> u64 {
        let all = (self.categories * self.batch) as f64;
        let known = most_survivors.filter(|_| self.rejection != Rejection::Off);
        // Pictures differ; twice the measured survivors is room enough.
        let left = known.map_or(all, |survivors| (2.0 * survivors * self.batch as f64).min(all));
        let decoder = left * footprint.pair_bytes as f64;
        let cost_map = all * footprint.candidate_bytes as f64 + decoder;
        (self.batch as f64 * footprint.image_bytes as f64).max(cost_map) as u64
    }
}

/// All combinations: small batches before large ones.
pub fn cells(axes: &Axes) -> Vec<Cell> {
    let mut cells = Vec::new();
    for &categories in &axes.categories {
        for &rejection in &axes.rejections {
            cells.extend(axes.batches.iter().map(|&batch| Cell { categories, rejection, batch }));
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use sed_model::config::SedConfig;

    use super::*;

    #[test]
    fn every_combination_is_there_once() {
        let rejections = vec![Rejection::Off, Rejection::from_top_k(8)];
        let axes = Axes { categories: vec![1, 20], rejections, batches: vec![1, 2, 4] };
        let cells = cells(&axes);
        assert_eq!(cells.len(), 12);
        assert_eq!(cells[0], Cell { categories: 1, rejection: Rejection::Off, batch: 1 });
        assert_eq!(cells[11].line(), "20 categories, top_k 8, batch 4");
        assert_eq!(cells[0].line(), "1 categories, top_k off, batch 1");
    }

    #[test]
    fn large_batches_without_rejection_need_the_most() {
        let footprint = Footprint::of(&SedConfig::sed_b());
        let cell = |top_k| Cell { categories: 847, rejection: Rejection::from_top_k(top_k), batch: 16 };
        let (off, on) = (cell(0).bytes(&footprint, Some(50.0)), cell(8).bytes(&footprint, Some(50.0)));
        assert!(off > 50 << 30, "{off}");
        assert!((4 << 30..16 << 30).contains(&on), "{on}");
        assert_eq!(cell(8).bytes(&footprint, None), off);
    }
}
