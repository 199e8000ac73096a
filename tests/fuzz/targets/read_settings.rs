//! Any text is a configuration within its ranges, or an error that names the key; never a panic.
#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use sed_server::{ServerConfig, config::RawConfig};

/// Memory where there is such a file system.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = PathBuf::from("/dev/shm");
    let folder = if folder.is_dir() { folder } else { std::env::temp_dir() };
    folder.join(format!("sed-fuzz-settings-{}.toml", std::process::id()))
});

fuzz_target!(|text: &str| {
    fs::write(&*FILE, text).unwrap();
    let read = RawConfig::read(Some(&FILE), std::iter::empty());
    let checked = read.and_then(ServerConfig::check);
    if let Err(error) = checked {
        assert!(!error.to_string().is_empty());
    }
});
