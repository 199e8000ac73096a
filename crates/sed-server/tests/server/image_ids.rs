//! The same picture again by its id: without its bytes and without the encoder.

use image::ImageFormat;
use sed_engine::{Level, Stage};
use sed_proto::v1;
use sed_server::Settings;
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    harness::{Running, facts, request, request_for},
    images,
};

/// The same request about the picture of an id.
fn by_id(id: &str, request: v1::SegmentRequest) -> v1::SegmentRequest {
    let image = Some(v1::Image { source: Some(v1::image::Source::Id(id.into())) });
    v1::SegmentRequest { image, ..request }
}

fn with(request: v1::SegmentRequest, options: v1::SegmentOptions) -> v1::SegmentRequest {
    v1::SegmentRequest { options: Some(options), ..request }
}

/// The parts of an answer that must not depend on the way in which the picture was sent.
fn result(answer: v1::SegmentResponse) -> v1::SegmentResponse {
    v1::SegmentResponse { request_id: String::new(), latency: None, ..answer }
}

#[tokio::test]
async fn new_words_about_an_old_picture_skip_decoder_and_encoder() {
    let server = Running::start(Settings::default()).await;
    let id = server.segment(request(4)).await.unwrap().image_id;
    let encoded = server.control.calls(Stage::Encode);

    let again = server.segment(by_id(&id, request(9))).await.unwrap();
    assert_eq!(server.control.calls(Stage::Encode), encoded);
    assert_eq!(again.image_id, id);
    let latency = again.latency.clone().unwrap();
    assert!(latency.image_cache_hit);
    let stages: Vec<_> = latency.stages.iter().map(v1::StageLatency::stage).collect();
    assert!(!stages.contains(&v1::Stage::ImageDecode) && !stages.contains(&v1::Stage::Encode), "{stages:?}");
    assert_eq!(stages.last(), Some(&v1::Stage::MaskEncoding));

    let other = Running::start(Settings::default()).await;
    let by_bytes = other.segment(request(9)).await.unwrap();
    assert!(!by_bytes.latency.as_ref().unwrap().image_cache_hit);
    assert_eq!(result(again), result(by_bytes));
}

#[tokio::test]
async fn the_times_of_a_request_by_id_add_up_too() {
    let server = Running::start(Settings::default()).await;
    let id = server.segment(request(4)).await.unwrap().image_id;
    let delay = std::time::Duration::from_millis(300);
    server.control.inject(Stage::Decode(Level::Two), sed_engine::fake::Fault::Delay(delay));
    let latency = server.segment(by_id(&id, request(4))).await.unwrap().latency.unwrap();
    let seconds = |time: Option<prost_types::Duration>| std::time::Duration::try_from(time.unwrap()).unwrap();
    let parts: std::time::Duration =
        latency.stages.iter().map(|stage| seconds(stage.queue_wait) + seconds(stage.duration)).sum();
    let total = seconds(latency.total);
    assert!(parts <= total && parts > total.mul_f64(0.9), "{parts:?} of {total:?}");
}

#[tokio::test]
async fn the_id_is_that_of_the_pixels() {
    let server = Running::start(Settings::default()).await;
    let id = server.segment(request(2)).await.unwrap().image_id;
    assert!(id.len() == 68 && id.starts_with("img-"), "{id}");
    let picture = images::picture(40, 24);
    let bmp = images::encoded(&picture, ImageFormat::Bmp);
    assert_eq!(server.segment(request_for(bmp, 3)).await.unwrap().image_id, id);
    let raw = v1::RawImage { pixels: picture.into_raw().into(), width: 40, height: 24, row_stride: 0 };
    let source = v1::image::Source::Raw(raw);
    let raw = v1::SegmentRequest { image: Some(v1::Image { source: Some(source) }), ..request(3) };
    assert_eq!(server.segment(raw).await.unwrap().image_id, id);

    let official = v1::SegmentOptions { resize_mode: v1::ResizeMode::TwoStep.into(), ..Default::default() };
    assert_ne!(server.segment(with(request(2), official)).await.unwrap().image_id, id);
    let other = server.segment(request_for(images::png(24, 40), 2)).await.unwrap();
    assert_ne!(other.image_id, id);
}

