//! Several datasets as one Markdown table, beside the figures of SED's authors.

use std::io::{self, Write};

use sed_eval::{
    Measured,
    official::Dataset,
    paper::{self, PaperRow},
};
use serde::{Serialize, Serializer};

use super::{labelled, percent};

/// The scores of a dataset, beside those that SED's authors report.
#[derive(Debug, Serialize)]
pub(in crate::commands::eval) struct DatasetRow {
    #[serde(serialize_with = "name")]
    pub(in crate::commands::eval) dataset: &'static Dataset,
    #[serde(flatten)]
    pub(in crate::commands::eval) run: Measured,
    pub(in crate::commands::eval) paper: Vec<PaperRow>,
}

fn name<S: Serializer>(dataset: &Dataset, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(dataset.name)
}

/// Prints the table, which is text of Markdown with the model's line above it; figures are percent.
pub(super) fn print(rows: &[DatasetRow], out: &mut impl Write) -> io::Result<()> {
    let models = paper::MODELS;
    writeln!(
        out,
        "\n| dataset | pictures | categories | mIoU | fwIoU | mACC | pACC | {} |",
        models.map(|model| format!("{model}, its authors: mIoU")).join(" | ")
    )?;
    writeln!(out, "|---|{}", "---:|".repeat(6 + models.len()))?;
    for DatasetRow { dataset, run, paper } in rows {
        let figures = &run.figures;
        let own =
            [figures.miou, figures.frequency_weighted_iou, figures.mean_accuracy, figures.pixel_accuracy];
        let reported = models.map(|model| {
            let row = paper.iter().find(|row| row.model == model);
            row.map_or("–".to_owned(), |row| format!("{:.1}", row.miou))
        });
        writeln!(
            out,
            "| {} ({}) | {} | {} | {} | {} |",
            dataset.name,
            dataset.short,
            run.pictures,
            labelled(run),
            own.map(percent).join(" | "),
            reported.join(" | ")
        )?;
    }
    Ok(())
}
