//! Answers that come before their caller has sent everything.

use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use sed_server::Settings;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, body::Body};

use crate::harness::Running;

type Part = Result<Frame<Bytes>, Status>;

/// A caller that has its answer after the first bytes of its message, which say that it is too large.
async fn refused_by_the_first_bytes(server: &Running) -> mpsc::Sender<Part> {
    let (parts, sent) = mpsc::channel::<Part>(1);
    let header = [&[0][..], &u32::MAX.to_be_bytes()].concat();
    parts.send(Ok(Frame::data(header.into()))).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let http = hyper_util::client::legacy::Client::builder(executor).http2_only(true).build_http();
    let request =
        http::Request::post(format!("http://{}/sed.v1.SegmentationService/Segment", server.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::new(StreamBody::new(ReceiverStream::new(sent))))
            .unwrap();
    let response = http.request(request).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "11");
    parts
}

fn small_window() -> Settings {
    Settings { http2_stream_window_bytes: 1 << 16, ..Settings::default() }
}

#[tokio::test]
async fn who_is_refused_may_send_the_rest_without_a_reset() {
    let server = Running::start(small_window()).await;
    let parts = refused_by_the_first_bytes(&server).await;
    // More than the window lets through unless it is read. A reset would end the body.
    for _ in 0..16 {
        parts.send(Ok(Frame::data(Bytes::from(vec![0; 1 << 14])))).await.unwrap();
    }
}

#[tokio::test]
async fn who_never_ends_is_stopped() {
    let server = Running::start(small_window()).await;
    let parts = refused_by_the_first_bytes(&server).await;
    timeout(Duration::from_secs(30), parts.closed()).await.unwrap();
}
