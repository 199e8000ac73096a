//! The report on one picture, and its row in a table of several.

use std::io::{self, Write};

use sed_client::report::Level;

use super::{BOLD, Cell, FAINT, Table, bar, category_colour, gap, some, styled, time};
use crate::report::Report;

/// Columns of a bar.
const BAR: usize = 20;
/// Categories that get a row of their own.
const ROWS: usize = 25;
/// Columns for a list of names.
const NAMES: usize = 64;
/// Indentation of every line but the heading.
const INDENT: &str = "  ";

/// Prints the whole report, in sections.
pub(crate) fn report(report: &Report, out: &mut impl Write) -> io::Result<()> {
    heading(report, out)?;
    categories(report, out)?;
    gap(out)?;
    rejection(report, out)?;
    gap(out)?;
    times(report, out)?;
    files(report, out)?;
    gap(out)
}

fn heading(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let size = format!("{} × {}", report.answer.width, report.answer.height);
    let facts = [size, report.answer.model.name.clone(), time(report.answer.latency.total_ms)].join(" · ");
    writeln!(out, "{}  {}", styled(BOLD, &report.picture), styled(FAINT, facts))
}

fn categories(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let found = report.answer.found();
    let mut table = Table::default();
    let heads = ["", "category", "area", "", "score"];
    table.row(heads.map(|head| match head {
        "area" | "score" => Cell::right(head).styled(FAINT),
        _ => Cell::left(head).styled(FAINT),
    }));
    for category in found.iter().take(ROWS) {
        let colour = category_colour(category.index);
        let share = f64::from(category.area_share);
        table.row([
            Cell::left("■").styled(colour),
            Cell::left(&category.name),
            Cell::right(percent(share)),
            Cell::left(bar(share, BAR)).styled(colour),
            Cell::right(format!("{:.2}", category.mean_score)),
        ]);
    }
    if let Some(rest) = found.get(ROWS..).filter(|rest| !rest.is_empty()) {
        let share: f32 = rest.iter().map(|category| category.area_share).sum();
        let [name, share] = [format!("+ {} more", rest.len()), percent(share.into())];
        table.row([Cell::left(""), Cell::left(name).styled(FAINT), Cell::right(share).styled(FAINT)]);
    }
    if report.answer.unlabelled_pixels > 0 {
        let share = report.answer.unlabelled_share();
        table.row([
            Cell::left("□").styled(FAINT),
            Cell::left("unlabelled").styled(FAINT),
            Cell::right(percent(share)).styled(FAINT),
            Cell::left(bar(share, BAR)).styled(FAINT),
        ]);
    }
    table.write(INDENT, out)?;
    let absent = report.answer.categories.iter().filter(|category| category.pixels == 0);
    let absent: Vec<&str> = absent.map(|category| category.name.as_str()).collect();
    if !absent.is_empty() {
        let names = some(absent.into_iter(), NAMES);
        writeln!(out, "{INDENT}{}", styled(FAINT, format!("not found: {names}")))?;
    }
    Ok(())
}

fn rejection(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let rejection = &report.answer.rejection;
    if rejection.top_k == 0 {
        let count = report.answer.categories.len();
        return writeln!(
            out,
            "{INDENT}{}  off: all {count} went through every level",
            heading_of("rejection")
        );
    }
    writeln!(out, "{INDENT}{}  top_k {}", heading_of("rejection"), rejection.top_k)?;
    let mut table = Table::default();
    for level in &rejection.levels {
        let arrow = format!("{} → {}", level.candidates, level.survivors.len());
        let rejected = some(report.answer.names(&level.rejected), NAMES);
        let names = if rejected.is_empty() { String::new() } else { format!("without {rejected}") };
        table.row([
            Cell::left(format!("level {}", level.level)),
            Cell::left(arrow),
            Cell::whole(names).styled(FAINT),
        ]);
    }
    table.write(INDENT, out)
}

fn times(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let latency = &report.answer.latency;
    let waited: f64 = latency.stages.iter().map(|stage| stage.wait_ms).sum();
    writeln!(out, "{INDENT}{}", heading_of("time"))?;
    let mut table = Table::default();
    for stage in &latency.stages {
        let note = match stage.stage.as_str() {
            "text_embedding" => text_note(report),
            "cost_map" if latency.image_cache_hit => "image from the cache".to_owned(),
            _ => String::new(),
        };
        table.row([
            Cell::left(stage.stage.replace('_', " ")),
            Cell::right(time(stage.duration_ms)),
            Cell::left(bar(stage.duration_ms / latency.total_ms, BAR)),
            Cell::whole(note).styled(FAINT),
        ]);
    }
    // Waits below a millisecond are not worth a line.
    if waited >= 1.0 {
        let bar = Cell::left(bar(waited / latency.total_ms, BAR));
        table.row([Cell::left("waiting"), Cell::right(time(waited)), bar]);
    }
    table.row([Cell::left("total"), Cell::right(time(latency.total_ms)).styled(BOLD)]);
    table.write(INDENT, out)
}

fn text_note(report: &Report) -> String {
    let (hits, misses) = (report.answer.latency.text_cache_hits, report.answer.latency.text_cache_misses);
    if report.answer.latency.vocabulary_cache_hit {
        return "the whole vocabulary from the cache".to_owned();
    }
    match (hits, misses) {
        (_, 0) => "all words from the cache".to_owned(),
        (0, _) => format!("{misses} words computed"),
        _ => format!("{misses} words computed, {hits} from the cache"),
    }
}

fn files(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let files = &report.files;
    let named = [("overlay", &files.overlay), ("mask", &files.mask), ("report", &files.report)];
    let mut table = Table::default();
    for (name, path) in named {
        if let Some(path) = path {
            table.row([Cell::left(name).styled(BOLD), Cell::whole(path.display().to_string())]);
        }
    }
    gap(out)?;
    table.write(INDENT, out)
}

/// A table row for one picture: name, time, numbers of categories by level, the largest ones, overlay file.
pub(crate) fn summary(report: &Report) -> Vec<Cell> {
    let survivors = report.answer.rejection.levels.iter().map(|level: &Level| level.survivors.len());
    let counts = std::iter::once(report.answer.categories.len()).chain(survivors);
    let counts: Vec<String> = counts.map(|count| count.to_string()).collect();
    let found = report.answer.found();
    let largest = found.iter().map(|category| category.name.as_str());
    let overlay = report.files.overlay.as_ref().map(|path| path.display().to_string());
    vec![
        Cell::left(&report.picture).styled(BOLD),
        Cell::right(time(report.answer.latency.total_ms)),
        Cell::left(counts.join(" → ")),
        Cell::left(some(largest, 40)),
        Cell::whole(overlay.unwrap_or_default()).styled(FAINT),
    ]
}

fn heading_of(section: &str) -> impl std::fmt::Display {
    styled(BOLD, section)
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 0.05 => "< 0.1 %".to_owned(),
        percent => format!("{percent:.1} %"),
    }
}
