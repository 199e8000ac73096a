//! Compressed messages, both ways.

use std::io::{Read, Write};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use prost::Message;
use sed_proto::v1::{self, MaskEncoding};
use sed_server::Settings;
use tonic::Code;

use super::raw::{self, encoded, frame};
use crate::harness::{Running, facts, request, with_options};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A request whose masks are as large as they are plain.
fn for_raw_masks() -> v1::SegmentRequest {
    let size = v1::output_size::Kind::Exact(v1::Size { width: 200, height: 100 });
    with_options(
        3,
        v1::SegmentOptions {
            mask_encodings: vec![MaskEncoding::Raw.into()],
            output_size: Some(v1::OutputSize { kind: Some(size) }),
            ..Default::default()
        },
    )
}

#[tokio::test]
async fn requests_may_be_compressed() {
    let server = Running::start(Settings::default()).await;
    let message = encoded(&request(3));
    for (way, compressed) in [("gzip", gzip(&message)), ("zstd", zstd::encode_all(&message[..], 3).unwrap())]
    {
        let answer = raw::segment(server.address, &[("grpc-encoding", way)], frame(true, &compressed)).await;
        assert_eq!(answer.status.code(), Code::Ok, "{way}: {:?}", answer.status);
        let damaged = frame(true, &compressed[..compressed.len() / 2]);
        let answer = raw::segment(server.address, &[("grpc-encoding", way)], damaged).await;
        assert_eq!(facts(&answer.status).1, "REQUEST_MALFORMED", "{way}");
    }
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_ask_where_it_is_worth_it() {
    let server = Running::start(Settings::default()).await;
    let ask = async |accept: &[(&str, &str)], request: v1::SegmentRequest| {
        let answer = raw::segment(server.address, accept, frame(false, &encoded(&request))).await;
        assert_eq!(answer.status.code(), Code::Ok);
        let (compressed, message) = (answer.body[0] == 1, answer.body.slice(5..));
        (answer.headers.get("grpc-encoding").cloned(), compressed, message)
    };
    let (encoding, compressed, plain) = ask(&[], for_raw_masks()).await;
    assert_eq!((encoding, compressed), (None, false));
    assert!(plain.len() > 40_000);

    let gzip_first = [("grpc-accept-encoding", "identity,gzip,zstd")];
    let (encoding, compressed, small) = ask(&gzip_first, for_raw_masks()).await;
    assert_eq!((encoding.unwrap().to_str().unwrap(), compressed), ("gzip", true));
    assert!(small.len() < plain.len() / 4, "{} of {}", small.len(), plain.len());
    let mut unpacked = Vec::new();
    GzDecoder::new(&small[..]).read_to_end(&mut unpacked).unwrap();
    let masks = |bytes: &[u8]| v1::SegmentResponse::decode(bytes).unwrap().masks;
    assert_eq!(masks(&unpacked), masks(&plain));

    let (encoding, compressed, small) = ask(&[("grpc-accept-encoding", "zstd")], for_raw_masks()).await;
    assert_eq!((encoding.unwrap().to_str().unwrap(), compressed), ("zstd", true));
    assert_eq!(masks(&zstd::decode_all(&small[..]).unwrap()), masks(&plain));

    // A PNG file is compressed already.
    let (_, compressed, _) = ask(&gzip_first, request(3)).await;
    assert!(!compressed);
}

#[tokio::test]
async fn compression_can_be_turned_off() {
    let off = Settings { compression: vec!["off".into()], ..Settings::default() };
    let server = Running::start(off).await;
    let compressed = frame(true, &gzip(&encoded(&request(3))));
    let answer = raw::segment(server.address, &[("grpc-encoding", "gzip")], compressed).await;
    assert_eq!(answer.status.code(), Code::Unimplemented);
    let plain = frame(false, &encoded(&for_raw_masks()));
    let answer = raw::segment(server.address, &[("grpc-accept-encoding", "gzip")], plain).await;
    assert_eq!((answer.status.code(), answer.body[0]), (Code::Ok, 0));
    let info = server.client().get_server_info(v1::GetServerInfoRequest {}).await.unwrap().into_inner();
    assert!(info.compressions.is_empty());
}

/// Compressing a large answer would keep a thread of the sockets busy, on which probes wait.
#[tokio::test]
async fn large_answers_are_not_compressed() {
    let server = Running::start(Settings::default()).await;
    let mut request = for_raw_masks();
    let size = v1::output_size::Kind::Exact(v1::Size { width: 2000, height: 1000 });
    request.options.as_mut().unwrap().output_size = Some(v1::OutputSize { kind: Some(size) });
    let accept = [("grpc-accept-encoding", "gzip, zstd")];
    let answer = raw::segment(server.address, &accept, frame(false, &encoded(&request))).await;
    assert_eq!((answer.status.code(), answer.body[0]), (Code::Ok, 0));
    assert!(answer.body.len() > 4_000_000);
}
