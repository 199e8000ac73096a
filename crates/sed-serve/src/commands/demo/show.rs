//! The demo on the terminal.

use std::io::Write;

use anyhow::Result;
use sed_client::report::Ambiguity;

use super::Shown;
use crate::{
    embedded,
    print::{self, BOLD, Cell, FAINT, Table, WARNING, gap, styled},
    running::RunningServer,
};

pub(super) fn introduce(server: &RunningServer, embedded_model: bool) -> Result<()> {
    let (model, out) = (server.model(), &mut print::stdout());
    let facts = format!("{} × {0} pixels in, on {}", model.input_side, model.device);
    writeln!(out, "{}  {}", styled(BOLD, format!("serving {} at {}", model.name, server.url())), facts)?;
    if embedded_model {
        writeln!(out, "{}", styled(WARNING, embedded::CAVEAT))?;
    }
    Ok(gap(out)?)
}

/// Prints the report on the first picture, a line for each of the others, and what all of them show.
pub(super) fn pictures(pictures: &[Shown]) -> Result<()> {
    let out = &mut print::stdout();
    let Some((first, others)) = pictures.split_first() else { return Ok(()) };
    print::report(&first.report, out)?;
    if !others.is_empty() {
        let mut table = Table::default();
        let heads = ["picture", "time", "categories left", "largest", "overlay"];
        table.row(heads.map(|head| Cell::left(head).styled(FAINT)));
        others.iter().for_each(|picture| table.row(print::summary(&picture.report)));
        table.write("", out)?;
        gap(out)?;
    }
    writeln!(out, "{}  {}", styled(BOLD, "rejection"), saved(pictures))?;
    if let Some((picture, ambiguity)) = most_unsure(pictures) {
        writeln!(out, "{}  {picture}: {}", styled(BOLD, "unsure"), print::unsure(ambiguity))?;
    }
    Ok(gap(out)?)
}

/// Says how many words were rejected, and what that saved.
fn saved(pictures: &[Shown]) -> String {
    let count = pictures.len() as f64;
    let words: usize = pictures.iter().map(|picture| picture.report.answer.categories.len()).sum();
    let last = pictures.iter().filter_map(|picture| picture.report.answer.rejection.levels.last());
    let left: usize = last.map(|level| level.survivors.len()).sum();
    let with: f64 = pictures.iter().map(|picture| picture.decoder_ms).sum();
    let without: f64 = pictures.iter().map(|picture| picture.decoder_ms_without_rejection).sum();
    format!(
        "of {:.0} words {:.0} were rejected before the last level; from cost map to mask {} a picture, and \
         {} with rejection off: {:.1} times as fast, measured here",
        words as f64 / count,
        (words - left) as f64 / count,
        print::time(with / count),
        print::time(without / count),
        without / with
    )
}

/// The pair of words that share the largest part of a picture.
fn most_unsure(pictures: &[Shown]) -> Option<(&str, &Ambiguity)> {
    let reports = pictures.iter().map(|picture| &picture.report);
    let first = reports.filter_map(|report| Some((&*report.picture, report.answer.ambiguities.first()?)));
    first.max_by(|(_, one), (_, other)| one.area_share.total_cmp(&other.area_share))
}

pub(super) fn how_to_go_on(url: &str) -> Result<()> {
    let out = &mut print::stdout();
    let host = url.trim_start_matches("http://");
    writeln!(out, "{}  {url}", styled(BOLD, "see it in the browser"))?;
    writeln!(out, "{}", styled(BOLD, "try your own picture and words"))?;
    writeln!(out, "  sed-serve segment picture.jpg --words \"cat, grass, sky\" --server {url}")?;
    writeln!(out, "{}", styled(BOLD, "call it from anything that speaks gRPC (reflection is on)"))?;
    writeln!(out, "  grpcurl -plaintext {host} describe sed.v1.SegmentationService")?;
    writeln!(out, "  grpcurl -plaintext {host} sed.v1.SegmentationService/GetServerInfo")?;
    // One word without contrast words would claim the whole picture.
    let words = r#"{"categories":{"categories":[{"name":"cat"}]},"contrast":{"automatic":{}}}"#;
    let request = format!(r#"{{"image":{{"encoded":"%s"}},"vocabulary":{words}}}"#);
    writeln!(out, "  printf '{request}' \"$(base64 < picture.jpg | tr -d '\\n')\" |")?;
    writeln!(out, "    grpcurl -plaintext -d @ {host} sed.v1.SegmentationService/Segment")?;
    gap(out)?;
    Ok(writeln!(out, "serving on; Ctrl-C ends it")?)
}
