//! The files of a result.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sed_client::{Answer, v1::mask::Content};

use crate::report::{Files, Report};

const OVERLAY: &str = ".overlay.png";
const MASK: &str = ".mask.png";
const SCORE: &str = ".score.png";
const RUNNER_UP: &str = ".runner-up.png";
const MARGIN: &str = ".margin.png";

/// Endings of the pictures of a result, by which they are not mistaken for pictures to segment.
pub(crate) const ENDINGS: [&str; 5] = [OVERLAY, MASK, SCORE, RUNNER_UP, MARGIN];

/// A folder for results. Two pictures of one name get different files.
#[derive(Debug)]
pub(crate) struct OutputFolder {
    folder: PathBuf,
    taken: HashSet<String>,
}

impl OutputFolder {
    /// Creates the folder if it does not exist.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned(), taken: HashSet::new() })
    }

    /// Writes overlay, mask and planes of an answer, and replaces existing files.
    pub(crate) fn write(&mut self, name: &str, answer: &Answer, with_report: bool) -> Result<Files> {
        let name = self.free_name(name);
        let path = |ending: &str| self.folder.join(format!("{name}{ending}"));
        let [overlay, mask] = [OVERLAY, MASK].map(path);
        write(&overlay, &answer.overlay_png)?;
        write(&mask, answer.index_png()?)?;
        let contents = answer.masks.iter().filter_map(|mask| mask.content.as_ref());
        let mut planes = Vec::new();
        for (ending, bytes) in contents.filter_map(plane) {
            let file = path(ending);
            write(&file, bytes)?;
            planes.push(file);
        }
        let report = with_report.then(|| path(".report.json"));
        Ok(Files { overlay: Some(overlay), mask: Some(mask), report, planes })
    }

    fn free_name(&mut self, name: &str) -> String {
        let mut free = name.to_owned();
        let mut number = 1;
        while !self.taken.insert(free.clone()) {
            number += 1;
            free = format!("{name}-{number}");
        }
        free
    }
}

/// The ending and the bytes of a plane of scores, runners-up or margins.
fn plane(content: &Content) -> Option<(&'static str, &[u8])> {
    match content {
        Content::ScorePng(png) => Some((SCORE, png)),
        Content::RawScores(floats) => Some((".score.f16", floats)),
        Content::RunnerUpPng(png) => Some((RUNNER_UP, png)),
        Content::MarginPng(png) => Some((MARGIN, png)),
        Content::RawMargins(floats) => Some((".margin.f16", floats)),
        _ => None,
    }
}

/// Writes the report to the path in its `files`, if there is one.
pub(crate) fn write_report(report: &Report) -> Result<()> {
    match &report.files.report {
        Some(path) => write(path, serde_json::to_string_pretty(report)?.as_bytes()),
        None => Ok(()),
    }
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_given_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut folder = OutputFolder::create(folder.path()).unwrap();
        let names = ["a", "b", "a", "a-2", "a"].map(|name| folder.free_name(name));
        assert_eq!(names, ["a", "b", "a-2", "a-2-2", "a-3"]);
    }
}
