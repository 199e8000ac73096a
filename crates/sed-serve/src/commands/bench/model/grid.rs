//! The combinations, and whether there is memory for them.

use sed_model::Footprint;
use serde::Serialize;

use super::args::Axes;

/// One combination on one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Cell {
    pub(crate) categories: usize,
    /// 0 is rejection off.
    pub(crate) top_k: usize,
    pub(crate) batch: usize,
}

impl Cell {
    /// The `top_k` for the model; `None` is rejection off.
    pub(super) fn rejection(&self) -> Option<usize> {
        (self.top_k > 0).then_some(self.top_k)
    }

    /// The combination in one line, for the progress bar and messages.
    pub(super) fn line(&self) -> String {
        let top_k = if self.top_k == 0 { "off".to_owned() } else { self.top_k.to_string() };
        format!("{} categories, top_k {top_k}, batch {}", self.categories, self.batch)
    }

    /// An upper bound of the memory that a batch takes beside the weights, in bytes. `most_survivors` is the
    /// number of categories that an image kept in a smaller batch; without it or rejection, all categories
    /// count.
    pub(super) fn bytes(&self, footprint: &Footprint, most_survivors: Option<f64>) -> u64 {
        let all = (self.categories * self.batch) as f64;
        let known = most_survivors.filter(|_| self.top_k > 0);
        // Pictures differ; twice the measured survivors is room enough.
        let left = known.map_or(all, |survivors| (2.0 * survivors * self.batch as f64).min(all));
        let decoder = left * footprint.pair_bytes as f64;
        let cost_map = all * footprint.candidate_bytes as f64 + decoder;
        (self.batch as f64 * footprint.image_bytes as f64).max(cost_map) as u64
    }
}

/// All combinations: small batches before large ones.
pub(super) fn cells(axes: &Axes) -> Vec<Cell> {
    let mut cells = Vec::new();
    for &categories in &axes.categories {
        for &top_k in &axes.top_k {
            cells.extend(axes.batches.iter().map(|&batch| Cell { categories, top_k, batch }));
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
        let axes = Axes { categories: vec![1, 20], top_k: vec![0, 8], batches: vec![1, 2, 4] };
        let cells = cells(&axes);
        assert_eq!(cells.len(), 12);
        assert_eq!(cells[0], Cell { categories: 1, top_k: 0, batch: 1 });
        assert_eq!(cells[11].line(), "20 categories, top_k 8, batch 4");
        assert_eq!((cells[0].rejection(), cells[11].rejection()), (None, Some(8)));
    }

    #[test]
    fn large_batches_without_rejection_need_the_most() {
        let footprint = Footprint::of(&SedConfig::sed_b());
        let cell = |top_k| Cell { categories: 847, top_k, batch: 16 };
        let (off, on) = (cell(0).bytes(&footprint, Some(50.0)), cell(8).bytes(&footprint, Some(50.0)));
        assert!(off > 50 << 30, "{off}");
        assert!((4 << 30..16 << 30).contains(&on), "{on}");
        assert_eq!(cell(8).bytes(&footprint, None), off);
    }
}
