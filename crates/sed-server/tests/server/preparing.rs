//! `PrepareVocabulary`, and requests whose words are not ready.

use std::time::Duration;

use sed_engine::{
    EngineState, Stage, StageError,
    fake::{Fault, ROOM},
};
use sed_proto::v1::{self, segmentation_service_client::SegmentationServiceClient};
use sed_server::{Drain, Settings};
use tonic::{Code, Status, Streaming};

use crate::{
    harness::{Running, facts, inline, metadata, named, quota, request, retry_delay, until},
    load::patient_transport,
};

const MS: Duration = Duration::from_millis(1);

fn words(name: &str, count: usize) -> v1::Vocabulary {
    let category = |index| v1::Category { name: format!("{name} {index}"), synonyms: Vec::new() };
    inline((0..count).map(category).collect())
}

fn preparation(vocabulary: v1::Vocabulary) -> v1::PrepareVocabularyRequest {
    v1::PrepareVocabularyRequest { vocabulary: Some(vocabulary) }
}

type Messages = Streaming<v1::PrepareVocabularyResponse>;

async fn prepare(server: &Running, vocabulary: v1::Vocabulary) -> Result<Messages, Status> {
    server.client().prepare_vocabulary(preparation(vocabulary)).await.map(tonic::Response::into_inner)
}

/// The next message, which is there.
async fn next(messages: &mut Messages) -> v1::PrepareVocabularyResponse {
    messages.message().await.unwrap().unwrap()
}

/// All messages to the end, which is the only one that says ready.
async fn to_the_end(mut messages: Messages) -> Vec<v1::PrepareVocabularyResponse> {
    let mut all: Vec<v1::PrepareVocabularyResponse> = Vec::new();
    while let Some(message) = messages.message().await.unwrap() {
        assert!(all.last().is_none_or(|last| !last.ready && last.embedded <= message.embedded));
        all.push(message);
    }
    assert!(all.last().unwrap().ready);
    all
}

async fn by_name(server: &Running, name: &str) -> v1::NamedVocabulary {
    let request = v1::GetVocabularyRequest { name: name.into() };
    server.client().get_vocabulary(request).await.unwrap().into_inner().vocabulary.unwrap()
}

fn not_ready() -> (Code, String, String) {
    (Code::ResourceExhausted, "VOCABULARY_NOT_READY".to_string(), String::new())
}

/// The vocabulary `many` of a server has 300 phrases.
fn about_many() -> v1::SegmentRequest {
    v1::SegmentRequest { vocabulary: Some(named("many")), ..request(1) }
}

#[tokio::test]
async fn a_preparation_reports_until_its_words_are_ready() {
    // It may take longer than any request.
    let server = Running::start(Settings { max_timeout_seconds: 0.5, ..Settings::default() }).await;
    server.control.slow_words(MS * 20);
    let before = server.control.embedded();
    let mut vocabulary = words("thing", 79);
    let Some(v1::vocabulary::Source::Categories(list)) = &mut vocabulary.source else { panic!() };
    list.categories.push(v1::Category { name: "x".repeat(ROOM + 1), synonyms: Vec::new() });
    let all = to_the_end(prepare(&server, vocabulary.clone()).await.unwrap()).await;
    assert!((3..=12).contains(&all.len()), "{} messages in some 1.6 s", all.len());
    let (first, last) = (&all[0], &all[all.len() - 1]);
    assert_eq!((first.phrases, first.known, first.embedded), (80, 0, 0));
    assert_eq!((last.phrases, last.known, last.embedded), (80, 0, 80));
    assert!(all.iter().any(|message| !message.ready && message.remaining.is_some()));
    for message in &all {
        let devices: Vec<_> =
            message.devices.iter().map(|device| (device.device.as_str(), device.embedded)).collect();
        assert_eq!(devices, [("cpu", message.embedded)]);
        assert!(!message.replica.is_empty() && message.replica == first.replica);
        // Warnings come once.
        assert_eq!(message.warnings.len(), usize::from(message.ready));
    }
    assert_eq!(last.warnings[0].reason(), v1::WarningReason::PhraseCut);
    assert_eq!(last.warnings[0].field, "vocabulary.categories.categories[79].name");
    assert_eq!(server.control.embedded() - before, 80);

    let request = v1::SegmentRequest { vocabulary: Some(vocabulary.clone()), ..request(1) };
    let latency = server.segment(request).await.unwrap().latency.unwrap();
    assert_eq!((latency.text_cache_misses, latency.vocabulary_cache_hit), (0, true));
    let again = to_the_end(prepare(&server, vocabulary).await.unwrap()).await;
    assert_eq!((again.len(), again[0].known, again[0].embedded), (1, 80, 80));
}

