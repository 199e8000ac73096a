//! Calls made by hand, for what no client would send.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use prost::Message;
use tonic::Status;

/// An answer: its headers, whole body, and status, which may stand in the headers or the trailers.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) status: Status,
}

/// Sends one message of `Segment` as it stands, with these headers.
pub(crate) async fn segment(address: SocketAddr, headers: &[(&str, &str)], framed: Vec<u8>) -> Answer {
    call(address, "/sed.v1.SegmentationService/Segment", headers, framed).await
}

/// The same for any method.
pub(crate) async fn call(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    framed: Vec<u8>,
) -> Answer {
    let http = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let mut request = Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = http.request(request.body(Full::new(Bytes::from(framed))).unwrap()).await.unwrap();
    let headers = response.headers().clone();
    let collected = response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_else(|| headers.clone());
    let status = Status::from_header_map(&trailers).unwrap();
    Answer { headers, body: collected.to_bytes(), status }
}

/// A message on the wire: whether it is compressed, its length, itself.
pub(crate) fn frame(compressed: bool, message: &[u8]) -> Vec<u8> {
    let head = [&[u8::from(compressed)][..], &u32::try_from(message.len()).unwrap().to_be_bytes()].concat();
    [&head, message].concat()
}

/// The bytes of a message.
pub(crate) fn encoded(message: &impl Message) -> Vec<u8> {
    message.encode_to_vec()
}
