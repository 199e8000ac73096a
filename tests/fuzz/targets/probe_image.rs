//! Any bytes have a header within the limits or a typed error; a decoded picture has the size that its header
//! announced.
#![no_main]

mod panics;

use libfuzzer_sys::fuzz_target;
use sed_image::{DecodeLimits, decode, probe};

fuzz_target!(init: panics::of_libraries_go_on(), |bytes: &[u8]| {
    let limits = DecodeLimits { max_pixels: 1 << 16, max_alloc_bytes: 32 << 20, ..DecodeLimits::default() };
    match probe(bytes, &limits) {
        Ok(header) => {
            assert!(header.decode_bytes <= limits.max_alloc_bytes);
            let Ok(decoded) = decode(bytes, &limits) else { return };
            let (width, height) = (decoded.image.width(), decoded.image.height());
            let swapped = decoded.orientation.to_exif() > 4;
            let stored = if swapped { (height, width) } else { (width, height) };
            assert_eq!((header.width, header.height, header.format), (stored.0, stored.1, decoded.format));
        }
        Err(error) => {
            assert!(error.is_callers_fault() && error.to_string().len() < 500);
            assert_eq!(decode(bytes, &limits).err(), Some(error));
        }
    }
});
