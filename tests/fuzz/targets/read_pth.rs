//! Any pickle in an archive of weights, and any archive, is a checkpoint whose tensors can be read or a typed
//! error; never a panic.
#![no_main]

use std::io::{Cursor, Write};

use libfuzzer_sys::fuzz_target;
use sed_model::checkpoint::Checkpoint;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

fuzz_target!(|bytes: &[u8]| {
    // Few changes of an archive leave it one, so most inputs are the pickle inside.
    let file = match bytes.split_first() {
        Some((0, archive)) => [b"PK\x03\x04", archive].concat(),
        _ => archive(bytes),
    };
    match Checkpoint::from_bytes(file, "fuzzed") {
        Ok(checkpoint) => {
            for (name, shape) in checkpoint.names_and_shapes() {
                let count = shape.iter().product::<usize>();
                assert!(checkpoint.values(&name, &shape).is_ok_and(|values| values.len() == count));
            }
            let _named = checkpoint.config().and_then(|config| checkpoint.check(&config));
            let _finite = checkpoint.check_finite();
        }
        Err(error) => assert!(error.to_string().len() < 10_000),
    }
});

/// An archive with this pickle and one storage.
fn archive(pickle: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in [("a/data.pkl", pickle), ("a/byteorder", b"little"), ("a/data/0", &[0x3f; 64])] {
        zip.start_file(name, stored).and_then(|()| Ok(zip.write_all(bytes)?)).expect("memory can be written");
    }
    zip.finish().expect("memory can be written").into_inner()
}
