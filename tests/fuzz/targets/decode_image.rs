//! Any bytes are a picture within the limits or a typed error; never a panic.
#![no_main]

mod panics;

use libfuzzer_sys::fuzz_target;
use sed_image::{DecodeLimits, ResizeMode, decode, network_input};

fuzz_target!(init: panics::of_libraries_go_on(), |bytes: &[u8]| {
    let limits = DecodeLimits { max_pixels: 1 << 20, ..DecodeLimits::default() };
    match decode(bytes, &limits) {
        Ok(decoded) => {
            let pixels = u64::from(decoded.image.width()) * u64::from(decoded.image.height());
            assert!(pixels > 0 && pixels <= 1 << 20, "a picture beyond the limits was decoded");
            let input = network_input(&decoded.image, 32, ResizeMode::Direct);
            assert!(input.is_ok_and(|input| input.data.iter().all(|value| value.is_finite())));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
