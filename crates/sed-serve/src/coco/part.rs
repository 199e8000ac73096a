//! A list of a JSON file while it grows, in a file of its own.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Seek, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Serialize;

/// The elements of a list with commas between them, one on a line. The file is removed on drop, unless it was
/// moved.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    out: BufWriter<File>,
    empty: bool,
    /// Bytes up to the end of the last whole element: a failed write may leave a part of one.
    length: u64,
}

impl Part {
    /// An empty list.
    pub(super) fn create(path: PathBuf) -> Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, out: BufWriter::new(file), empty: true, length: 0 })
    }

    /// Adds an element.
    pub(super) fn push(&mut self, element: &impl Serialize) -> Result<()> {
        let mut line = if self.empty { b"\n".to_vec() } else { b",\n".to_vec() };
        serde_json::to_writer(&mut line, element)?;
        self.out.write_all(&line).with_context(|| format!("cannot write {}", self.path.display()))?;
        self.empty = false;
        self.length += line.len() as u64;
        Ok(())
    }

    /// Writes text behind the elements, after which another list begins.
    pub(super) fn begin(&mut self, text: &str) -> io::Result<()> {
        self.empty = true;
        self.out.write_all(text.as_bytes())
    }

    /// Adds the elements of another list.
    pub(super) fn append(&mut self, other: &mut Self) -> io::Result<()> {
        if !self.empty && !other.empty {
            self.out.write_all(b",")?;
        }
        self.empty &= other.empty;
        other.out.flush()?;
        let file = other.out.get_mut();
        file.rewind()?;
        io::copy(&mut file.take(other.length), &mut self.out)?;
        Ok(())
    }

    /// Moves the file, complete, to `path`.
    pub(super) fn move_to(&mut self, path: &Path) -> io::Result<()> {
        self.out.flush()?;
        fs::rename(&self.path, path)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It was moved, or its list is of no use any more.
        let _ = fs::remove_file(&self.path);
    }
}
