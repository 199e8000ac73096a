//! Any header of a `.safetensors` file is a checkpoint whose tensors can be read or a typed error; never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sed_model::checkpoint::Checkpoint;

fuzz_target!(|bytes: &[u8]| {
    // The first byte says how many bytes of numbers follow the header, in fours.
    let Some((&numbers, header)) = bytes.split_first() else { return };
    let numbers = vec![0x3f; 4 * usize::from(numbers)];
    let file = [&(header.len() as u64 + 1).to_le_bytes()[..], b"{", header, &numbers].concat();
    match Checkpoint::from_bytes(file, "fuzzed") {
        Ok(checkpoint) => {
            for (name, shape) in checkpoint.names_and_shapes() {
                let count = shape.iter().product::<usize>();
                assert!(checkpoint.values(&name, &shape).is_ok_and(|values| values.len() == count));
            }
            let _named = checkpoint.config().and_then(|config| checkpoint.check(&config));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
