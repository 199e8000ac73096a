//! The figures that the authors of SED report.
//!
//! Source: the table of results in the README of their repository, github.com/xb534/SED at commit db20d93.
//! Its rows with rejection (`TEST.FAST_INFERENCE`, top_k 8) are those of the paper, arXiv:2311.15537. That
//! table has no figure for pascal-voc-20b and coco-stuff-171.

use serde::Serialize;

/// Mean IoU of a model on a dataset, as its authors report it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PaperRow {
    /// `SED-B` (ConvNeXt-B) or `SED-L` (ConvNeXt-L).
    pub model: &'static str,
    /// True for rejection with `top_k` 8, false for the full path.
    pub fast: bool,
    /// The name of the dataset, which is that of its vocabulary.
    pub dataset: &'static str,
    /// Mean IoU in percent.
    pub miou: f32,
}

/// The models of the table.
pub const MODELS: [&str; 2] = ["SED-B", "SED-L"];

/// The datasets of the table, in its order: A-847, PC-459, A-150, PC-59, PAS-20.
const DATASETS: [&str; 5] =
    ["ade20k-847", "pascal-context-459", "ade20k-150", "pascal-context-59", "pascal-voc-20"];

/// The rows of the table: model, rejection, mean IoU by dataset.
const TABLE: [(&str, bool, [f32; 5]); 4] = [
    ("SED-B", false, [11.2, 18.6, 31.8, 57.7, 94.4]),
    ("SED-B", true, [11.4, 18.6, 31.6, 57.3, 94.4]),
    ("SED-L", false, [13.7, 22.1, 35.3, 60.9, 96.1]),
    ("SED-L", true, [13.9, 22.6, 35.2, 60.6, 96.1]),
];

/// Returns the figures for a dataset, named as its vocabulary, the smaller model first. There are none for a
/// dataset without published figures.
pub fn rows(dataset: &str) -> impl Iterator<Item = PaperRow> {
    let column = DATASETS.iter().position(|name| *name == dataset);
    column.into_iter().flat_map(|column| {
        TABLE.iter().map(move |(model, fast, mious)| PaperRow {
            model,
            fast: *fast,
            dataset: DATASETS[column],
            miou: mious[column],
        })
    })
}

/// Returns the figure of a model (`SED-B`, `SED-L`) for a dataset with rejection (`fast`) or without it.
pub fn miou(model: &str, fast: bool, dataset: &str) -> Option<f32> {
    rows(dataset).find(|row| row.model == model && row.fast == fast).map(|row| row.miou)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_abstracts_figures_are_in_the_table() {
        // Abstract: 31.6 % on ADE20K-150 with ConvNeXt-B. README: 35.2 % on it and 22.6 % on PC-459 with L.
        assert_eq!(miou("SED-B", true, "ade20k-150"), Some(31.6));
        assert_eq!(miou("SED-L", true, "ade20k-150"), Some(35.2));
        assert_eq!(miou("SED-L", true, "pascal-context-459"), Some(22.6));
        assert_eq!(miou("SED-L", false, "pascal-voc-20"), Some(96.1));
        assert_eq!(rows("ade20k-847").count(), 4);
        assert_eq!(rows("pascal-voc-20b").chain(rows("my own")).count(), 0);
    }
}
