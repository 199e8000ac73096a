//! Any file is a list of categories, or an error that says what is wrong with it; never a panic.
#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;

/// Memory where there is such a file system.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = PathBuf::from("/dev/shm");
    let folder = if folder.is_dir() { folder } else { std::env::temp_dir() };
    folder.join(format!("sed-fuzz-words-{}", std::process::id()))
});

fuzz_target!(|bytes: &[u8]| {
    fs::write(&*FILE, bytes).unwrap();
    for official in [false, true] {
        match sed_serve::categories_of_file(&FILE, official) {
            Ok(categories) => assert!(!categories.is_empty()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
