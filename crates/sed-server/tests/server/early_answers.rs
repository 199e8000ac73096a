//! Answers that come before their caller has sent everything.

use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use sed_server::config::RawConfig;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, body::Body};

use crate::harness::Running;

type Part = Result<Frame<Bytes>, Status>;

/// A caller of a server without a free place, who has his answer and has sent nothing yet.
async fn refused_before_anything_was_sent(server: &Running) -> mpsc::Sender<Part> {
    let (parts, sent) = mpsc::channel::<Part>(1);
    let executor = hyper_util::rt::TokioExecutor::new();
    let http = hyper_util::client::legacy::Client::builder(executor).http2_only(true).build_http();
    let request =
        http::Request::post(format!("http://{}/sed.v1.SegmentationService/Segment", server.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::new(StreamBody::new(ReceiverStream::new(sent))))
            .unwrap();
    let response = http.request(request).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "8");
    parts
}

fn one_place() -> RawConfig {
    RawConfig {
        max_concurrent_requests: Some(1),
        http2_stream_window_bytes: Some(1 << 16),
        ..RawConfig::default()
    }
}

#[tokio::test]
async fn who_is_refused_may_send_the_rest_without_a_reset() {
    let server = Running::start(one_place()).await;
    let running = server.occupy().await;
    let parts = refused_before_anything_was_sent(&server).await;
    // More than the window lets through unless it is read. A reset would end the body.
    for _ in 0..16 {
        parts.send(Ok(Frame::data(Bytes::from(vec![0; 1 << 14])))).await.unwrap();
    }
    server.control.release();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_never_ends_is_stopped() {
    let server = Running::start(one_place()).await;
    let running = server.occupy().await;
    let parts = refused_before_anything_was_sent(&server).await;
    timeout(Duration::from_secs(30), parts.closed()).await.unwrap();
    server.control.release();
    running.await.unwrap().unwrap();
}
