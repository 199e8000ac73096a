//! Each bad request gets its code, its reason and its field, and leaves the server answering.

use sed_proto::v1::{self, MaskEncoding};
use sed_server::Settings;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    harness::{Running, facts, inline, metadata, named, request, request_for, with_options},
    images,
};

fn expected(code: Code, reason: &str, field: &str) -> (Code, String, String) {
    (code, reason.to_string(), field.to_string())
}

fn invalid(reason: &str, field: &str) -> (Code, String, String) {
    expected(Code::InvalidArgument, reason, field)
}

fn category(name: &str) -> v1::Category {
    v1::Category { name: name.into(), synonyms: Vec::new() }
}

fn half_a_jpeg() -> Vec<u8> {
    let mut file = images::turned_jpeg(40, 24);
    file.truncate(file.len() / 2);
    file
}

fn raw_image(length: usize, width: u32, height: u32, row_stride: u32) -> Option<v1::Image> {
    let raw = v1::RawImage { pixels: vec![0; length].into(), width, height, row_stride };
    Some(v1::Image { source: Some(v1::image::Source::Raw(raw)) })
}

#[tokio::test]
async fn every_bad_field_is_named() {
    let limits = Settings {
        max_image_bytes: Some(20_000),
        max_image_pixels: 10_000,
        max_image_side: 200,
        max_output_pixels: 5000,
        max_categories: 5,
        max_phrases: 6,
        max_synonyms: 2,
        ..Settings::default()
    };
    let server = Running::start(limits).await;
    let with_image = |image| v1::SegmentRequest { image, ..request(2) };
    let with_words = |words| v1::SegmentRequest { vocabulary: Some(words), ..request(2) };
    let with_synonyms = |count| {
        let synonyms = (0..count).map(|index| format!("synonym {index}")).collect();
        with_words(inline(vec![v1::Category { name: "dog".into(), synonyms }]))
    };
    let encodings = |encodings: &[MaskEncoding]| {
        let mask_encodings = encodings.iter().map(|encoding| i32::from(*encoding)).collect();
        v1::SegmentOptions { mask_encodings, ..Default::default() }
    };
    let mut narrow = with_options(1, encodings(&[MaskEncoding::Raw, MaskEncoding::IndexPng8]));
    narrow.vocabulary = Some(named("many"));

    let list = "vocabulary.categories.categories";
    let cases = [
        (with_image(None), invalid("FIELD_MISSING", "image.source")),
        (with_image(Some(v1::Image::default())), invalid("FIELD_MISSING", "image.source")),
        (request_for(Vec::new(), 2), invalid("IMAGE_CORRUPT", "image.encoded")),
        (request_for(b"hello, I am text".to_vec(), 2), invalid("IMAGE_UNSUPPORTED", "image.encoded")),
        (request_for(images::png(40, 24)[..80].to_vec(), 2), invalid("IMAGE_CORRUPT", "image.encoded")),
        (request_for(half_a_jpeg(), 2), invalid("IMAGE_CORRUPT", "image.encoded")),
        (request_for(vec![0; 20_001], 2), invalid("IMAGE_TOO_LARGE", "image.encoded")),
        (request_for(images::png(101, 100), 2), invalid("IMAGE_TOO_LARGE", "image.encoded")),
        (request_for(images::png(201, 2), 2), invalid("IMAGE_TOO_LARGE", "image.encoded")),
        (request_for(images::png(80, 80), 2), invalid("OUTPUT_TOO_LARGE", "options.output_size")),
        (with_image(raw_image(0, 0, 4, 0)), invalid("IMAGE_CORRUPT", "image.raw")),
        (with_image(raw_image(35, 4, 3, 0)), invalid("IMAGE_CORRUPT", "image.raw")),
        (with_image(raw_image(37, 4, 3, 0)), invalid("IMAGE_CORRUPT", "image.raw")),
        (with_image(raw_image(36, 4, 3, 11)), invalid("IMAGE_CORRUPT", "image.raw")),
        (with_image(raw_image(36, 4, 3, u32::MAX)), invalid("IMAGE_CORRUPT", "image.raw")),
        (with_image(raw_image(3, u32::MAX, u32::MAX, 0)), invalid("IMAGE_TOO_LARGE", "image.raw")),
        (with_words(v1::Vocabulary::default()), invalid("FIELD_MISSING", "vocabulary.source")),
        (with_words(inline(Vec::new())), invalid("VOCABULARY_EMPTY", list)),
        (request(6), invalid("VOCABULARY_TOO_LARGE", list)),
        (with_synonyms(3), invalid("VOCABULARY_TOO_LARGE", &format!("{list}[0].synonyms"))),
        (
            with_words(inline(vec![category("a"), category("")])),
            invalid("CATEGORY_NAME_INVALID", &format!("{list}[1].name")),
        ),
        (
            with_words(inline(vec![category("a\u{7}")])),
            invalid("CATEGORY_NAME_INVALID", &format!("{list}[0].name")),
        ),
        (
            with_words(inline(vec![category(&"a".repeat(257))])),
            invalid("CATEGORY_NAME_INVALID", &format!("{list}[0].name")),
        ),
        (
            with_words(inline(vec![category("Dog"), category("dog")])),
            invalid("CATEGORY_DUPLICATE", &format!("{list}[1].name")),
        ),
        (
            with_words(inline(vec![category("caf\u{e9}"), category("cafe\u{301}")])),
            invalid("CATEGORY_DUPLICATE", &format!("{list}[1].name")),
        ),
        (
            with_words(inline(vec![category("&nbsp;")])),
            invalid("CATEGORY_NAME_INVALID", &format!("{list}[0].name")),
        ),
        (with_words(named("")), invalid("FIELD_MISSING", "vocabulary.name")),
        (with_words(named(&"p".repeat(257))), invalid("OPTION_INVALID", "vocabulary.name")),
        (with_words(named("planets")), expected(Code::NotFound, "VOCABULARY_NOT_FOUND", "")),
        (narrow, invalid("OPTION_INVALID", "options.mask_encodings[1]")),
        (
            with_options(2, v1::SegmentOptions { score_threshold: Some(f32::NAN), ..Default::default() }),
            invalid("OPTION_INVALID", "options.score_threshold"),
        ),
        (
            v1::SegmentRequest { request_id: "tab\there".into(), ..request(2) },
            invalid("OPTION_INVALID", "request_id"),
        ),
        (
            v1::SegmentRequest { request_id: "x".repeat(129), ..request(2) },
            invalid("OPTION_INVALID", "request_id"),
        ),
    ];
    for (request, expected) in cases {
        let refused = server.segment(request).await.unwrap_err();
        assert_eq!(facts(&refused), expected, "{}", refused.message());
        server.segment(self::request(2)).await.unwrap();
    }
}

