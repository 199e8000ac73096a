//! The counts of a run's pictures in a file, as they come, so that the run can go on later.
//!
//! JSON lines: the first is the [`Run`], each other one a [`Record`]. A line that is cut off, as the end of
//! the process leaves it, is removed when the file is opened again.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Mutex,
};

use sed_image::UNLABELLED;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Cause, Error, Result},
    run::Run,
    score::Score,
};

/// The most pixels of a picture in a file: sums over all pictures of a run stay far below 64 bits.
const MOST_PIXELS: u64 = 1 << 40;

/// The counts of one picture.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The picture's file below the folder of pictures.
    pub(crate) picture: String,
    /// Category in the label, category in the answer (none for none), pixels.
    counts: Vec<(u16, Option<u16>, u64)>,
    /// Pixels whose label is no category.
    ignored: u64,
    /// The values of the label image and their pixels.
    pub(crate) label_values: Vec<(u16, u64)>,
    /// True if the picture was turned upright while its label was not.
    pub(crate) turned: bool,
    /// Categories that went into each decoder level.
    pub(crate) survivors: Vec<usize>,
    /// From the request's arrival at the server to its finished answer.
    pub(crate) latency_ms: f64,
}

impl Record {
    /// A record of a picture with these counts.
    pub(crate) fn new(picture: String, score: &Score) -> Self {
        let count = |((label, answer), pixels)| (label, (answer != UNLABELLED).then_some(answer), pixels);
        let counts = score.cells().map(count).collect();
        Self { picture, counts, ignored: score.ignored, ..Self::default() }
    }

    /// Reads a line of a file, which was perhaps edited: all categories are among `categories`, and there are no more
    /// pixels than pictures have.
    fn read(line: &[u8], categories: usize) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let mut pixels = record.ignored;
        for (label, answer, count) in &record.counts {
            let largest = usize::from(answer.map_or(*label, |answer| answer.max(*label)));
            if largest >= categories {
                return Err(format!("category {largest} of {categories}"));
            }
            pixels = pixels.saturating_add(*count);
        }
        if pixels > MOST_PIXELS {
            return Err(format!("{pixels} pixels in one picture; at most {MOST_PIXELS}"));
        }
        Ok(record)
    }

    /// The counts.
    pub(crate) fn score(&self) -> Score {
        let mut score = Score::default();
        for (label, answer, pixels) in &self.counts {
            score.count((*label, answer.unwrap_or(UNLABELLED)), *pixels);
        }
        score.count((UNLABELLED, UNLABELLED), self.ignored);
        score
    }
}

/// A file to which counts are added.
#[derive(Debug)]
pub(crate) struct Saved {
    path: PathBuf,
    /// Locked against other processes.
    file: Mutex<File>,
}

impl Saved {
    /// Opens a file of counts, or begins it, and returns the pictures that it has.
    ///
    /// # Errors
    /// The file cannot be read or written, another process writes it, it holds something else, or it is of a
    /// run that differs from `run`.
    pub(crate) fn open(path: &Path, run: &Run) -> Result<(Self, HashMap<String, Record>)> {
        let fault = |source: Cause| Error::Saved { file: path.to_owned(), source };
        let mut header = serde_json::to_vec(run).map_err(|source| Error::Encoding { source })?;
        header.push(b'\n');
        let (mut file, content) = read(path).map_err(fault)?;
        let whole = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        if whole == 0 && !header.starts_with(&content) {
            return Err(Error::NoCounts(path.to_owned()));
        }
        let mut lines = content[..whole].split(|byte| *byte == b'\n').enumerate();
        let has_header = whole > 0;
        if has_header && let Some((_, first)) = lines.next() {
            let earlier = serde_json::from_slice(first).map_err(|_| Error::NoCounts(path.to_owned()))?;
            let differences = run.differences(&earlier);
            if !differences.is_empty() {
                return Err(Error::OtherRun { file: path.to_owned(), differences });
            }
        }
        let mut records = HashMap::new();
        for (index, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
            let record = Record::read(line, run.categories.len())
                .map_err(|reason| fault(format!("line {}: {reason}", index + 1).into()))?;
            records.insert(record.picture.clone(), record);
        }
        // Only now is it sure that the file is ours to change.
        if whole < content.len() {
            file.set_len(whole as u64).map_err(|error| fault(error.into()))?;
        }
        if !has_header {
            file.write_all(&header).map_err(|error| fault(error.into()))?;
        }
        Ok((Self { path: path.to_owned(), file: Mutex::new(file) }, records))
    }

