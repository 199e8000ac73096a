//! Precision and recall over thresholds as tables.

use std::io::{self, Write};

use sed_eval::thresholds::{Curve, Measured, Point};

use super::{heads, percent, share};
use crate::print::{BOLD, Cell, FAINT, Table, gap, styled};

/// Prints the curve of all categories, the best threshold of each, and with `per_category` their curves.
pub(super) fn print(run: &Measured, per_category: bool, out: &mut impl Write) -> io::Result<()> {
    if let Some(condition) = &run.condition {
        writeln!(out, "{}  {}", styled(BOLD, condition), styled(FAINT, format!("{} words", run.words)))?;
    }
    curve(&run.all, out)?;
    gap(out)?;
    let labelled = || run.categories.iter().filter(|category| category.labelled_pixels > 0);
    let mut table = Table::default();
    let columns =
        ["category", "labelled", "precision at 0", "recall at 0", "best F1 at", "precision", "recall"];
    table.row(heads(&columns));
    labelled().for_each(|category| table.row(best(category, run.all.labelled_pixels)));
    table.write("  ", out)?;
    if per_category {
        for category in labelled() {
            gap(out)?;
            curve(category, out)?;
        }
    }
    let note =
        "precision: pixels given to a category that belong to it; recall: its pixels that are found; percent";
    writeln!(out, "  {}", styled(FAINT, note))
}

fn curve(curve: &Curve, out: &mut impl Write) -> io::Result<()> {
    let mut table = Table::default();
    table.row(heads(&[&curve.name, "threshold", "precision", "recall", "F1"]));
    for point in &curve.points {
        let is_best = curve.best_threshold == Some(point.threshold);
        table.row([
            Cell::left(if is_best { "best" } else { "" }).styled(BOLD),
            Cell::right(format!("{:.2}", point.threshold)),
            Cell::right(percent(point.precision)),
            Cell::right(percent(point.recall)),
            Cell::right(format!("{:.2}", point.f1())).styled(FAINT),
        ]);
    }
    table.write("  ", out)
}

/// The row of a category: precision and recall without a threshold, and at the best one.
fn best(category: &Curve, all_pixels: u64) -> Vec<Cell> {
    let cells = |point: Option<&Point>| {
        let figures = [point.and_then(|point| point.precision), point.and_then(|point| point.recall)];
        figures.map(|figure| Cell::right(percent(figure)))
    };
    let best = category.points.iter().find(|point| Some(point.threshold) == category.best_threshold);
    let threshold = best.map_or("–".to_owned(), |point| format!("{:.2}", point.threshold));
    let mut row = vec![
        Cell::left(&category.name),
        Cell::right(share(category.labelled_pixels, all_pixels)).styled(FAINT),
    ];
    row.extend(cells(category.points.first()));
    row.push(Cell::right(threshold).styled(BOLD));
    row.extend(cells(best));
    row
}
