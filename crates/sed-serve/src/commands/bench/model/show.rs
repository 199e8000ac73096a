//! The figures of `bench model` as tables.

use std::io::{self, Write};

use anyhow::Result;
use sed_bench::model::{Arithmetic, CellResult, Cost, PeakOf, STAGES};

use super::report::Report;
use crate::{
    commands::bench::pace::figure,
    print::{self, BOLD, Cell, FAINT, Table, WARNING, gap, styled, time},
};

/// Names of the stages at the heads of narrow columns.
const SHORT: [&str; STAGES.len()] = ["encode", "cost map", "level 1", "level 2", "level 3", "finish"];

/// Prints times, arithmetic, and the cost of a category.
pub(super) fn show(report: &Report<'_>) -> Result<()> {
    let out = &mut print::stdout();
    head(report, out)?;
    let results: Vec<&CellResult> = report.runs.iter().flat_map(|run| &run.results).collect();
    let (submitted, staged): (Vec<&CellResult>, Vec<&CellResult>) =
        results.iter().partition(|result| result.submission.is_some());
    if !staged.is_empty() {
        section("Time of a batch, medians", out)?;
        times(&staged).write("  ", out)?;
    }
    if !submitted.is_empty() {
        section("Time of a batch that goes as one submission, as the host sees it, medians", out)?;
        submission_times(&submitted).write("  ", out)?;
        section("Time of a batch on the GPU's own clock, medians", out)?;
        device_times(&submitted).write("  ", out)?;
    }
    section("Arithmetic: GFLOP as computed (official order), GFLOP/s (share of the machine's peak)", out)?;
    arithmetic(&results).write("  ", out)?;
    if !report.costs.is_empty() {
        section("What one more costs, by least squares, for each image", out)?;
        costs(&report.costs).write("  ", out)?;
    }
    section("Words, none of them known before", out)?;
    words(report).write("  ", out)?;
    gap(out)?;
    notes(report, &results, out)?;
    Ok(())
}

fn head(report: &Report<'_>, out: &mut impl Write) -> io::Result<()> {
    let side = report.runs.first().map_or(0, |run| run.config.image_size);
    let peaks = report.peaks;
    let facts =
        format!("{side} × {side} pixels in · {} threads · {} rounds", peaks.threads, report.args.rounds);
    writeln!(out, "{}  {}", styled(BOLD, report.subject()), styled(FAINT, facts))?;
    writeln!(out, "{}", styled(FAINT, report.machine.line()))?;
    let bf16 = match (peaks.bf16_gflops, peaks.bf16_gflops_one_thread) {
        (Some(all), Some(one)) => format!("{} ({} on one thread)", figure(all), figure(one)),
        _ => "no instruction for it".to_owned(),
    };
    let f32 = format!("{} ({} on one thread)", figure(peaks.f32_gflops), figure(peaks.f32_gflops_one_thread));
    writeln!(out, "{}", styled(FAINT, format!("peak in registers, GFLOP/s: f32 {f32}, bf16 {bf16}")))
}

fn section(title: &str, out: &mut impl Write) -> io::Result<()> {
    gap(out)?;
    writeln!(out, "{}", styled(BOLD, title))
}

/// The cells that identify a combination.
fn names(result: &CellResult) -> Vec<Cell> {
    let cell = &result.cell;
    vec![
        Cell::left(result.device.as_str()),
        Cell::left(result.dtype.as_str()),
        Cell::right(cell.categories.to_string()),
        Cell::right(cell.rejection.to_string()),
        Cell::right(cell.batch.to_string()),
    ]
}

fn heads(table: &mut Table, names: &[&str]) {
    let head = |(index, name): (usize, &&str)| {
        // Device and number format stand at the left, numbers at the right.
        if index < 2 { Cell::left(*name).styled(FAINT) } else { Cell::right(*name).styled(FAINT) }
    };
    table.row(names.iter().enumerate().map(head));
}

/// The heads of the cells behind the times.
const TAIL: [&str; 3] = ["images/s", "survivors", "memory"];

/// Those cells.
fn tail(result: &CellResult) -> [Cell; TAIL.len()] {
    let memory = result.peak_memory_bytes.map_or("?".to_owned(), |bytes| format!("{} MiB", bytes >> 20));
    [
        Cell::right(figure(result.images_per_second)).styled(BOLD),
        Cell::right(result.survivors.map(|survivors| format!("{survivors:.0}")).join(" ")),
        Cell::right(memory),
    ]
}

const NAMES: [&str; 5] = ["device", "dtype", "categories", "top_k", "batch"];

fn times(results: &[&CellResult]) -> Table {
    let mut table = Table::default();
    heads(&mut table, &[&NAMES[..], &["all"], &SHORT, &TAIL].concat());
    for result in results {
        let mut row = names(result);
        row.push(Cell::right(time(result.batch_ms)));
        row.extend(result.stages.iter().map(|stage| Cell::right(time(stage.ms()))));
        row.extend(tail(result));
        table.row(row);
    }
    table
}

