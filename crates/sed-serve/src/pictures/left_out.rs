//! The entries of folders that are not segmented.

use std::path::{Path, PathBuf};

/// Names that are kept of each kind; the others are counted only.
const KEPT: usize = 5;

/// Entries that are left out, by the reason.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    pub(super) others: Named,
    pub(super) folders: Named,
    pub(super) links: Named,
    pub(super) results: Named,
}

/// Paths: how many, and the first of them.
#[derive(Debug, Default)]
pub(super) struct Named {
    count: u64,
    first: Vec<PathBuf>,
}

impl Named {
    /// Adds entries of a folder.
    pub(super) fn add<'a>(&mut self, folder: &Path, names: impl IntoIterator<Item = &'a std::ffi::OsString>) {
        for name in names {
            self.count += 1;
            if self.first.len() < KEPT {
                self.first.push(folder.join(name));
            }
        }
    }

    /// The number with the word for it, and the first names.
    fn line(&self, one: &str, many: &str, rest: &str) -> Option<String> {
        let names: Vec<String> = self.first.iter().map(|path| path.display().to_string()).collect();
        let more = if self.count > KEPT as u64 { ", …" } else { "" };
        let word = if self.count == 1 { one } else { many };
        (self.count > 0)
            .then(|| format!("left out: {} {word}, {rest}: {}{more}", self.count, names.join(", ")))
    }
}

impl LeftOut {
    /// A line for each reason that there is.
    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = [
            self.others.line("file", "files", &format!("no picture by its ending ({})", super::NAMED)),
            self.folders.line("subfolder", "subfolders", "which --recursive includes"),
            self.links.line(
                "link to a folder",
                "links to folders",
                "which are not followed; name them yourself",
            ),
            self.results.line("result", "results", "written by an earlier run, or the output folder"),
        ];
        lines.into_iter().flatten().collect()
    }
}