#[tokio::test]
async fn words_that_the_server_chooses_are_awaited_longer_than_a_request_may_take() {
    let server = Running::start(Settings { max_timeout_seconds: 0.5, ..Settings::default() }).await;
    server.control.slow_words(MS * 20);
    let automatic = v1::contrast::Source::Automatic(v1::AutoContrast {});
    let contrast = Some(v1::Contrast { source: Some(automatic) });
    let vocabulary = v1::Vocabulary { contrast, ..words("thing", 40) };
    let last = to_the_end(prepare(&server, vocabulary.clone()).await.unwrap()).await.pop().unwrap();
    assert!(last.phrases > 40 && last.embedded == last.phrases, "{last:?}");
    let request = v1::SegmentRequest { vocabulary: Some(vocabulary), ..request(1) };
    assert_eq!(server.segment(request).await.unwrap().latency.unwrap().text_cache_misses, 0);
}

#[tokio::test]
async fn callers_share_an_effort_and_what_is_embedded_stays_when_they_leave() {
    let server = Running::start(Settings::default()).await;
    let counts = server.counts();
    server.control.slow_words(MS * 10);
    let before = server.control.embedded();
    let mut first = prepare(&server, named("many")).await.unwrap();
    let mut second = prepare(&server, named("many")).await.unwrap();
    next(&mut first).await;
    while next(&mut second).await.embedded < 40 {}
    drop(first);
    let embedded = next(&mut second).await.embedded;
    assert!(embedded < 300);
    drop(second);
    // It ends with its last caller.
    until(|| counts.of_all("sed_preparations") == 0.0).await;
    let told = by_name(&server, "many").await;
    assert!((embedded..300).contains(&told.embedded_phrases) && told.phrases == 300, "{told:?}");
    let all = to_the_end(prepare(&server, named("many")).await.unwrap()).await;
    assert!(all[0].known >= told.embedded_phrases);
    assert_eq!(server.control.embedded() - before, 300, "each phrase is embedded once");
    assert_eq!(counts.of_all("sed_prepared_phrases_total"), 300.0);
}

#[tokio::test]
async fn a_first_contact_ends_in_an_answer_by_asking_again() {
    let raw = Settings { max_timeout_seconds: 0.5, ..Settings::default() };
    // The warm-up shows how slow words are, or it does not.
    for known in [true, false] {
        let server =
            Running::launch(raw.clone(), |control| control.slow_words(MS * 10 * u32::from(known))).await;
        server.engine.ready().await.unwrap();
        server.control.slow_words(MS * 10);
        let (mut tries, mut last) = (0, 0);
        while let Err(refused) = server.segment(about_many()).await {
            tries += 1;
            assert_eq!(facts(&refused), not_ready());
            assert_eq!(metadata(&refused, "phrases").as_deref(), Some("300"));
            let embedded: u32 = metadata(&refused, "embedded").unwrap().parse().unwrap();
            assert!((last..=300).contains(&embedded), "{embedded} after {last}");
            assert!(by_name(&server, "many").await.embedded_phrases >= embedded);
            last = embedded;
            let delay = retry_delay(&refused).unwrap();
            assert!((1..=30).contains(&delay.as_secs()) && tries < 20, "{delay:?} in try {tries}");
            tokio::time::sleep(delay).await;
        }
        assert!(tries > 0);
        let told = by_name(&server, "many").await;
        assert_eq!((told.phrases, told.embedded_phrases), (300, 300));
    }
}

#[tokio::test]
async fn lists_say_how_much_is_embedded() {
    let server = Running::start(Settings::default()).await;
    server.segment(v1::SegmentRequest { vocabulary: Some(named("pets")), ..request(1) }).await.unwrap();
    let list = server.client().list_vocabularies(v1::ListVocabulariesRequest::default()).await.unwrap();
    let info = server.client().get_server_info(v1::GetServerInfoRequest {}).await.unwrap();
    for vocabularies in [list.into_inner().vocabularies, info.into_inner().vocabularies] {
        let counts: Vec<_> = vocabularies
            .iter()
            .map(|known| (known.name.as_str(), known.phrases, known.embedded_phrases))
            .collect();
        assert_eq!(counts, [("many", 300, 0), ("pets", 3, 3)]);
    }
}

