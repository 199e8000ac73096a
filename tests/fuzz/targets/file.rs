//! A file for what reads only files, in memory where there is such a file system.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    folder.join(format!("sed-fuzz-{}", std::process::id()))
});

/// A file with this content; it stands until the next call.
pub fn with(content: &[u8]) -> &'static Path {
    fs::write(&*FILE, content).unwrap();
    &FILE
}