#[tokio::test]
async fn the_id_stands_for_the_resize_mode_and_its_crop() {
    let server = Running::start(Settings::default()).await;
    let mode = |mode: v1::ResizeMode| v1::SegmentOptions {
        top_k: Some(0),
        resize_mode: mode.into(),
        ..Default::default()
    };
    let thin = request_for(images::png(2, 4000), 30);
    let cut = server.segment(with(thin.clone(), mode(v1::ResizeMode::TwoStep))).await.unwrap();
    let whole = server.segment(with(thin.clone(), mode(v1::ResizeMode::Direct))).await.unwrap();
    assert_ne!(cut.masks, whole.masks);
    for (by_bytes, other) in [(&cut, v1::ResizeMode::Direct), (&whole, v1::ResizeMode::TwoStep)] {
        let again = server.segment(by_id(&by_bytes.image_id, with(thin.clone(), mode(other)))).await.unwrap();
        assert_eq!(again.masks, by_bytes.masks);
        assert_eq!(again.image_id, by_bytes.image_id);
    }

    // The network's own map is never cut.
    let model = v1::output_size::Kind::Preset(v1::OutputSizePreset::Model.into());
    let model = v1::SegmentOptions {
        output_size: Some(v1::OutputSize { kind: Some(model) }),
        ..mode(v1::ResizeMode::TwoStep)
    };
    let by_bytes = server.segment(with(thin.clone(), model.clone())).await.unwrap();
    let again = server.segment(by_id(&cut.image_id, with(thin, model))).await.unwrap();
    assert_eq!(again.mask_size, Some(v1::Size { width: 8, height: 8 }));
    assert_eq!(result(again), result(by_bytes));
}

#[tokio::test]
async fn an_image_that_is_not_there_is_not_found() {
    // Room for one: 64 bytes of features and what an entry costs.
    let server = Running::start(Settings { image_cache_bytes: 300, ..Settings::default() }).await;
    let first = server.segment(request(2)).await.unwrap().image_id;
    server.segment(by_id(&first, request(3))).await.unwrap();
    let second = server.segment(request_for(images::png(30, 30), 2)).await.unwrap().image_id;
    server.segment(by_id(&second, request(3))).await.unwrap();

    for gone in [first, format!("img-{}", "0".repeat(64))] {
        let refused = server.segment(by_id(&gone, request(3))).await.unwrap_err();
        assert_eq!(facts(&refused), (Code::NotFound, "IMAGE_NOT_FOUND".into(), String::new()));
        let details = refused.get_error_details();
        let resource = details.resource_info().unwrap();
        assert_eq!((resource.resource_type.as_str(), &resource.resource_name), ("sed.v1.Image", &gone));
    }
}

#[tokio::test]
async fn a_server_that_keeps_no_images_gives_no_ids() {
    let server = Running::start(Settings { image_cache_bytes: 0, ..Settings::default() }).await;
    let answer = server.segment(request(2)).await.unwrap();
    assert_eq!(answer.image_id, "");
    let encoded = server.control.calls(Stage::Encode);
    server.segment(request(2)).await.unwrap();
    assert_eq!(server.control.calls(Stage::Encode), encoded + 1);
    let id = format!("img-{}", "0".repeat(64));
    let refused = server.segment(by_id(&id, request(2))).await.unwrap_err();
    assert_eq!(facts(&refused).1, "IMAGE_NOT_FOUND");
}

#[tokio::test]
async fn what_an_id_cannot_do_is_refused_with_its_field() {
    let server = Running::start(Settings { max_output_pixels: 1000, ..Settings::default() }).await;
    let id = server.segment(request(2)).await.unwrap().image_id;
    let invalid = |field: &str| (Code::InvalidArgument, "OPTION_INVALID".to_string(), field.to_string());
    let refused = server.segment(by_id("img-7", request(2))).await.unwrap_err();
    assert_eq!(facts(&refused), invalid("image.id"));

    let overlay = v1::SegmentOptions { overlay: Some(v1::Overlay::default()), ..Default::default() };
    let refused = server.segment(by_id(&id, with(request(2), overlay))).await.unwrap_err();
    assert_eq!(facts(&refused), invalid("options.overlay"));
    assert!(refused.message().contains("bytes"), "{}", refused.message());

    // A large picture with small masks is remembered, and its masks are bounded as before.
    let small = v1::output_size::Kind::Preset(v1::OutputSizePreset::Model.into());
    let small =
        v1::SegmentOptions { output_size: Some(v1::OutputSize { kind: Some(small) }), ..Default::default() };
    let large = request_for(images::png(50, 50), 2);
    let id = server.segment(with(large, small.clone())).await.unwrap().image_id;
    server.segment(by_id(&id, with(request(2), small))).await.unwrap();
    let refused = server.segment(by_id(&id, request(2))).await.unwrap_err();
    let expected = (Code::InvalidArgument, "OUTPUT_TOO_LARGE".into(), "options.output_size".into());
    assert_eq!(facts(&refused), expected);
}
