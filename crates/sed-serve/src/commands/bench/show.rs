//! The results of `bench load` and `bench sweep` as tables.

use std::io::Write;

use anyhow::Result;
use sed_bench::{
    Machine, Verdict,
    against::Comparison,
    run::{End, Pace, Plan},
    sweep::StepResult,
    tally::{Counts, LoadResult, Percentiles, SoFar},
};

use super::{
    pace::{figure, in_words},
    target::Target,
};
use crate::print::{self, BAD, BOLD, Cell, FAINT, GOOD, Table, WARNING, gap, styled, time};

/// Indentation of every line of a table.
const INDENT: &str = "  ";

/// The model, number format and device of the server.
pub(crate) fn subject(target: &Target) -> String {
    let model = target.info.model.clone().unwrap_or_default();
    format!("{} ({}) on {}", model.name, model.dtype, model.device)
}

/// Prints the measured server and the machine.
pub(crate) fn heading(target: &Target, machine: &Machine) -> Result<()> {
    let out = &mut print::stdout();
    let whose = if target.is_private() { "a private server" } else { "a server" };
    let version = format!("{whose} of version {}", target.info.server_version);
    writeln!(out, "{}  {}", styled(BOLD, subject(target)), styled(FAINT, version))?;
    let clients = if target.is_private() { "" } else { "clients on " };
    writeln!(out, "{}", styled(FAINT, format!("{clients}{}", machine.line())))?;
    Ok(gap(out)?)
}

/// The line on the progress of a run.
pub(crate) fn progress(pace: Pace, so_far: &SoFar) -> String {
    let (pace, in_flight) = (in_words(pace), so_far.in_flight);
    let Some(figures) = &so_far.figures else {
        return format!("{pace}: warming up · {in_flight} in flight");
    };
    let Counts { failed, dropped, .. } = figures.counts;
    let (rate, p50, p99) = (figures.rate, time(figures.p50), time(figures.p99));
    let now = format!("{rate:.1}/s · {in_flight} in flight");
    format!("{pace}: {now} · {failed} failed, {dropped} dropped · p50 {p50} · p99 {p99}")
}

/// Prints the result of one load.
pub(crate) fn load(plan: &Plan, result: &LoadResult) -> Result<()> {
    let out = &mut print::stdout();
    let measured = match plan.bounds.end {
        End::After(_) => format!("{:.1} s", result.seconds),
        End::Requests(requests) => format!("{requests} requests in {:.1} s", result.seconds),
    };
    let early = if result.interrupted { ", ended early" } else { "" };
    let rate = format!("{} images/s", figure(result.throughput));
    writeln!(out, "{}  {}, {measured}{early}", styled(BOLD, rate), in_words(plan.pace))?;
    writeln!(out, "{INDENT}{}", counts(&result.counts))?;
    for error in &result.errors {
        let what = if error.reason.is_empty() {
            error.code.clone()
        } else {
            format!("{} ({})", error.reason, error.code)
        };
        writeln!(out, "{INDENT}{}", styled(BAD, format!("{} × {what}", error.count)))?;
    }
    gap(out)?;
    latency(result).write(INDENT, out)?;
    gap(out)?;
    stages(result).write(INDENT, out)?;
    let cache = result.text_cache;
    let phrases = cache.hits + cache.misses;
    let share = 100.0 * cache.hits as f64 / phrases.max(1) as f64;
    let line = format!("text embeddings: {phrases} phrases, {share:.1} % from the cache");
    writeln!(out, "{INDENT}{}", styled(FAINT, line))?;
    Ok(gap(out)?)
}

fn counts(counts: &Counts) -> String {
    let Counts { attempted, succeeded, failed, dropped, abandoned } = *counts;
    let mut text = format!("{attempted} requests: {}", styled(GOOD, format!("{succeeded} answered")));
    for (count, what, style) in [
        (failed, "failed", BAD),
        (dropped, "dropped, as too many were outstanding", WARNING),
        (abandoned, "abandoned at the end", WARNING),
    ] {
        if count > 0 {
            text = format!("{text}, {}", styled(style, format!("{count} {what}")));
        }
    }
    text
}

fn latency(result: &LoadResult) -> Table {
    let mut table = Table::default();
    let heads = ["mean", "p50", "p90", "p95", "p99", "p99.9", "max"];
    let head = |head| Cell::right(head).styled(FAINT);
    table.row(std::iter::once(Cell::left("latency").styled(BOLD)).chain(heads.map(head)));
    let mut row = |name: &str, p: &Percentiles| {
        let times = [p.mean, p.p50, p.p90, p.p95, p.p99, p.p99_9, p.max].map(|ms| Cell::right(time(ms)));
        table.row(std::iter::once(Cell::left(name)).chain(times));
    };
    row("client", &result.latency_ms);
    row("server", &result.server_ms);
    row("between", &result.client_overhead_ms);
    if result.send_delay_ms.max >= 1.0 {
        row("sent late by", &result.send_delay_ms);
    }
    table
}

