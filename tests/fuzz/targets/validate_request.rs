//! Any message is a request within the limits or an error with a reason and a field; never a panic.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use prost::Message;
use sed_model::{
    config::SedConfig,
    tokenizer::{PhraseReader, Tokenizer},
};
use sed_proto::{
    inference::ModelInferRequest,
    v1::{CreateVocabularyRequest, SegmentRequest},
};
use sed_server::{Settings, validate_create_vocabulary, validate_infer, validate_segment};

/// Reads words as the official models do.
static READER: LazyLock<PhraseReader> =
    LazyLock::new(|| PhraseReader::new(Arc::new(Tokenizer::new(&SedConfig::sed_b().text).unwrap())));

fuzz_target!(|bytes: &[u8]| {
    let limits = Settings::default();
    let segment = SegmentRequest::decode(bytes).ok();
    let create = CreateVocabularyRequest::decode(bytes).ok();
    let infer = ModelInferRequest::decode(bytes).ok();
    let outcomes = [
        segment.and_then(|request| validate_segment(&request, &limits, &*READER).err()),
        create.and_then(|request| validate_create_vocabulary(&request, &limits, &*READER).err()),
        infer.and_then(|request| validate_infer(&request, &limits, &*READER).err()),
    ];
    for error in outcomes.into_iter().flatten() {
        assert!(!error.to_string().is_empty());
    }
});
