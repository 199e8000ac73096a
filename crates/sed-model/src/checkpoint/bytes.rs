//! Where a checkpoint's bytes live.

use std::io;
use std::path::Path;
use std::sync::Arc;

use sed_kernels::MappedFile;

/// The bytes of a whole file.
#[derive(Debug)]
pub(super) enum Bytes {
    Mapped(MappedFile),
    Static(&'static [u8]),
    Shared(Arc<[u8]>),
}

impl Bytes {
    pub(super) fn map(path: &Path) -> io::Result<Self> {
        MappedFile::open(path).map(Self::Mapped)
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(file) => file.bytes(),
            Self::Static(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// Says what a file that is not a checkpoint seems to be, from its first bytes.
pub(super) fn describe(content: &[u8]) -> String {
    let starts = |prefix: &[u8]| content.starts_with(prefix);
    let what = if content.is_empty() {
        "it is empty"
    } else if starts(b"version https://git-lfs") {
        "it is a Git LFS pointer, not the file itself (run `git lfs pull`)"
    } else if starts(b"<!DOCTYPE") || starts(b"<html") || starts(b"<!doctype") {
        "it is a web page, so the download did not give the file"
    } else if starts(&[0x80]) {
        "it is a bare pickle, torch's format before 1.6 (load it there and save it again)"
    } else if starts(b"\x1f\x8b") {
        "it is compressed with gzip (unpack it first)"
    } else {
        return format!("it starts with {:02x?}", content.iter().take(8).collect::<Vec<_>>());
    };
    what.to_owned()
}
