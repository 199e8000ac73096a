//! Any text is the configuration of a model that can exist, whose tensors lead back to it, or a typed error.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use sed_model::config::SedConfig;

fuzz_target!(|text: &str| {
    match SedConfig::from_json(text, "fuzzed") {
        Ok(config) => {
            let tensors = config.expected_tensors();
            assert!(tensors.len() < 100_000, "{} tensors", tensors.len());
            let shapes: BTreeMap<String, Vec<usize>> =
                tensors.into_iter().map(|tensor| (tensor.name, tensor.shape)).collect();
            if let Ok(found) = SedConfig::from_tensors(&shapes) {
                assert_eq!((found.vision, found.embed_dim), (config.vision, config.embed_dim));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
