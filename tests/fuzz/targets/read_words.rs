//! Any file is a list of categories, or an error that says what is wrong with it; never a panic.
#![no_main]

mod file;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let file = file::with(bytes);
    for official in [false, true] {
        match sed_serve::categories_of_file(file, official) {
            Ok(categories) => assert!(!categories.is_empty()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
