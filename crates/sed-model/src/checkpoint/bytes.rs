//! The bytes of a checkpoint: read in pieces from a file, or in memory.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Bytes that are read at once.
pub(super) const CHUNK: usize = 1 << 20;

/// The bytes of a whole file.
///
/// A file is read, not mapped: one that is truncated or fails while it is read is an error, where a map would
/// end the process by a signal. It costs a copy of each byte into a buffer of [`CHUNK`] bytes; pages stay in
/// the operating system's cache as with a map.
#[derive(Debug)]
pub(super) enum Bytes {
    File { file: Mutex<File>, length: usize },
    Memory(Cow<'static, [u8]>),
}

impl Bytes {
    /// Opens a file; its length is that of this moment.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // The other end of a pipe might never come, and a device never end.
        if !path.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is no regular file"));
        }
        let file = File::open(path)?;
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        Ok(Self::File { file: Mutex::new(file), length })
    }

    /// Bytes of the file.
    pub(super) fn len(&self) -> usize {
        self.in_memory().map_or_else(|length| length, <[u8]>::len)
    }

    /// A part of the file: copied from the disk, borrowed from memory.
    pub(super) fn part(&self, range: Range<usize>) -> io::Result<Cow<'_, [u8]>> {
        match self.in_memory() {
            Ok(bytes) => bytes.get(range).map(Cow::Borrowed).ok_or_else(ends_early),
            Err(length) if range.end > length || range.start > range.end => Err(ends_early()),
            Err(_) => {
                let mut part = vec![0; range.len()];
                self.fill(&mut part, range.start)?;
                Ok(Cow::Owned(part))
            }
        }
    }

    /// Calls `f` with successive pieces of a part, each of [`CHUNK`] bytes but the last.
    pub(super) fn pieces(
        &self,
        range: Range<usize>,
        mut f: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        if let Ok(bytes) = self.in_memory() {
            return bytes.get(range).ok_or_else(ends_early)?.chunks(CHUNK).try_for_each(f);
        }
        let mut piece = vec![0; CHUNK.min(range.len())];
        let mut at = range.start;
        while at < range.end {
            let length = CHUNK.min(range.end - at);
            self.fill(&mut piece[..length], at)?;
            f(&piece[..length])?;
            at += length;
        }
        Ok(())
    }

    /// A reader with a position of its own.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader { bytes: self, at: 0 }
    }

    /// The bytes where they are in memory, otherwise the length of the file.
    fn in_memory(&self) -> Result<&[u8], usize> {
        match self {
            Self::File { length, .. } => Err(*length),
            Self::Memory(bytes) => Ok(bytes),
        }
    }

    /// Reads a file at a place; an error where it has become shorter.
    fn fill(&self, part: &mut [u8], at: usize) -> io::Result<()> {
        let Self::File { file, .. } = self else { return Err(ends_early()) };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(at as u64))?;
        file.read_exact(part).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ends_early(),
            _ => error,
        })
    }
}

fn ends_early() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file has become shorter while it was read")
}

/// Reads a checkpoint's bytes in order, for the reader of zip archives.
pub(super) struct Reader<'a> {
    bytes: &'a Bytes,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.bytes.len();
        let at = usize::try_from(self.at).unwrap_or(usize::MAX).min(length);
        let count = buffer.len().min(length - at);
        buffer[..count].copy_from_slice(&self.bytes.part(at..at + count)?);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(offset) => (self.bytes.len() as u64).checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

/// Says what a file that is not a checkpoint seems to be, from its first bytes.
pub(super) fn describe(start: &[u8]) -> String {
    let starts = |prefix: &[u8]| start.starts_with(prefix);
    let what = if start.is_empty() {
        "it is empty"
    } else if starts(b"version https://git-lfs") {
        "it is a Git LFS pointer, not the file itself (run `git lfs pull`)"
    } else if starts(b"<!DOCTYPE") || starts(b"<html") || starts(b"<!doctype") {
        "it is a web page, so the download did not give the file"
    } else if starts(&[0x80]) {
        "it is a bare pickle, torch's format before 1.6 (load it there and save it again)"
    } else if starts(b"\x1f\x8b") {
        "it is compressed with gzip (unpack it first)"
    } else if starts(b"\x28\xb5\x2f\xfd") {
        "it is compressed with zstd (unpack it first)"
    } else if starts(b"GGUF") {
        "it is a GGUF file"
    } else if starts(b"\x89HDF") {
        "it is an HDF5 file"
    } else {
        return format!("it starts with {:02x?}", start.iter().take(8).collect::<Vec<_>>());
    };
    what.to_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_that_becomes_shorter_is_an_error() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&[7; 3 * CHUNK]).unwrap();
        let bytes = Bytes::open(file.path()).unwrap();
        let mut lengths = Vec::new();
        let mut note = |piece: &[u8]| {
            lengths.push(piece.len());
            Ok(())
        };
        bytes.pieces(1..2 * CHUNK + 3, &mut note).unwrap();
        file.as_file().set_len(CHUNK as u64 + 5).unwrap();
        let error = bytes.pieces(0..3 * CHUNK, &mut note).unwrap_err();
        assert_eq!(error.to_string(), "the file has become shorter while it was read");
        assert_eq!(lengths, [CHUNK, CHUNK, 2, CHUNK]);
        assert_eq!(bytes.part(CHUNK..CHUNK + 5).unwrap(), vec![7; 5]);
        assert!(bytes.part(CHUNK..CHUNK + 6).is_err());
        assert!(bytes.part(3 * CHUNK..3 * CHUNK + 1).is_err());
    }
}
