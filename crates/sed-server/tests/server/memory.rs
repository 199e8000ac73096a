//! Clients that hold memory or places without using them, beside one that does nothing wrong.

use std::time::{Duration, Instant};

use prost::Message;
use sed_proto::v1::{self, MaskEncoding};
use sed_server::{ServerConfig, Settings};
use tokio::time::timeout;
use tonic::Code;

use crate::{
    harness::{Running, facts, metadata, request, request_for, retry_delay, until, with_options},
    rawcall::RawConnection,
    talk::{Talk, good},
};

const MIB: usize = 1 << 20;
const SEGMENT: &str = "/sed.v1.SegmentationService/Segment";

/// A server that ends transfers which make no progress for half a second.
async fn impatient(raw: Settings) -> Running {
    let mut config = ServerConfig::check(&raw).unwrap();
    config.transport.stall_timeout = Duration::from_millis(500);
    let server = Running::launch_checked(config, |_| {}).await;
    server.engine.ready().await.unwrap();
    server
}

fn framed(message: &impl Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    [&[0][..], &u32::try_from(bytes.len()).unwrap().to_be_bytes(), &bytes].concat()
}

/// A request whose answer has some megabytes.
fn large_answer() -> v1::SegmentRequest {
    let size = v1::Size { width: 1500, height: 1500 };
    with_options(
        3,
        v1::SegmentOptions {
            output_size: Some(v1::OutputSize { kind: Some(v1::output_size::Kind::Exact(size)) }),
            mask_encodings: vec![MaskEncoding::Raw.into()],
            ..Default::default()
        },
    )
}

#[tokio::test]
async fn a_body_that_stops_is_ended_whatever_its_method() {
    let server = impatient(Settings::default()).await;
    let mut connection = RawConnection::open(server.address, 65_535).await;
    let methods = [
        SEGMENT,
        "/sed.v1.SegmentationService/CreateVocabulary",
        "/sed.v1.SegmentationService/GetServerInfo",
        "/inference.GRPCInferenceService/ServerLive",
        "/inference.GRPCInferenceService/ModelInfer",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
    ];
    for path in methods {
        let mut call = connection.begin(path, &[]).await;
        call.send([&[0][..], &1000_u32.to_be_bytes(), &[0; 500]].concat(), false).await;
        let status = timeout(Duration::from_secs(8), call.status()).await.unwrap().unwrap();
        assert_eq!(facts(&status), (Code::Aborted, "UPLOAD_TOO_SLOW".into(), String::new()), "{path}");
    }
    // On a stream it is an end of the stream, within a message; between messages it may be silent.
    let mut call = connection.begin("/sed.v1.SegmentationService/SegmentStream", &[]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    call.send(vec![0; 3], false).await;
    let status = timeout(Duration::from_secs(8), call.status()).await.unwrap().unwrap();
    assert_eq!(facts(&status).1, "UPLOAD_TOO_SLOW");
}

#[tokio::test]
async fn headers_alone_take_no_place() {
    let server = Running::start(Settings { max_concurrent_requests: 1, ..Settings::default() }).await;
    let mut connection = RawConnection::open(server.address, 65_535).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(connection.begin(SEGMENT, &[]).await);
    }
    for _ in 0..3 {
        server.segment(request(2)).await.unwrap();
    }
    drop(silent);
}

