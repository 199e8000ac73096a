//! Any message is a request within the limits or an error with a reason and a field; never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use sed_proto::{
    inference::ModelInferRequest,
    v1::{CreateVocabularyRequest, SegmentRequest},
};
use sed_server::{Limits, validate_create_vocabulary, validate_infer, validate_segment};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    let segment = SegmentRequest::decode(bytes).ok();
    let create = CreateVocabularyRequest::decode(bytes).ok();
    let infer = ModelInferRequest::decode(bytes).ok();
    let outcomes = [
        segment.and_then(|request| validate_segment(&request, &limits).err()),
        create.and_then(|request| validate_create_vocabulary(&request, &limits).err()),
        infer.and_then(|request| validate_infer(&request, &limits).err()),
    ];
    for error in outcomes.into_iter().flatten() {
        assert!(!error.to_string().is_empty());
    }
});
