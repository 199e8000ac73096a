//! `SegmentStream`: each request as `Segment` would handle it, with its own deadline and its own place.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sed_proto::v1;
use sed_server::Settings;
use tokio_stream::StreamExt;
use tonic::Code;

use crate::{
    harness::{Running, facts, request, until},
    images,
    talk::{Talk, bad, good, hold, invalid, of, until_held},
};

#[tokio::test]
async fn an_answer_is_that_of_a_call() {
    let server = Running::start(Settings::default()).await;
    let mut talk = Talk::open(&server).await;
    talk.send(of("one", request(6))).await;
    let (id, answer) = talk.next().await;
    let answer = answer.unwrap();
    assert_eq!((id.as_str(), answer.request_id.as_str()), ("one", "one"));
    let call = v1::SegmentRequest { request_id: "one".into(), ..request(6) };
    let call = server.segment(call).await.unwrap();
    let plain = |answer| v1::SegmentResponse { latency: None, ..answer };
    assert_eq!(plain(answer), plain(call));

    talk.send(of("two", v1::SegmentRequest { vocabulary: None, ..request(6) })).await;
    let (id, refused) = talk.next().await;
    let refused = refused.unwrap_err();
    let call = server.segment(v1::SegmentRequest { vocabulary: None, ..request(6) }).await.unwrap_err();
    assert_eq!(id, "two");
    assert_eq!((refused.code(), refused.message()), (call.code(), call.message()));
    assert_eq!(refused.details(), call.details());
}

#[tokio::test]
async fn bad_requests_harm_none_of_their_neighbours() {
    let server = Running::start(Settings::default()).await;
    let mut talk = Talk::open(&server).await;
    let damaged = v1::image::Source::Encoded(images::png(40, 24)[..80].to_vec().into());
    let damaged = v1::SegmentRequest { image: Some(v1::Image { source: Some(damaged) }), ..request(2) };
    for message in [good("1"), bad("2"), of("3", damaged), v1::SegmentStreamRequest::default(), good("5")] {
        talk.send(message).await;
    }
    assert!(talk.next().await.1.is_ok());
    assert_eq!(talk.refusal().await, ("2".into(), invalid("OPTION_INVALID", "options.score_threshold")));
    assert_eq!(talk.refusal().await, ("3".into(), invalid("IMAGE_CORRUPT", "image.encoded")));
    assert_eq!(talk.refusal().await, (String::new(), invalid("FIELD_MISSING", "request")));
    let (id, answer) = talk.next().await;
    assert_eq!((id.as_str(), answer.unwrap().categories.len()), ("5", 3));
}

#[tokio::test]
async fn each_request_has_a_deadline_of_its_own() {
    let server = Running::start(Settings { max_timeout_seconds: 0.6, ..Settings::default() }).await;
    let mut talk = Talk::open(&server).await;
    hold(&server);
    let within = |id, seconds, nanos| v1::SegmentStreamRequest {
        timeout: Some(prost_types::Duration { seconds, nanos }),
        any_order: true,
        ..good(id)
    };
    let begun = std::time::Instant::now();
    talk.send(within("usual", 3600, 0)).await; // shortened to the server's longest
    until_held(&server).await;
    talk.send(within("short", 0, 200_000_000)).await;
    talk.send(within("wrong", -1, 0)).await;
    let exceeded = (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_string(), String::new());
    assert_eq!(talk.refusal().await, ("wrong".into(), invalid("OPTION_INVALID", "timeout")));
    assert_eq!(talk.refusal().await, ("short".into(), exceeded.clone()));
    assert_eq!(talk.refusal().await, ("usual".into(), exceeded));
    assert!(begun.elapsed() >= Duration::from_millis(600));
    // The stream itself may last longer than any of its requests.
    server.control.release();
    talk.send(good("later")).await;
    assert!(talk.next().await.1.is_ok());
}

#[tokio::test]
async fn requests_of_streams_take_places_like_others() {
    let server = Running::start(Settings { max_concurrent_requests: 1, ..Settings::default() }).await;
    let mut talk = Talk::open(&server).await; // an open stream takes none
    server.segment(request(2)).await.unwrap();
    hold(&server);
    talk.send(of("now", crate::harness::request_for(images::png(9, 9), 2))).await;
    until_held(&server).await;
    let full = (Code::ResourceExhausted, "QUEUE_FULL".to_string(), String::new());
    assert_eq!(facts(&server.segment(request(2)).await.unwrap_err()), full);
    server.control.release();
    assert!(talk.next().await.1.is_ok());
    server.segment(request(2)).await.unwrap();
}

#[tokio::test]
async fn no_more_is_read_than_is_worked_on() {
    let raw = Settings {
        max_stream_requests: 2,
        http2_stream_window_bytes: 65_535,
        batch_images: 1, // so that the second waits while the first is on the device
        ..Settings::default()
    };
    let server = Running::start(raw).await;
    server.segment(request(2)).await.unwrap(); // the words are known, so that the second has not begun at all
    hold(&server);
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    // Each message is larger than the window, so the client cannot send ahead what the server does not read.
    let picture = images::picture(200, 170).into_raw();
    let messages = (0..20_u8).map(move |number| {
        count.fetch_add(1, Ordering::SeqCst);
        let mut pixels = picture.clone();
        pixels[0] = number; // 20 different pictures
        let raw = v1::RawImage { pixels: pixels.into(), width: 200, height: 170, row_stride: 0 };
        let image = v1::Image { source: Some(v1::image::Source::Raw(raw)) };
        of(&number.to_string(), v1::SegmentRequest { image: Some(image), ..request(2) })
    });
    let stream = tokio_stream::iter(messages);
    let mut answers = server.client().segment_stream(stream).await.unwrap().into_inner();
    until_held(&server).await;
    until(|| server.engine.queue_depth() == 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.engine.queue_depth(), 1); // one on the device, one that waits
    // Two in work, one on its way, one that the client's transport has taken.
    assert!(taken.load(Ordering::SeqCst) <= 4, "{taken:?}");
    server.control.release();
    let mut ids = Vec::new();
    while let Some(answer) = answers.next().await {
        ids.push(answer.unwrap().request_id);
    }
    assert_eq!(ids, (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
}