#[tokio::test]
async fn bounds_and_caches_limit_what_is_prepared() {
    let server = Running::start(Settings { max_preparing_phrases: 100, ..Settings::default() }).await;
    let refused = prepare(&server, named("many")).await.unwrap_err();
    assert_eq!(facts(&refused), not_ready());
    assert_eq!((metadata(&refused, "limit").as_deref(), retry_delay(&refused)), (Some("100"), None));
    assert_eq!(quota(&refused).as_deref(), Some("phrases in preparation"));
    // All callers without a name are one, which has half.
    let refused = prepare(&server, words("thing", 51)).await.unwrap_err();
    assert_eq!(metadata(&refused, "limit").as_deref(), Some("50"));
    to_the_end(prepare(&server, words("thing", 50)).await.unwrap()).await;

    let small = Settings { text_cache_bytes: 1000, vocabulary_cache_bytes: 1000, ..Settings::default() };
    let small = Running::start(small).await;
    let refused = prepare(&small, named("many")).await.unwrap_err();
    assert_eq!((facts(&refused), retry_delay(&refused)), (not_ready(), None));
    for needed in ["needed_bytes", "needed_vocabulary_bytes"] {
        let needed: u64 = metadata(&refused, needed).unwrap().parse().unwrap();
        assert!(needed > 2400, "{needed}"); // the fake's embeddings have 8 bytes
    }
    for has in ["text_cache_bytes", "vocabulary_cache_bytes"] {
        assert_eq!(metadata(&refused, has).as_deref(), Some("1000"));
    }
}

#[tokio::test]
async fn what_is_asked_for_is_checked_as_for_a_request() {
    let server = Running::start(Settings::default()).await;
    let invalid = |reason: &str, field: &str| (Code::InvalidArgument, reason.to_string(), field.to_string());
    let refused = server.client().prepare_vocabulary(v1::PrepareVocabularyRequest::default()).await;
    assert_eq!(facts(&refused.unwrap_err()), invalid("FIELD_MISSING", "vocabulary.source"));
    let refused = prepare(&server, words("", 1025)).await.unwrap_err();
    assert_eq!(facts(&refused), invalid("VOCABULARY_TOO_LARGE", "vocabulary.categories.categories"));
    let refused = prepare(&server, named("planets")).await.unwrap_err();
    assert_eq!(facts(&refused), (Code::NotFound, "VOCABULARY_NOT_FOUND".into(), String::new()));
}

/// Reads on until the error at the end.
async fn error_of(mut messages: Messages) -> Status {
    loop {
        match messages.message().await {
            Ok(Some(message)) => assert!(!message.ready),
            Ok(None) => panic!("the stream ended without an error"),
            Err(status) => return status,
        }
    }
}

#[tokio::test]
async fn a_call_ends_with_its_deadline_its_device_or_its_server() {
    let mut server = Running::start(Settings { device_probe_seconds: 0.05, ..Settings::default() }).await;
    server.control.slow_words(MS * 10);
    let mut late = tonic::Request::new(preparation(named("many")));
    late.metadata_mut().insert("grpc-timeout", "400m".parse().unwrap());
    let (http, origin) = patient_transport(&server);
    let mut patient = SegmentationServiceClient::with_origin(http, origin);
    let ended = error_of(patient.prepare_vocabulary(late).await.unwrap().into_inner()).await;
    assert_eq!(facts(&ended), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".into(), String::new()));
    drop(patient);
    while by_name(&server, "many").await.embedded_phrases == 0 {
        tokio::time::sleep(MS * 10).await;
    }

    let mut running = prepare(&server, words("other", 500)).await.unwrap();
    next(&mut running).await;
    let lost = Fault::Fail(StageError::DeviceLost("fell off the bus".into()));
    server.control.inject(Stage::TextEmbedding, lost);
    let ended = error_of(running).await;
    assert_eq!(facts(&ended), (Code::Unavailable, "DEVICE_LOST".into(), String::new()));
    server.engine.state().wait_for(EngineState::is_ready).await.unwrap();

    let running = prepare(&server, words("third", 500)).await.unwrap();
    server.stop();
    let ended = error_of(running).await;
    assert_eq!(facts(&ended), (Code::Unavailable, "SHUTTING_DOWN".into(), String::new()));
    assert_eq!(server.ended().await, Drain::Complete);
}

#[tokio::test]
async fn built_in_words_are_prepared_behind_the_start() {
    let raw = Settings { prepare_vocabulary: vec!["pascal-voc-20".into()], ..Settings::default() };
    let server = Running::start(raw).await;
    // The word of the warm-up, and those of the list.
    until(|| server.control.embedded() > 20).await;
}
