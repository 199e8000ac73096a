//! Any file is a list of tokens, or an error that names the line; never a panic.
#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use sed_server::inspect_tokens;

/// Memory where there is such a file system.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = PathBuf::from("/dev/shm");
    let folder = if folder.is_dir() { folder } else { std::env::temp_dir() };
    folder.join(format!("sed-fuzz-tokens-{}", std::process::id()))
});

fuzz_target!(|bytes: &[u8]| {
    fs::write(&*FILE, bytes).unwrap();
    match inspect_tokens(&FILE) {
        Ok(names) => assert!(!names.is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
