//! Words that are not ready yet, and words that are prepared.

use std::{sync::atomic::Ordering, time::Duration};

use sed_client::{Contrast, NewVocabulary, Retries, SynonymMode, named, v1};
use tonic::{Code, Status};

use crate::{Scripted, client_of, refusal, request};

pub(crate) fn not_ready() -> Status {
    refusal(Code::ResourceExhausted, "VOCABULARY_NOT_READY", "3 of 6 names and synonyms are ready")
}

fn state(embedded: u32) -> v1::PrepareVocabularyResponse {
    let device = v1::DevicePreparation { device: "cpu".into(), embedded };
    v1::PrepareVocabularyResponse {
        phrases: 6,
        known: 1,
        embedded,
        remaining: Some(prost_types::Duration { seconds: 0, nanos: 500_000_000 }),
        ready: embedded == 6,
        replica: "sed-0".into(),
        devices: vec![device],
        warnings: Vec::new(),
    }
}

/// The messages of a call's stream: the first calls are interrupted, the first of all after some progress.
pub(crate) fn preparation(
    call: u32,
    request: v1::PrepareVocabularyRequest,
) -> Result<Vec<Result<v1::PrepareVocabularyResponse, Status>>, Status> {
    let interrupted = || Err(refusal(Code::Unavailable, "RECONNECT", "the connection is old"));
    match request.vocabulary {
        Some(vocabulary) if vocabulary == named("short") => Ok(vec![Ok(state(3))]),
        Some(vocabulary) if vocabulary == named("stuck") => Ok(vec![Ok(state(2)), interrupted()]),
        Some(_) if call == 0 => Ok(vec![Ok(state(1)), Ok(state(3)), interrupted()]),
        Some(_) if call == 1 => Ok(vec![interrupted()]),
        Some(_) => {
            let advice = v1::Warning { message: "shorten it".into(), ..v1::Warning::default() };
            Ok(vec![Ok(state(4)), Ok(v1::PrepareVocabularyResponse { warnings: vec![advice], ..state(6) })])
        }
        None => Err(Status::invalid_argument("no words")),
    }
}

/// An answer whose name holds all that was asked.
pub(crate) fn created(request: v1::CreateVocabularyRequest) -> v1::CreateVocabularyResponse {
    let (mode, contrast) = (request.synonym_mode(), request.contrast.is_some());
    let names = request.categories.unwrap_or_default().categories.into_iter().map(|category| category.name);
    let names = names.collect::<Vec<_>>().join(",");
    let vocabulary = v1::NamedVocabulary {
        name: format!("{names} {} {} {contrast}", mode.as_str_name(), request.embed),
        ..v1::NamedVocabulary::default()
    };
    v1::CreateVocabularyResponse { vocabulary: Some(vocabulary), ..v1::CreateVocabularyResponse::default() }
}

#[tokio::test]
async fn words_that_are_not_ready_are_waited_for_without_costing_an_attempt() {
    let scripted = Scripted { full_for: 1, not_ready_for: 6, ..Scripted::default() };
    let retries = Retries { most: 1, ..Retries::default() };
    let client = client_of(&scripted).await.with_retries(retries);
    assert_eq!(client.segment(request("a")).await.unwrap().report.request_id, "a");
    assert_eq!(scripted.calls.load(Ordering::SeqCst), 8);

    let scripted = Scripted { not_ready_for: 1, ..Scripted::default() };
    let client = client_of(&scripted).await;
    let off = Retries { ready_timeout: Duration::ZERO, ..Retries::default() };
    let refused = client.clone().with_retries(off).segment(request("b")).await.unwrap_err();
    assert_eq!(refused.reason().as_deref(), Some("VOCABULARY_NOT_READY"));
    client.segment(request("b")).await.unwrap();
}

#[tokio::test]
async fn a_preparation_goes_on_behind_an_interruption() {
    let client = client_of(&Scripted::default()).await;
    let mut seen = Vec::new();
    let retries = Retries { most: 2, ..Retries::OFF };
    let prepared = client.clone().with_retries(retries);
    let last = prepared.prepare_vocabulary(named("pets"), |state| seen.push(state.embedded)).await.unwrap();
    assert_eq!(seen, [1, 3, 4, 6]);
    assert_eq!((last.phrases, last.known, last.embedded, last.ready), (6, 1, 6, true));
    assert_eq!((last.replica.as_str(), last.remaining), ("sed-0", Some(Duration::from_millis(500))));
    assert_eq!((last.devices[0].device.as_str(), last.devices[0].embedded), ("cpu", 6));
    assert_eq!(last.warnings[0].message, "shorten it");

    // Without progress in between the attempts run out, and an end without the last message is an error.
    let stuck = prepared.prepare_vocabulary(named("stuck"), |_| {}).await.unwrap_err();
    assert_eq!(stuck.reason().as_deref(), Some("RECONNECT"));
    let short = client.prepare_vocabulary(named("short"), |_| {}).await.unwrap_err();
    assert!(short.to_string().contains("before all words were ready"), "{short}");
}

#[tokio::test]
async fn a_vocabulary_is_registered_with_all_that_belongs_to_it() {
    let client = client_of(&Scripted::default()).await;
    let category = |name: &str| v1::Category { name: name.into(), synonyms: Vec::new() };
    let new = NewVocabulary::of(["cat", "dog"].map(category));
    let name = |created: v1::CreateVocabularyResponse| created.vocabulary.unwrap().name;
    let plain = client.create_vocabulary(new.clone()).await.unwrap();
    assert_eq!(name(plain), "cat,dog SYNONYM_MODE_UNSPECIFIED false false");
    let all = new.embed().synonym_mode(SynonymMode::Best).contrast(Contrast::Auto);
    let all = client.create_vocabulary(all).await.unwrap();
    assert_eq!(name(all), "cat,dog SYNONYM_MODE_BEST true true");
}
