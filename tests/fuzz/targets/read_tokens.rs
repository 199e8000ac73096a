//! Any file is a list of tokens, or an error that names the line; never a panic.
#![no_main]

mod file;

use libfuzzer_sys::fuzz_target;
use sed_server::inspect_tokens;

fuzz_target!(|bytes: &[u8]| {
    let file = file::with(bytes);
    match inspect_tokens(file) {
        Ok(names) => assert!(!names.is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
