//! A file mapped read-only into memory.

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// The bytes of a file, mapped read-only: pages are read when they are touched and can be dropped by the
/// operating system under memory pressure, so a checkpoint is not held twice.
#[derive(Debug)]
pub struct MappedFile {
    map: Mmap,
}

impl MappedFile {
    /// Maps the whole file at `path`.
    ///
    /// # Errors
    /// When the file cannot be opened or mapped (an empty file maps to no bytes).
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the map is private and read-only, and it outlives the descriptor by contract of `mmap`.
        // What the type system cannot rule out is another process truncating the file meanwhile, which
        // ends this process by a signal, or rewriting it, which changes weights but breaks no invariant:
        // the bytes are only ever read as plain integers and floats. Checkpoints are replaced by rename
        // (as our own `convert` does), which leaves an existing map intact.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self { map })
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_what_was_written() {
        let path = std::env::temp_dir().join(format!("sed-kernels-mapped-{}", std::process::id()));
        std::fs::write(&path, b"0123456789").unwrap();
        let mapped = MappedFile::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(mapped.bytes(), b"0123456789");
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let error = MappedFile::open(Path::new("/nonexistent/file")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