fn submission_times(results: &[&CellResult]) -> Table {
    let mut table = Table::default();
    heads(&mut table, &[&NAMES[..], &["all", "submission", "answers"], &TAIL].concat());
    for result in results {
        let Some(submission) = result.submission else { continue };
        let mut row = names(result);
        let times = [result.batch_ms, submission.submit_ms, submission.answers_ms];
        row.extend(times.map(|ms| Cell::right(time(ms))));
        row.extend(tail(result));
        table.row(row);
    }
    table
}

fn device_times(results: &[&CellResult]) -> Table {
    let mut table = Table::default();
    heads(&mut table, &[&NAMES[..], &["all"], &SHORT, &["an image"]].concat());
    for result in results {
        let Some(all) = result.device_ms else { continue };
        let mut row = names(result);
        row.push(Cell::right(time(all)));
        row.extend(result.stages.iter().filter_map(|stage| stage.device_ms).map(|ms| Cell::right(time(ms))));
        row.push(Cell::right(time(all / result.cell.batch as f64)).styled(BOLD));
        table.row(row);
    }
    table
}

fn arithmetic(results: &[&CellResult]) -> Table {
    let mut table = Table::default();
    heads(&mut table, &[&NAMES[..], &["GFLOP", "all"], &SHORT[..5]].concat());
    for result in results {
        let mut row = names(result);
        let work = &result.work;
        row.push(Cell::right(format!("{} ({})", figure(work.gflop), figure(work.reference_gflop))));
        row.push(Cell::right(speed(work)).styled(BOLD));
        let stages = result.stages.iter().filter_map(|stage| stage.work.as_ref());
        row.extend(stages.map(|work| Cell::right(speed(work))));
        table.row(row);
    }
    table
}

/// GFLOP/s, and the share of the peak where that is known.
fn speed(work: &Arithmetic) -> String {
    match work.share_of_peak {
        Some(share) => format!("{} ({:.0} %)", figure(work.gflops), 100.0 * share),
        None => figure(work.gflops),
    }
}

fn costs(costs: &[Cost]) -> Table {
    let mut table = Table::default();
    heads(&mut table, &["device", "dtype", "batch", "of a", "cost", "floor", "cost / floor", "R²", "points"]);
    for cost in costs {
        let ms = |ms: f64| format!("{ms:.3} ms");
        let times = cost.floor_ms.map(|floor| format!("{:.2}", cost.line.slope / floor));
        table.row([
            Cell::left(cost.device.as_str()),
            Cell::left(cost.dtype.as_str()),
            Cell::right(cost.batch.to_string()),
            Cell::right(cost.over.unit()),
            Cell::right(ms(cost.line.slope)).styled(BOLD),
            Cell::right(cost.floor_ms.map_or("?".to_owned(), ms)),
            Cell::right(times.unwrap_or_else(|| "?".to_owned())),
            Cell::right(format!("{:.4}", cost.line.r_squared)),
            Cell::right(cost.line.points.to_string()),
        ]);
    }
    table
}

fn words(report: &Report<'_>) -> Table {
    let mut table = Table::default();
    heads(&mut table, &["device", "dtype", "categories", "phrases", "all", "a phrase", "GFLOP", "GFLOP/s"]);
    for run in report.runs {
        let (text, work) = (&run.text, &run.text.work);
        table.row([
            Cell::left(text.device.as_str()),
            Cell::left(text.dtype.as_str()),
            Cell::right(text.categories.to_string()),
            Cell::right(text.phrases.to_string()),
            Cell::right(time(1e3 * text.seconds)),
            Cell::right(time(1e3 * text.seconds / text.phrases.max(1) as f64)),
            Cell::right(format!("{} ({})", figure(work.gflop), figure(work.reference_gflop))),
            Cell::right(speed(work)),
        ]);
    }
    table
}

fn notes(report: &Report<'_>, results: &[&CellResult], out: &mut impl Write) -> io::Result<()> {
    let mut note = |text: &str| writeln!(out, "{}", styled(FAINT, text));
    note(
        "survivors: pairs of an image at levels 1 2 3; finish resamples and compares, and is not counted as arithmetic",
    )?;
    let memory = match results.first().map(|result| result.peak_memory_of) {
        Some(PeakOf::Program) => {
            "memory: the largest resident set (VmHWM) since the program began; the system does not let it be reset"
        }
        _ => "memory: the largest resident set (VmHWM, reset for each combination), model included",
    };
    note(memory)?;
    note(
        "cost of a category: the line through the time behind the encoder, rejection off; of a survivor: through \
         that of the three levels over their mean survivors; floor: its arithmetic at the machine's peak",
    )?;
    if results.iter().any(|result| result.submission.is_some()) {
        note(
            "submission: from pixels in pinned memory to raw results; answers: maps made of them by one thread, which \
             a server does during the next submission; stages, their GFLOP/s and the costs: the GPU's own clock",
        )?;
    }
    for skipped in report.runs.iter().flat_map(|run| &run.skipped) {
        let (cell, reason) = (skipped.cell.line(), &skipped.reason);
        writeln!(out, "{} {cell}, {}: {reason}", styled(WARNING, "not measured:"), skipped.dtype)?;
    }
    if report.interrupted {
        writeln!(out, "{}", styled(WARNING, "ended early; what was measured until then stands above"))?;
    }
    Ok(())
}
