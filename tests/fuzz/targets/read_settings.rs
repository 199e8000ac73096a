//! Any text is a configuration within its ranges, or an error that names the key; never a panic.
#![no_main]

mod file;

use libfuzzer_sys::fuzz_target;
use sed_server::config::{self, Written};

fuzz_target!(|text: &str| {
    let file = file::with(text.as_bytes());
    if let Err(error) = config::load(Some(file), [], Written::default()) {
        assert!(!error.to_string().is_empty());
    }
});