fn stages(result: &LoadResult) -> Table {
    let mut table = Table::default();
    let heads = ["wait", "p95", "time", "p95", "images", "most", "pairs", "most"];
    let head = |head| Cell::right(head).styled(FAINT);
    table.row(std::iter::once(Cell::left("stage").styled(BOLD)).chain(heads.map(head)));
    for stage in &result.stages {
        let times = [stage.wait_ms.mean, stage.wait_ms.p95, stage.duration_ms.mean, stage.duration_ms.p95];
        let mut row = vec![Cell::left(stage.stage.replace('_', " "))];
        row.extend(times.map(|ms| Cell::right(time(ms))));
        if let Some(sizes) = &stage.batches {
            let sizes = [
                figure(sizes.mean_images),
                sizes.max_images.to_string(),
                figure(sizes.mean_pairs),
                sizes.max_pairs.to_string(),
            ];
            // The encoder knows no pairs, and the text tower no images.
            let empty = [sizes[1] == "0", sizes[3] == "0"];
            let blank = |(index, size): (usize, String)| if empty[index / 2] { String::new() } else { size };
            let sizes = sizes.into_iter().enumerate().map(blank);
            row.extend(sizes.map(Cell::right));
        }
        table.row(row);
    }
    table
}

/// Prints the comparison of model and service.
pub(crate) fn comparison(comparison: &Comparison) -> Result<()> {
    let out = &mut print::stdout();
    if comparison.rounds.is_empty() {
        writeln!(out, "{}", styled(WARNING, "ended before model and service had both had a turn"))?;
        return Ok(gap(out)?);
    }
    let share = format!("{:.1} % of the model alone", 100.0 * comparison.ratio);
    let batch = format!("images/s; the model took {} at a time", comparison.model_batch);
    writeln!(out, "{}  {}", styled(BOLD, share), styled(FAINT, batch))?;
    let mut table = Table::default();
    let head = |head| Cell::right(head).styled(FAINT);
    table.row(["", "model", "service", ""].map(head));
    let mut row = |name: String, model: f64, service: f64| {
        let share = format!("{:.1} %", 100.0 * service / model.max(1e-9));
        table.row([
            Cell::left(name),
            Cell::right(figure(model)),
            Cell::right(figure(service)),
            Cell::right(share),
        ]);
    };
    for (turn, round) in comparison.rounds.iter().enumerate() {
        row(format!("turn {}", turn + 1), round.model_images_per_second, round.service_images_per_second);
    }
    row("mean".to_owned(), comparison.model_images_per_second, comparison.service_images_per_second);
    table.write(INDENT, out)?;
    Ok(gap(out)?)
}

/// Prints all steps of a sweep, and its knee.
pub(crate) fn sweep(steps: &[StepResult], verdict: Verdict) -> Result<()> {
    let out = &mut print::stdout();
    let closed = matches!(steps.first().map(|step| step.pace), Some(Pace::Closed { .. }));
    let mut table = Table::default();
    let load = if closed { "clients" } else { "requests/s" };
    let heads = [load, "images/s", "p50", "p95", "p99", "failed", "dropped", "encode batch", "level 1 pairs"];
    table.row(heads.map(|head| Cell::right(head).styled(FAINT)));
    for (index, step) in steps.iter().enumerate() {
        let (result, latency) = (&step.result, &step.result.latency_ms);
        let style = if verdict.knee == Some(index) { BOLD } else { anstyle::Style::new() };
        let batch = |stage: &str| result.stages.iter().find(|found| found.stage == stage)?.batches;
        let cells = [
            if closed { step.load.to_string() } else { figure(step.load) },
            figure(result.throughput),
            time(latency.p50),
            time(latency.p95),
            time(latency.p99),
            result.counts.failed.to_string(),
            result.counts.dropped.to_string(),
            batch("encode").map_or(String::new(), |sizes| figure(sizes.mean_images)),
            batch("decode_level_1").map_or(String::new(), |sizes| figure(sizes.mean_pairs)),
        ];
        let knee = if verdict.knee == Some(index) { "knee" } else { "" };
        table.row(
            cells
                .map(|cell| Cell::right(cell).styled(style))
                .into_iter()
                .chain([Cell::left(knee).styled(GOOD)]),
        );
    }
    table.write("", out)?;
    gap(out)?;
    match verdict.knee.map(|knee| &steps[knee]) {
        Some(knee) => {
            let end = if verdict.over { "" } else { "; the sweep ended before the server was saturated" };
            let throughput = figure(knee.result.throughput);
            let latency = time(knee.result.latency_ms.p50);
            let pace = in_words(knee.pace);
            writeln!(out, "knee: {pace}, {throughput} images/s at a median of {latency}{end}")?;
        }
        None => writeln!(out, "{}", styled(BAD, "nothing was answered"))?,
    }
    Ok(())
}
