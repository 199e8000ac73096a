//! The figures of `bench model` as a table.

use std::io::Write;

use anyhow::Result;
use sed_model::config::SedConfig;

use super::{ModelResult, STAGES};
use crate::{
    commands::bench::machine::Machine,
    print::{self, BOLD, Cell, FAINT, Table, gap, styled, time},
};

/// What the stages are called at the head of a narrow column.
const SHORT: [&str; STAGES.len()] = ["encode", "cost map", "level 1", "level 2", "level 3", "finish"];

/// Prints one row for each combination.
pub(super) fn show(
    config: &SedConfig,
    dtype: &str,
    threads: usize,
    machine: &Machine,
    results: &[ModelResult],
) -> Result<()> {
    let out = &mut print::stdout();
    let facts = format!("{0} × {0} pixels in · {dtype} · {threads} threads", config.image_size);
    writeln!(out, "{}  {}", styled(BOLD, &config.name), styled(FAINT, facts))?;
    writeln!(out, "{}", styled(FAINT, machine.line()))?;
    gap(out)?;
    let mut table = Table::default();
    let heads = ["categories", "top_k", "batch", "images/s", "batch time"];
    let tail = ["survivors", "GFLOP/s", "peak memory"];
    let head = |head: &str| Cell::right(head).styled(FAINT);
    table.row(heads.iter().chain(&SHORT).chain(&tail).map(|text| head(text)));
    for result in results {
        let survivors = result.survivors.map(|survivors| format!("{survivors:.0}")).join(" ");
        let memory = result.peak_memory_bytes.map_or("?".to_owned(), |bytes| format!("{} MiB", bytes >> 20));
        let top_k = if result.top_k == 0 { "off".to_owned() } else { result.top_k.to_string() };
        let mut row = vec![
            Cell::right(result.categories.to_string()),
            Cell::right(top_k),
            Cell::right(result.batch.to_string()),
            Cell::right(format!("{:.2}", result.images_per_second)).styled(BOLD),
            Cell::right(time(result.batch_ms)),
        ];
        row.extend(result.stages.iter().map(|stage| Cell::right(time(stage.median_ms))));
        row.push(Cell::right(survivors));
        row.push(Cell::right(format!("{:.0}", result.encoder_gflops)));
        row.push(Cell::right(memory));
        table.row(row);
    }
    table.write("", out)?;
    writeln!(
        out,
        "{}",
        styled(
            FAINT,
            "times are medians of a whole batch; survivors are pairs of an image at levels 1 2 3; GFLOP/s of the encode stage"
        )
    )?;
    Ok(())
}
