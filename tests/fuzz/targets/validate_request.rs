//! Any message is a request within the limits or an error with a reason and a field; never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use sed_proto::v1::SegmentRequest;
use sed_server::{Limits, validate_segment};

fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = SegmentRequest::decode(bytes) else { return };
    if let Err(error) = validate_segment(&request, &Limits::default()) {
        assert!(!error.to_string().is_empty());
    }
});
