//! Bearer tokens: the calls that need one, and their refusal without one.

use sed_proto::v1;
use sed_server::Settings;
use tonic::{Code, Request, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

use super::{
    certificates::Authority,
    secured::{Secured, with_header, with_tokens},
};
use crate::harness::{facts, request};

const SECRET: &str = "0123456789abcdef-0123456789abcdef";

fn one_token(folder: &std::path::Path, _: &Authority) -> Settings {
    with_tokens(folder, &format!("camera = \"{SECRET}\"\nspare = \"another-secret-for-it\"\n"))
}

fn unauthenticated(reason: &str) -> (Code, String, String) {
    (Code::Unauthenticated, reason.into(), String::new())
}

/// Calls reflection, and waits for its first answer.
async fn reflect(server: &Secured, header: Option<&str>) -> Result<(), Status> {
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut request = Request::new(tokio_stream::once(ask));
    if let Some(header) = header {
        request.metadata_mut().insert("authorization", header.parse().unwrap());
    }
    let channel = server.endpoint(None).connect().await.unwrap();
    let mut answers =
        ServerReflectionClient::new(channel).server_reflection_info(request).await?.into_inner();
    answers.message().await.map(|answer| assert!(answer.is_some()))
}

async fn check_health(server: &Secured) -> Result<(), Status> {
    let channel = server.endpoint(None).connect().await.unwrap();
    HealthClient::new(channel).check(HealthCheckRequest { service: String::new() }).await.map(drop)
}

#[tokio::test]
async fn a_call_needs_one_of_the_tokens() {
    let server = Secured::start(&one_token).await;
    let mut client = server.client(None);
    let answered = "sed_requests_by_caller_total{caller=\"camera\",code=\"OK\"}";
    let before = server.sample(answered);
    for header in
        [format!("Bearer {SECRET}"), format!("bearer {SECRET}"), "Bearer another-secret-for-it".into()]
    {
        client.segment(with_header(request(2), &header)).await.unwrap();
    }
    server.until_above(answered, before + 1.0).await;

    let refused = client.segment(request(2)).await.unwrap_err();
    assert_eq!(facts(&refused), unauthenticated("TOKEN_MISSING"));
    for (header, reason) in [
        ("Basic Y2FtZXJhOng=", "TOKEN_MISSING"),
        (SECRET, "TOKEN_MISSING"),
        ("Bearer camera", "TOKEN_INVALID"),
        ("Bearer 0123456789abcdef-0123456789abcdeF", "TOKEN_INVALID"),
        ("Bearer ", "TOKEN_INVALID"),
    ] {
        let refused = client.segment(with_header(request(2), header)).await.unwrap_err();
        assert_eq!(facts(&refused), unauthenticated(reason), "{header:?}");
        assert!(!refused.message().contains(SECRET), "{refused:?}");
    }
}

#[tokio::test]
async fn a_call_without_token_is_refused_before_its_body() {
    let server = Secured::start(&one_token).await;
    // A stream that never says anything, and so never ends.
    let silent = tokio_stream::pending::<v1::SegmentStreamRequest>();
    let refused = server.client(None).segment_stream(silent).await.unwrap_err();
    assert_eq!(facts(&refused), unauthenticated("TOKEN_MISSING"));
}

#[tokio::test]
async fn health_needs_no_token_unless_it_is_told_to_and_reflection_does() {
    let server = Secured::start(&one_token).await;
    check_health(&server).await.unwrap();
    let refused = reflect(&server, None).await.unwrap_err();
    assert_eq!(facts(&refused), unauthenticated("TOKEN_MISSING"));
    reflect(&server, Some(&format!("Bearer {SECRET}"))).await.unwrap();

    let strict = Secured::start(&|folder, authority| Settings {
        health_needs_token: true,
        ..one_token(folder, authority)
    })
    .await;
    assert_eq!(facts(&check_health(&strict).await.unwrap_err()), unauthenticated("TOKEN_MISSING"));
}

#[tokio::test]
async fn tokens_that_cannot_be_used_are_refused_at_the_start_without_being_told() {
    let refusal =
        Secured::refusal(&|folder, _| with_tokens(folder, "# none\ncamera = \"short-secret\"\n")).await;
    assert!(refusal.starts_with("tokens ") && refusal.contains("line 2"), "{refusal}");
    assert!(refusal.contains("at least 16") && !refusal.contains("short-secret"), "{refusal}");
}

#[tokio::test]
async fn a_vocabulary_belongs_to_the_caller_that_registered_it() {
    let server = Secured::start(&one_token).await;
    let mut client = server.client(None);
    let (camera, spare) = (format!("Bearer {SECRET}"), "Bearer another-secret-for-it");
    let categories = vec![v1::Category { name: "dog".into(), synonyms: Vec::new() }];
    let creation = v1::CreateVocabularyRequest {
        categories: Some(v1::CategoryList { categories }),
        embed: false,
        ..Default::default()
    };
    let created = client.create_vocabulary(with_header(creation, &camera)).await.unwrap().into_inner();
    let name = created.vocabulary.unwrap().name;
    let deletion = || v1::DeleteVocabularyRequest { name: name.clone() };
    let refused = client.delete_vocabulary(with_header(deletion(), spare)).await.unwrap_err();
    assert_eq!(facts(&refused), (Code::PermissionDenied, "VOCABULARY_NOT_OWNED".into(), String::new()));
    for header in [camera.as_str(), &camera, spare] {
        client.delete_vocabulary(with_header(deletion(), header)).await.unwrap();
    }
}
