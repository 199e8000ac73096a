//! Panics of image decoders: `sed_image::decode` catches them and returns a typed error.

use std::{collections::BTreeSet, panic, process, sync::Mutex};

/// The folder of unpacked crates, a part of the path of each of their files.
const LIBRARIES: &str = "/registry/src/";

/// Replaces libFuzzer's panic hook, which aborts at every panic: one in a library's code is printed, once for each
/// place, and unwinds. If it is not caught, libFuzzer aborts then; a panic in code of ours aborts at once.
pub fn of_libraries_go_on() {
    let printed = Mutex::new(BTreeSet::new());
    panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let of_a_library = place.contains(LIBRARIES);
        if !of_a_library || printed.lock().is_ok_and(|mut printed| printed.insert(place)) {
            eprintln!("{panic}");
        }
        if !of_a_library {
            process::abort();
        }
    }));
}