    /// Adds a picture. Once it is written, the end of the process does not lose it.
    pub(crate) fn add(&self, record: &Record) -> Result<()> {
        let mut line = serde_json::to_vec(record).map_err(|source| Error::Encoding { source })?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        file.write_all(&line).map_err(|error| Error::Saved { file: self.path.clone(), source: error.into() })
    }
}

/// Opens a file for adding, makes it if it is not there, and reads it.
fn read(path: &Path) -> Result<(File, Vec<u8>), Cause> {
    // A pipe or a device has no end.
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err("it is no file; name a file that holds counts, or one that is not there yet".into());
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Err("another run is writing it; wait for that one".into()),
        // Some file systems have no locks.
        Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
            return Err(error.into());
        }
        _ => {}
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    Ok((file, content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::tests::run;

    fn record(picture: &str, pixels: u64) -> Record {
        let mut score = Score::default();
        score.count((0, 1), pixels);
        score.count((1, UNLABELLED), 2);
        score.count((UNLABELLED, UNLABELLED), 3);
        Record::new(picture.to_owned(), &score)
    }

    fn pictures(records: &HashMap<String, Record>) -> Vec<&str> {
        let mut names: Vec<&str> = records.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_file_that_is_cut_anywhere_has_the_pictures_before_the_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counts.jsonl");
        let (saved, none) = Saved::open(&path, &run("a")).unwrap();
        assert!(none.is_empty());
        [record("a.png", 5), record("b/c.png", 7)].iter().for_each(|one| saved.add(one).unwrap());
        drop(saved);
        let whole = std::fs::read(&path).unwrap();
        let ends: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').map(|at| at + 1).collect();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (saved, records) = Saved::open(&path, &run("a")).unwrap();
            let there = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1);
            assert_eq!(pictures(&records), ["a.png", "b/c.png"][..there], "cut at {cut}");
            // It goes on with a sound line.
            saved.add(&record("d.png", 1)).unwrap();
            drop(saved);
            let (_, records) = Saved::open(&path, &run("a")).unwrap();
            assert_eq!(records.len(), there + 1, "cut at {cut}");
            assert_eq!(records["d.png"].score(), record("", 1).score());
        }
    }

    #[test]
    fn other_runs_and_other_files_are_refused_and_left_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counts.jsonl");
        drop(Saved::open(&path, &run("a")).unwrap());
        let refused = |want: &str| {
            let before = std::fs::read(&path).unwrap();
            let error = sed_client::causes(&Saved::open(&path, &run("b")).unwrap_err());
            assert!(error.contains(want), "no {want:?} in {error}");
            assert_eq!(std::fs::read(&path).unwrap(), before);
        };
        refused("model was a (sha256:a) and is b (sha256:b)");
        let (held, _) = Saved::open(&path, &run("a")).unwrap();
        refused("another run is writing it");
        drop(held);
        for other in ["shopping list", "{\"a\": 1}\n", "milk\neggs\n", "milk\neggs", "{\"a\": 1}\n{"] {
            std::fs::write(&path, other).unwrap();
            refused("holds no counts of an eval");
        }
        let edited = |line: &str| {
            std::fs::write(&path, [serde_json::to_string(&run("b")).unwrap().as_str(), line, "{"].join("\n"))
                .unwrap();
        };
        edited("{}");
        refused("line 2: missing field");
        let with = |counts: &str| {
            let line = serde_json::to_string(&record("a.png", 1)).unwrap();
            let mut line: serde_json::Value = serde_json::from_str(&line).unwrap();
            line["counts"] = serde_json::from_str(counts).unwrap();
            line.to_string()
        };
        edited(&with("[[60000, null, 1]]"));
        refused("line 2: category 60000 of");
        edited(&with("[[0, 0, 18446744073709551615]]"));
        refused("pixels in one picture; at most");
    }
}