#[tokio::test]
async fn uploads_have_a_bound_and_the_slowest_makes_room() {
    let server = Running::start(Settings { max_concurrent_requests: 1, ..Settings::default() }).await;
    let mut connection = RawConnection::open(server.address, 65_535).await;
    let mut silent = Vec::new();
    for _ in 0..16 {
        silent.push(connection.begin(SEGMENT, &[]).await);
    }
    tokio::time::sleep(Duration::from_millis(600)).await; // so old are they before they may be ended for others
    server.segment(request(2)).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_is_not_read_gives_its_place_to_a_complete_request() {
    let server = Running::start(Settings { max_concurrent_requests: 1, ..Settings::default() }).await;
    let mut connection = RawConnection::open(server.address, 0).await;
    let mut call = connection.begin(SEGMENT, &[]).await;
    call.send(framed(&large_answer()), true).await;
    let mut unread = timeout(Duration::from_secs(8), call.answered()).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    server.segment(request(2)).await.unwrap();
    let reset = timeout(Duration::from_secs(8), unread.data()).await.unwrap();
    assert!(reset.is_some_and(|data| data.is_err()));
}

#[tokio::test]
async fn an_answer_that_is_not_read_is_ended_after_a_while() {
    let server = impatient(Settings::default()).await;
    let mut connection = RawConnection::open(server.address, 0).await;
    let mut call = connection.begin(SEGMENT, &[]).await;
    call.send(framed(&large_answer()), true).await;
    let mut unread = timeout(Duration::from_secs(8), call.answered()).await.unwrap().unwrap();
    let reset = timeout(Duration::from_secs(8), unread.data()).await.unwrap();
    assert!(reset.is_some_and(|data| data.is_err()));
}

#[tokio::test]
async fn uploads_that_stand_still_make_room_for_one_that_moves() {
    let server = Running::start(Settings { max_request_memory_bytes: 64 << 20, ..Settings::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        let mut connection = RawConnection::open(server.address, 65_535).await;
        let mut call = connection.begin(SEGMENT, &[]).await;
        let header = [&[0][..], &u32::try_from(20 * MIB).unwrap().to_be_bytes()].concat();
        call.send([header, vec![0; 15 * MIB]].concat(), false).await;
        silent.push((connection, call));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let picture = request_for([crate::images::png(40, 24), vec![0; 8 * MIB]].concat(), 2);
    let begun = Instant::now();
    // It may be told to come again while a call that is older waits for memory.
    while let Err(refused) = server.segment(picture.clone()).await {
        assert_eq!(facts(&refused).1, "MEMORY_EXHAUSTED");
        assert!(begun.elapsed() < Duration::from_secs(8));
        tokio::time::sleep(retry_delay(&refused).unwrap()).await;
    }
}

#[tokio::test]
async fn what_never_fits_is_refused_without_a_delay() {
    let server = Running::start(Settings { max_request_memory_bytes: 64 << 20, ..Settings::default() }).await;
    let size = v1::Size { width: 8000, height: 8000 };
    let options = v1::SegmentOptions {
        output_size: Some(v1::OutputSize { kind: Some(v1::output_size::Kind::Exact(size)) }),
        ..Default::default()
    };
    let refused = server.segment(with_options(3, options)).await.unwrap_err();
    assert_eq!(facts(&refused), (Code::ResourceExhausted, "MEMORY_EXHAUSTED".into(), String::new()));
    assert!(retry_delay(&refused).is_none() && metadata(&refused, "limit").is_some());
    server.segment(request(2)).await.unwrap();
}

#[tokio::test]
async fn a_stream_waits_for_places_that_others_hold() {
    let server = Running::start(Settings { max_concurrent_requests: 1, ..Settings::default() }).await;
    let running = server.occupy().await;
    let mut talk = Talk::open(&server).await;
    for id in ["a", "b", "c"] {
        talk.send(good(id)).await;
    }
    assert!(talk.is_silent().await);
    server.control.release();
    running.await.unwrap().unwrap();
    for id in ["a", "b", "c"] {
        let (answered, outcome) = talk.next().await;
        assert_eq!(answered, id);
        outcome.unwrap();
    }
}

#[tokio::test]
async fn a_stream_waits_for_room_in_the_queue() {
    let server = Running::start(Settings { queue_capacity: Some(1), ..Settings::default() }).await;
    let running = server.occupy().await;
    let mut client = server.client();
    let waiting = tokio::spawn(async move { client.segment(request(2)).await });
    until(|| server.engine.queue_depth() == 1).await;
    let mut talk = Talk::open(&server).await;
    talk.send(good("a")).await;
    assert!(talk.is_silent().await);
    server.control.release();
    running.await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
    talk.next().await.1.unwrap();
}

#[tokio::test]
async fn a_stream_is_told_to_reconnect_before_its_connection_ends() {
    let raw = Settings {
        max_connection_age_seconds: 1.0,
        max_connection_age_grace_seconds: 20.0,
        ..Settings::default()
    };
    let server = Running::start(raw).await;
    let mut talk = Talk::open(&server).await;
    talk.send(good("a")).await;
    talk.next().await.1.unwrap();
    let end = talk.message().await.unwrap_err();
    assert_eq!(facts(&end), (Code::Unavailable, "RECONNECT".into(), String::new()));
    assert_eq!(retry_delay(&end), Some(Duration::ZERO));
}

#[tokio::test]
async fn a_long_id_is_refused_and_not_repeated_whole() {
    let server = Running::start(Settings::default()).await;
    let mut talk = Talk::open(&server).await;
    talk.send(good(&"x".repeat(100_000))).await;
    let (id, refusal) = talk.refusal().await;
    assert_eq!(id, "x".repeat(128));
    assert_eq!(refusal.2, "request_id");
    until(|| server.engine.queue_depth() == 0).await;
}
