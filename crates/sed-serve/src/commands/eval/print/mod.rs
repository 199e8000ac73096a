//! Scores as tables.

mod confusions;
mod curves;
mod markdown;
mod official;
mod single;

use std::io::{self, Write};

use sed_client::report::Model;
use sed_eval::{Measured, Parts, rejection::Row, single as single_words, thresholds};
use serde::Serialize;

pub(super) use self::markdown::Protocol;
pub(super) use self::official::DatasetRow;
use crate::print::{self, BOLD, Cell, FAINT, Table, gap, styled, time};

/// Scores to print as one JSON object, or as tables.
#[derive(Debug, Serialize)]
pub(super) struct Scores<'a> {
    pub(super) model: &'a Model,
    #[serde(flatten)]
    pub(super) results: Results<'a>,
}

/// The results of one kind.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Results<'a> {
    Scenes(&'a [Measured]),
    Dataset(&'a Measured),
    Table(&'a [DatasetRow]),
    Rejection(&'a [Row]),
    Thresholds(&'a [thresholds::Measured]),
    Single(&'a [single_words::Row]),
}

impl Scores<'_> {
    /// Prints the results, with a table of the categories, or their curves, for `per_category`.
    pub(super) fn print(&self, as_json: bool, per_category: bool) -> anyhow::Result<()> {
        if as_json {
            return print::json_line(self);
        }
        let out = &mut print::stdout();
        writeln!(out, "{}  {}", styled(BOLD, &self.model.name), styled(FAINT, &self.model.digest))?;
        match self.results {
            Results::Scenes(runs) => {
                scenes(runs, out)?;
                if per_category {
                    runs.iter().try_for_each(|run| categories(run, out))?;
                }
            }
            Results::Dataset(run) => {
                dataset(run, out)?;
                confusions::print(&run.confusions, out)?;
                if per_category {
                    categories(run, out)?;
                }
            }
            Results::Table(rows) => official::print(rows, out)?,
            Results::Rejection(rows) => rejection(rows, out)?,
            Results::Thresholds(runs) => {
                runs.iter().try_for_each(|run| curves::print(run, per_category, out))?;
            }
            Results::Single(rows) => single::print(rows, out)?,
        }
        Ok(())
    }
}

/// Prints the figures of a dataset as a Markdown table.
pub(super) fn markdown(
    model: &Model,
    dataset: &str,
    protocol: &Protocol,
    run: &Measured,
) -> anyhow::Result<()> {
    Ok(markdown::print(model, dataset, protocol, run, &mut print::stdout())?)
}

/// The heads of a table: the first column is left-aligned, the others are numbers.
fn heads(heads: &[&str]) -> Vec<Cell> {
    let cell = |(column, head): (usize, &&str)| match column {
        0 => Cell::left(*head).styled(FAINT),
        _ => Cell::right(*head).styled(FAINT),
    };
    heads.iter().enumerate().map(cell).collect()
}

fn scenes(runs: &[Measured], out: &mut impl Write) -> io::Result<()> {
    let mut table = Table::default();
    let columns = [
        "condition",
        "scenes",
        "words",
        "objects",
        "stuff",
        "all",
        "pixels",
        "survivors by level",
        "images/s",
        "latency",
    ];
    table.row(heads(&columns));
    for run in runs {
        let (objects, stuff) = match run.parts {
            Some(Parts { object_miou, stuff_miou }) => (object_miou, stuff_miou),
            None => (None, None),
        };
        let figures = [objects, stuff, run.figures.miou, run.figures.pixel_accuracy];
        let mut row = vec![
            Cell::left(run.condition.clone().unwrap_or_default()).styled(BOLD),
            Cell::right(run.pictures.to_string()),
            Cell::right(run.words.to_string()),
        ];
        row.extend(figures.map(|figure| Cell::right(percent(figure))));
        row.extend([
            Cell::right(survivors(&run.pace.survivors)),
            Cell::right(format!("{:.2}", run.pace.images_per_second)),
            Cell::right(time(run.pace.mean_latency_ms)),
        ]);
        table.row(row);
    }
    table.write("  ", out)?;
    let note =
        "objects, stuff, all: mean IoU in percent; pixels: the share of them that is right, in percent";
    writeln!(out, "  {}", styled(FAINT, note))
}

fn dataset(run: &Measured, out: &mut impl Write) -> io::Result<()> {
    let figures = &run.figures;
    let all = run.ignored_pixels + run.labelled_pixels;
    let asked = run.pictures > run.resumed;
    let pace = if asked { format!("{:.2}", run.pace.images_per_second) } else { "–".to_owned() };
    let rows = [
        ("words", run.words.to_string(), background(run)),
        ("mean IoU (mIoU)", percent(figures.miou), format!("over {} categories", labelled(run))),
        ("frequency-weighted IoU (fwIoU)", percent(figures.frequency_weighted_iou), String::new()),
        ("mean accuracy (mACC)", percent(figures.mean_accuracy), String::new()),
        (
            "pixel accuracy (pACC)",
            percent(figures.pixel_accuracy),
            format!("{} of all pixels ignored", share(run.ignored_pixels, all)),
        ),
        ("survivors by level", survivors(&run.pace.survivors), String::new()),
        ("images/s", pace, of_pictures(run)),
        ("mean latency", time(run.pace.mean_latency_ms), String::new()),
    ];
    let mut table = Table::default();
    for (what, value, note) in rows {
        table.row([Cell::left(what), Cell::right(value).styled(BOLD), Cell::whole(note).styled(FAINT)]);
    }
    table.write("  ", out)
}

/// The categories that some label has, over which the means go, of all.
fn labelled(run: &Measured) -> String {
    let labelled = run.categories.iter().filter(|category| category.iou.is_some()).count();
    format!("{labelled} of {}", run.categories.len())
}

/// The number of words that count as one category, if there are any.
fn background(run: &Measured) -> String {
    run.background_words.map_or_else(String::new, |words| format!("{words} of them count as background"))
}

/// Counts the pictures that the figures are about, and those that failed.
fn of_pictures(run: &Measured) -> String {
    let mut scored = format!("of {} pictures", run.pictures);
    if run.resumed > 0 {
        scored += &format!(", {} from the file of counts", run.resumed);
    }
    if run.failed.is_empty() { scored } else { format!("{scored}, {} failed", run.failed.len()) }
}

/// The categories that some label has, the best first.
fn categories(run: &Measured, out: &mut impl Write) -> io::Result<()> {
    gap(out)?;
    if let Some(condition) = &run.condition {
        writeln!(out, "{}  {}", styled(BOLD, condition), styled(FAINT, format!("{} words", run.words)))?;
    }
    let mut found: Vec<_> =
        run.categories.iter().filter_map(|category| category.iou.map(|iou| (iou, category))).collect();
    found.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    let mut table = Table::default();
    table.row(heads(&["category", "IoU", "accuracy", "labelled"]));
    for (iou, category) in found {
        table.row([
            Cell::left(&category.name),
            Cell::right(percent(Some(iou))),
            Cell::right(percent(category.accuracy)),
            Cell::right(share(category.labelled_pixels, run.labelled_pixels)).styled(FAINT),
        ]);
    }
    table.write("  ", out)
}

fn rejection(rows: &[Row], out: &mut impl Write) -> io::Result<()> {
    let mut table = Table::default();
    let columns = [
        "condition",
        "top_k",
        "survivors by level",
        "agreement",
        "pixels",
        "lost words",
        "decoder",
        "faster",
        "whole",
        "faster",
    ];
    table.row(heads(&columns));
    for row in rows {
        let top_k = if row.top_k == 0 { "off".to_owned() } else { row.top_k.to_string() };
        table.row([
            Cell::left(&row.condition).styled(BOLD),
            Cell::right(top_k),
            Cell::right(survivors(&row.survivors)),
            Cell::right(percent(row.agreement)),
            Cell::right(percent(row.pixel_accuracy)),
            Cell::right(format!("{:.2}", row.lost_words)),
            Cell::right(time(row.decoder_ms)),
            Cell::right(format!("{:.2} ×", row.decoder_speedup)),
            Cell::right(time(row.whole_ms)),
            Cell::right(format!("{:.2} ×", row.speedup)),
        ]);
    }
    table.write("  ", out)?;
    let note = "agreement: pixels with the word of the full path, in percent; decoder: from cost map to index map; \
                whole: without embedding words";
    writeln!(out, "  {}", styled(FAINT, note))
}

fn percent(figure: Option<f64>) -> String {
    figure.map_or("–".to_owned(), |figure| format!("{figure:.2}"))
}

fn share(part: u64, whole: u64) -> String {
    percent_of_whole(100.0 * part as f64 / whole.max(1) as f64)
}

fn percent_of_whole(percent: f64) -> String {
    format!("{percent:.1} %")
}

fn survivors(means: &[f64]) -> String {
    let means: Vec<String> = means.iter().map(|mean| format!("{mean:.1}")).collect();
    means.join(" → ")
}