#[tokio::test]
async fn a_limit_is_told_with_the_refusal() {
    let server = Running::start(Settings { max_categories: 5, ..Settings::default() }).await;
    let refused = server.segment(request(6)).await.unwrap_err();
    assert_eq!(metadata(&refused, "limit").as_deref(), Some("5"));
    let mut unknown = request(2);
    unknown.vocabulary = Some(named("planets"));
    let refused = server.segment(unknown).await.unwrap_err();
    let details = refused.get_error_details();
    let resource = details.resource_info().unwrap();
    assert_eq!(
        (resource.resource_type.as_str(), resource.resource_name.as_str()),
        ("sed.v1.Vocabulary", "planets")
    );
}

#[tokio::test]
async fn an_answer_that_grows_too_large_is_refused() {
    let server = Running::start(Settings { max_response_bytes: 2200, ..Settings::default() }).await;
    let raw = v1::SegmentOptions { mask_encodings: vec![MaskEncoding::Raw.into()], ..Default::default() };
    let refused = server.segment(with_options(2, raw)).await.unwrap_err();
    assert_eq!(facts(&refused), invalid("OUTPUT_TOO_LARGE", "options.mask_encodings"));
    server.segment(request(2)).await.unwrap();
}

#[tokio::test]
async fn too_many_polygon_points_are_refused() {
    let server = Running::start(Settings { max_polygon_points: 4, ..Settings::default() }).await;
    let polygons =
        v1::SegmentOptions { mask_encodings: vec![MaskEncoding::Polygons.into()], ..Default::default() };
    let refused = server.segment(with_options(9, polygons)).await.unwrap_err();
    assert_eq!(facts(&refused), invalid("OUTPUT_TOO_LARGE", "options.mask_encodings"));
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused_with_the_limit() {
    let server = Running::start(Settings { max_message_bytes: 100_000, ..Settings::default() }).await;
    for bytes in [100_001, 4_000_000, 20_000_000] {
        let refused = server.segment(request_for(vec![0; bytes], 2)).await.unwrap_err();
        assert_eq!(facts(&refused), expected(Code::OutOfRange, "MESSAGE_TOO_LARGE", ""), "{bytes}");
        assert_eq!(metadata(&refused, "limit").as_deref(), Some("100000"));
        server.segment(request(2)).await.unwrap();
    }
}

#[tokio::test]
async fn an_image_far_above_four_mebibytes_gets_through() {
    let server = Running::start(Settings::default()).await;
    let picture = images::picture(3000, 2500);
    let raw = v1::RawImage { pixels: picture.into_raw().into(), width: 3000, height: 2500, row_stride: 0 };
    let mut large = request(2);
    large.image = Some(v1::Image { source: Some(v1::image::Source::Raw(raw)) });
    let answer = server.segment(large).await.unwrap();
    assert_eq!(answer.mask_size, Some(v1::Size { width: 3000, height: 2500 }));
}

#[tokio::test]
async fn what_is_no_message_is_called_malformed() {
    let server = Running::start(Settings::default()).await;
    // Field 1 of a request is a message; these bytes are none.
    let nonsense = v1::RawImage { pixels: vec![0xff; 9].into(), ..Default::default() };
    let mut grpc = tonic::client::Grpc::new(server.channel.clone());
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<v1::RawImage, v1::SegmentResponse>::default();
    let path = http::uri::PathAndQuery::from_static("/sed.v1.SegmentationService/Segment");
    let refused: Status = grpc.unary(tonic::Request::new(nonsense), path, codec).await.unwrap_err();
    assert_eq!(facts(&refused), invalid("REQUEST_MALFORMED", ""));
    server.segment(request(2)).await.unwrap();
}

#[tokio::test]
async fn huge_headers_are_refused() {
    let server = Running::start(Settings { http2_max_header_bytes: 2048, ..Settings::default() }).await;
    let mut request = tonic::Request::new(self::request(2));
    request.metadata_mut().insert("x-large", "x".repeat(4000).parse().unwrap());
    let refused = server.client().segment(request).await.unwrap_err();
    assert_ne!(refused.code(), Code::Ok);
    server.segment(self::request(2)).await.unwrap();
}
