//! The log lines of calls that are refused.
#![cfg(unix)]

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use sed_proto::v1::{self, segmentation_service_client::SegmentationServiceClient};
use serde_json::Value;
use tonic::{Request, Status};

use crate::{
    server::Server,
    support::{Outcome, nano, run, sed_serve, text},
};

const SECRET: &str = "0123456789abcdef-log";

async fn segment(url: &str, token: &str, vocabulary: &str, id: &str) -> Result<(), Status> {
    let mut client = SegmentationServiceClient::connect(url.to_owned()).await.unwrap();
    let picture = std::fs::read(nano("img_b.png")).unwrap();
    let mut request = Request::new(v1::SegmentRequest {
        image: Some(v1::Image { source: Some(v1::image::Source::Encoded(picture.into())) }),
        vocabulary: Some(v1::Vocabulary {
            source: Some(v1::vocabulary::Source::Name(vocabulary.into())),
            ..Default::default()
        }),
        options: None,
        request_id: id.into(),
    });
    if !token.is_empty() {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    client.segment(request).await.map(|_| ())
}

async fn segment_on_a_stream(url: &str, vocabulary: &str, id: &str) {
    let mut client = SegmentationServiceClient::connect(url.to_owned()).await.unwrap();
    let request = v1::SegmentRequest {
        image: Some(v1::Image { source: Some(v1::image::Source::Encoded(b"no picture".as_slice().into())) }),
        vocabulary: Some(v1::Vocabulary {
            source: Some(v1::vocabulary::Source::Name(vocabulary.into())),
            ..Default::default()
        }),
        options: None,
        request_id: id.into(),
    };
    let message = v1::SegmentStreamRequest { request: Some(request), timeout: None, any_order: false };
    let mut call = Request::new(tokio_stream::iter([message]));
    call.metadata_mut().insert("authorization", format!("Bearer {SECRET}").parse().unwrap());
    let mut answers = client.segment_stream(call).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
}

#[tokio::test]
async fn every_refused_call_leaves_one_line_of_sound_json_with_its_reason_and_its_id() {
    let tokens = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(tokens.path(), format!("log = \"{SECRET}\"\n")).unwrap();
    let file = tokens.path().to_owned();
    let server = tokio::task::spawn_blocking(move || {
        Server::start_with(|command| {
            command
                .env("SED_LOG_FORMAT", "json")
                .env("SED_TOKENS", file)
                .env("SED_HEALTH_NEEDS_TOKEN", "true")
                .env("SED_QUEUE_CAPACITY", "1")
                .stderr(Stdio::piped())
        })
    });
    let mut server = server.await.unwrap();
    let (log, url) = (server.log(), server.url());
    let lines =
        std::thread::spawn(|| BufReader::new(log).lines().map(Result::unwrap).collect::<Vec<String>>());

    for (token, vocabulary, id) in [
        ("", "pascal-voc-20", "unread"),
        ("another-secret-for-it", "pascal-voc-20", "unread"),
        (SECRET, "no-such", "first"),
        (SECRET, "", "second"),
        (SECRET, "no-such", "\u{7f}"),
    ] {
        segment(&url, token, vocabulary, id).await.unwrap_err();
    }
    segment_on_a_stream(&url, "pascal-voc-20", "third").await;
    segment_on_a_stream(&url, "no-such", "fourth").await;
    let terminated = tokio::task::spawn_blocking(move || {
        run(&["health", "--server", &url]);
        // One request is computed and one waits: most of so many at a time are refused on any machine.
        let picture = nano("img_b.png");
        let load =
            ["bench", "load", "--clients", "64", "--requests", "512", "--warm-up", "0", "--words", "cat"];
        let mut command = sed_serve(&[&load[..], &[text(&picture), "--server", &url]].concat());
        Outcome::of(command.env("SED_TOKEN", SECRET));
        server.terminate()
    });
    assert_eq!(terminated.await.unwrap(), Some(0));

    let lines = lines.join().unwrap();
    let refused: Vec<Value> = lines
        .iter()
        .filter(|line| line.contains("\"refused\""))
        .inspect(|line| {
            assert_eq!(line.matches("\"message\":").count(), 1, "{line}");
            assert!(!line.contains("secret"), "{line}");
        })
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let facts = |line: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        assert!(!text(&line["fields"]["error"]).is_empty(), "{line}");
        (text(&line["fields"]["reason"]), text(&line["span"]["request_id"]))
    };
    let (full, others): (Vec<_>, Vec<_>) =
        refused.iter().map(facts).partition(|(reason, _)| reason == "QUEUE_FULL");
    assert!(!full.is_empty(), "{lines:#?}");
    // Refused before their message was read, or by an id that is none, they have no id.
    let wanted = [
        ("TOKEN_MISSING", ""),
        ("TOKEN_INVALID", ""),
        ("VOCABULARY_NOT_FOUND", "first"),
        ("FIELD_MISSING", "second"),
        ("OPTION_INVALID", ""),
        ("IMAGE_UNSUPPORTED", "third"),
        ("VOCABULARY_NOT_FOUND", "fourth"),
        ("TOKEN_MISSING", ""),
    ];
    assert_eq!(others, wanted.map(|(reason, id)| (reason.to_owned(), id.to_owned())));
    let by_segment = refused.iter().filter(|line| line["span"]["method"] == "Segment").count();
    assert_eq!(by_segment, full.len() + 5, "each has its method");
}
