//! The report on one picture, and its row in a table of several.

use std::io::{self, Write};

use sed_client::report::{Ambiguity, Level};

use super::{BOLD, Cell, FAINT, Table, bar, category_colour, gap, some, styled, time};
use crate::report::Report;

/// Columns of a bar.
const BAR: usize = 20;
/// Categories that get a row of their own.
const ROWS: usize = 25;
/// Unsure pairs that get a line of their own.
const AMBIGUITIES: usize = 5;
/// Columns for a list of names.
const NAMES: usize = 64;
/// Indentation of every line but the heading.
const INDENT: &str = "  ";

/// Prints the whole report, in sections.
pub(crate) fn report(report: &Report, out: &mut impl Write) -> io::Result<()> {
    heading(report, out)?;
    categories(report, out)?;
    contrast(report, out)?;
    ambiguities(report, out)?;
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
            Cell::left(category.name.trim()),
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

fn contrast(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let Some(contrast) = &report.answer.contrast else { return Ok(()) };
    let share = contrast.pixels as f64 / report.answer.pixels().max(1) as f64;
    let count = contrast.names.len();
    let what = format!("{count} contrast words compete with yours and took {}", percent(share));
    let names = some(contrast.names.iter().map(String::as_str), NAMES);
    writeln!(out, "{INDENT}{}  {}", styled(FAINT, what), styled(FAINT, format!("({names})")))?;
    if report.usual_contrast {
        let off = "usual for fewer than five words; with --contrast off every pixel gets one of your words";
        writeln!(out, "{INDENT}{}", styled(FAINT, off))?;
    }
    Ok(())
}

fn ambiguities(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let found = &report.answer.ambiguities;
    for ambiguity in found.iter().take(AMBIGUITIES) {
        writeln!(out, "{INDENT}{}  {}", heading_of("unsure"), unsure(ambiguity))?;
    }
    if let Some(rest) = found.len().checked_sub(AMBIGUITIES).filter(|rest| *rest > 0) {
        writeln!(out, "{INDENT}{}", styled(FAINT, format!("+ {rest} more unsure pairs")))?;
    }
    Ok(())
}

/// A pair of categories that the model could hardly tell apart, as a person says it.
pub(crate) fn unsure(ambiguity: &Ambiguity) -> String {
    let Ambiguity { first, second, area_share, mean_margin, .. } = ambiguity;
    let (first, second) = (first.trim(), second.trim());
    let percent = match 100.0 * area_share {
        large if large >= 10.0 => format!("{large:.0}"),
        small => format!("{small:.1}"),
    };
    format!("{first} or {second}: {percent} % of the picture, margin {mean_margin:.2}")
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
        let arrow = match level.contrast_candidates {
            0 => arrow,
            contrast => format!("{arrow} (contrast {contrast} → {})", level.contrast_survivors),
        };
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
    let words = if misses == 1 { "word" } else { "words" };
    match (hits, misses) {
        (_, 0) => "all words from the cache".to_owned(),
        (0, _) => format!("{misses} {words} computed"),
        _ => format!("{misses} {words} computed, {hits} from the cache"),
    }
}

fn files(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let files = &report.files;
    let named = [
        ("overlay", &files.overlay),
        ("mask", &files.mask),
        ("categories", &files.categories),
        ("panoptic", &files.panoptic),
        ("report", &files.report),
    ];
    let mut table = Table::default();
    let planes = files.planes.iter().map(|path| ("plane", path));
    let named = named.into_iter().filter_map(|(name, path)| Some((name, path.as_ref()?)));
    let arrays = files.arrays.iter().map(|path| ("arrays", path));
    for (name, path) in named.chain(planes).chain(arrays) {
        table.row([Cell::left(name).styled(BOLD), Cell::whole(path.display().to_string())]);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsure_pair_is_a_sentence() {
        let of = |area_share, mean_margin| {
            unsure(&Ambiguity {
                first_index: 1,
                first: "sofa".into(),
                second_index: 4,
                second: "couch".into(),
                pixels: 7,
                area_share,
                mean_margin,
                text_similarity: None,
            })
        };
        assert_eq!(of(0.12, 0.03), "sofa or couch: 12 % of the picture, margin 0.03");
        assert_eq!(of(0.0141, 0.099), "sofa or couch: 1.4 % of the picture, margin 0.10");
    }
}
