//! Any text is a configuration within its ranges, or an error that names the key; never a panic.
#![no_main]

mod file;

use libfuzzer_sys::fuzz_target;
use sed_server::{ServerConfig, config::RawConfig};

fuzz_target!(|text: &str| {
    let file = file::with(text.as_bytes());
    let read = RawConfig::read(Some(file), std::iter::empty());
    let checked = read.and_then(ServerConfig::check);
    if let Err(error) = checked {
        assert!(!error.to_string().is_empty());
    }
});
