//! Every call is counted once, whatever its end.

use sed_engine::{Stage, StageError, fake::Fault};
use sed_proto::{inference, v1};
use sed_server::{ServerConfig, Settings};
use tonic::Code;

use crate::{
    harness::{Running, facts, request, until},
    images, infer,
    rawcall::RawConnection,
    scrape::Counts,
};

const IN_FLIGHT: &str = "sed_requests_in_flight";

/// The series of calls of `Segment` that ended so.
fn ended(code: &str) -> String {
    format!("sed_requests_total{{method=\"Segment\",code=\"{code}\"}}")
}

fn rejected(reason: &str) -> String {
    format!("sed_requests_rejected_total{{reason=\"{reason}\"}}")
}

/// Fails unless exactly one call ended, in this way, and no other is left.
#[track_caller]
fn assert_one_call(counts: &Counts, code: &str) {
    assert_eq!(counts.of(&ended(code)), 1.0, "{code}");
    assert_eq!(counts.of_all("sed_requests_total"), 1.0, "{code}");
    let outcome = if code == "OK" { "answered" } else { "failed" };
    assert_eq!(counts.of(&timed("Segment", outcome)), 1.0);
    assert_eq!(counts.of_all("sed_request_duration_seconds_count"), 1.0);
    assert_eq!(counts.of(IN_FLIGHT), 0.0);
}

/// The series of the times of a method's calls that ended so.
fn timed(method: &str, outcome: &str) -> String {
    format!("sed_request_duration_seconds_count{{method=\"{method}\",outcome=\"{outcome}\"}}")
}

#[tokio::test]
async fn an_answered_call_is_counted_with_its_sizes_and_stages() {
    let server = Running::start(Settings::default()).await;
    let counts = server.counts();
    let sent = prost::Message::encoded_len(&request(4)) as f64;
    let running = server.occupy().await;
    assert_eq!(counts.of(IN_FLIGHT), 1.0);
    assert_eq!(counts.of_all("sed_requests_total"), 0.0);
    server.control.release();
    let answer = running.await.unwrap().unwrap();

    assert_one_call(&counts, "OK");
    assert_eq!(counts.of_all("sed_requests_rejected_total"), 0.0);
    let head = 5.0; // of a message on the wire
    assert_eq!(counts.of("sed_request_bytes_sum"), sent + head);
    let answered = prost::Message::encoded_len(&answer) as f64;
    assert_eq!(counts.of("sed_response_bytes_sum"), answered + head);
    assert_eq!(counts.of("sed_image_pixels_sum"), 40.0 * 24.0);
    for stage in ["image_decode", "mask_encoding"] {
        for metric in ["sed_stage_duration_seconds", "sed_stage_wait_seconds"] {
            assert_eq!(counts.of(&format!("{metric}_count{{stage=\"{stage}\"}}")), 1.0, "{metric} {stage}");
        }
    }
}

#[tokio::test]
async fn a_refused_call_is_counted_with_its_reason() {
    let server = Running::start(Settings { max_message_bytes: 2000, ..Settings::default() }).await;
    let counts = server.counts();
    let no_image = v1::SegmentRequest { image: None, ..request(2) };
    let large = v1::SegmentRequest { request_id: "x".repeat(3000), ..request(2) };
    let image = Some(v1::Image { source: Some(v1::image::Source::Encoded(vec![7; 40].into())) });
    let no_picture = v1::SegmentRequest { image, ..request(2) };
    let cases = [
        (no_image, Code::InvalidArgument, "INVALID_ARGUMENT", "invalid"),
        (large, Code::OutOfRange, "OUT_OF_RANGE", "message_too_large"),
        (no_picture, Code::InvalidArgument, "INVALID_ARGUMENT", "image_unsupported"),
    ];
    for (bad, code, name, reason) in cases {
        let (before, all) = (counts.of(&ended(name)), counts.of_all("sed_requests_rejected_total"));
        let refused = server.segment(bad).await.unwrap_err();
        assert_eq!(refused.code(), code);
        assert_eq!(counts.of(&ended(name)), before + 1.0, "{name}");
        assert_eq!(counts.of(&rejected(reason)), 1.0, "{reason}");
        assert_eq!(counts.of_all("sed_requests_rejected_total"), all + 1.0, "{reason}");
    }
    assert_eq!(counts.of_all("sed_requests_total"), 3.0);
    assert_eq!(counts.of(IN_FLIGHT), 0.0);
    assert_eq!(counts.of("sed_image_pixels_count"), 0.0);
}

#[tokio::test]
async fn a_call_without_a_place_is_counted_as_refused() {
    let server = Running::start(Settings { max_concurrent_requests: 1, ..Settings::default() }).await;
    let counts = server.counts();
    let running = server.occupy().await;
    assert_eq!(counts.of("sed_concurrent_requests"), 1.0);
    server.segment(request(2)).await.unwrap_err();
    assert_eq!(counts.of(&ended("RESOURCE_EXHAUSTED")), 1.0);
    assert_eq!(counts.of(&rejected("queue_full")), 1.0);
    assert_eq!(counts.of(IN_FLIGHT), 1.0); // the one that runs
    server.control.release();
    running.await.unwrap().unwrap();
    assert_eq!((counts.of(&ended("OK")), counts.of(IN_FLIGHT)), (1.0, 0.0));
    assert_eq!(counts.of("sed_concurrent_requests"), 0.0);
}

#[tokio::test]
async fn requests_of_a_stream_are_counted_one_by_one() {
    let server = Running::start(Settings::default()).await;
    let counts = server.counts();
    let stream_ended = |code: &str| format!("sed_stream_requests_total{{code=\"{code}\"}}");
    let on_stream = |request: v1::SegmentRequest, id: &str| v1::SegmentStreamRequest {
        request: Some(v1::SegmentRequest { request_id: id.into(), ..request }),
        ..v1::SegmentStreamRequest::default()
    };
    let no_image = v1::SegmentRequest { image: None, ..request(2) };
    let unknown = v1::SegmentRequest {
        image: Some(v1::Image { source: Some(v1::image::Source::Id(format!("img-{}", "f".repeat(64)))) }),
        ..request(2)
    };
    let asked = [on_stream(request(2), "good"), on_stream(no_image, "bad"), on_stream(unknown, "unknown")];
    let mut answers = server.client().segment_stream(tokio_stream::iter(asked)).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    assert_eq!(counts.of(&stream_ended("OK")), 1.0);
    assert_eq!(counts.of(&stream_ended("INVALID_ARGUMENT")), 1.0);
    assert_eq!(counts.of(&stream_ended("NOT_FOUND")), 1.0);
    assert_eq!((counts.of(&rejected("invalid")), counts.of(&rejected("image_not_found"))), (1.0, 1.0));
    assert_eq!(counts.of_all("sed_requests_rejected_total"), 2.0);

    // A client that goes before its answer.
    server.control.inject(Stage::CostMap, Fault::Hold);
    let (sender, sent) = tokio::sync::mpsc::channel(1);
    sender.send(on_stream(request(2), "given up")).await.unwrap();
    let stream = tokio_stream::wrappers::ReceiverStream::new(sent);
    let answers = server.client().segment_stream(stream).await.unwrap();
    until(|| counts.of("sed_stream_requests_in_flight") > 0.0).await;
    drop((answers, sender));
    until(|| counts.of(&stream_ended("CANCELLED")) > 0.0).await;
    server.control.release();
    assert_eq!(counts.of_all("sed_stream_requests_total"), 4.0);
    assert_eq!(counts.of("sed_stream_requests_in_flight"), 0.0);
    assert_eq!(counts.of_all("sed_requests_rejected_total"), 2.0);
}

#[tokio::test]
async fn a_stream_that_ends_with_a_refusal_is_counted_with_its_reason() {
    let server = Running::start(Settings { max_message_bytes: 2000, ..Settings::default() }).await;
    let counts = server.counts();
    let large = v1::SegmentRequest { request_id: "x".repeat(3000), ..request(2) };
    let asked = [v1::SegmentStreamRequest { request: Some(large), ..v1::SegmentStreamRequest::default() }];
    let mut answers = server.client().segment_stream(tokio_stream::iter(asked)).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap_err().code(), Code::OutOfRange);
    assert_eq!(counts.of(&rejected("message_too_large")), 1.0);
    assert_eq!(counts.of_all("sed_requests_rejected_total"), 1.0);
    assert_eq!(counts.of_all("sed_stream_requests_total"), 0.0); // it was not read
}

#[tokio::test]
async fn what_is_no_message_on_a_stream_is_counted_with_its_reason() {
    let server = Running::start(Settings::default()).await;
    let counts = server.counts();
    let nonsense = v1::RawImage { pixels: vec![0xff; 9].into(), ..Default::default() };
    let mut grpc = tonic::client::Grpc::new(server.channel.clone());
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<v1::RawImage, v1::SegmentStreamResponse>::default();
    let path = http::uri::PathAndQuery::from_static("/sed.v1.SegmentationService/SegmentStream");
    let asked = tonic::Request::new(tokio_stream::iter([nonsense]));
    let mut answers = grpc.streaming(asked, path, codec).await.unwrap().into_inner();
    assert_eq!(facts(&answers.message().await.unwrap_err()).1, "REQUEST_MALFORMED");
    assert_eq!(counts.of(&rejected("invalid")), 1.0);
    assert_eq!(counts.of_all("sed_requests_rejected_total"), 1.0);
}

#[tokio::test]
async fn a_call_past_its_deadline_is_counted_as_such() {
    let server = Running::start(Settings { max_timeout_seconds: 0.2, ..Settings::default() }).await;
    let counts = server.counts();
    server.occupy().await.await.unwrap().unwrap_err();
    assert_one_call(&counts, "DEADLINE_EXCEEDED");
    assert_eq!(counts.of_all("sed_requests_rejected_total"), 0.0); // it was worked on
    server.control.release();
}

#[tokio::test]
async fn a_cancelled_call_is_counted_as_such() {
    let server = Running::start(Settings::default()).await;
    let counts = server.counts();
    let running = server.occupy().await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    // Only the server notices it, when it sees the stream's end.
    until(|| counts.of(&ended("CANCELLED")) > 0.0).await;
    assert_one_call(&counts, "CANCELLED");
    server.control.release();
}

#[tokio::test]
async fn a_fault_of_the_server_is_no_refusal() {
    let server = Running::start(Settings::default()).await;
    let counts = server.counts();
    server.control.inject(Stage::CostMap, Fault::Fail(StageError::Failed("broken".into())));
    server.segment(request(2)).await.unwrap_err();
    assert_one_call(&counts, "INTERNAL");
    assert_eq!(counts.of_all("sed_requests_rejected_total"), 0.0);
}

#[tokio::test]
async fn other_methods_are_counted_by_name_and_other_services_not_at_all() {
    let server = Running::start(Settings::default()).await;
    let counts = server.counts();
    server.client().get_server_info(v1::GetServerInfoRequest {}).await.unwrap();
    let health = tonic_health::pb::HealthCheckRequest::default();
    let mut probe = tonic_health::pb::health_client::HealthClient::new(server.channel.clone());
    probe.check(health).await.unwrap();
    assert_eq!(counts.of("sed_requests_total{method=\"GetServerInfo\",code=\"OK\"}"), 1.0);
    assert_eq!(counts.of_all("sed_requests_total"), 1.0);
    assert_eq!(counts.of("sed_request_bytes_count"), 0.0); // these are about pictures
    assert_eq!(counts.of(IN_FLIGHT), 0.0);
}

#[tokio::test]
async fn work_of_the_open_inference_protocol_is_counted_and_its_probes_are_not() {
    let server = Running::start(Settings::default()).await;
    let counts = server.counts();
    let mut client = infer::client(&server);
    let good = infer::raw(&[infer::image(&images::png(40, 24)), infer::categories(3)]);
    let sent = prost::Message::encoded_len(&good) as f64;
    let answer = client.model_infer(good).await.unwrap().into_inner();
    let ended = |code: &str| format!("sed_requests_total{{method=\"ModelInfer\",code=\"{code}\"}}");
    assert_eq!(counts.of(&ended("OK")), 1.0);
    assert_eq!(counts.of(&timed("ModelInfer", "answered")), 1.0);
    let head = 5.0; // of a message on the wire
    assert_eq!(counts.of("sed_request_bytes_sum"), sent + head);
    assert_eq!(counts.of("sed_response_bytes_sum"), prost::Message::encoded_len(&answer) as f64 + head);
    assert_eq!(counts.of("sed_image_pixels_sum"), 40.0 * 24.0);

    client.model_infer(infer::raw(&[])).await.unwrap_err();
    let nowhere = inference::ModelInferRequest { model_name: "other".into(), ..infer::raw(&[]) };
    client.model_infer(nowhere).await.unwrap_err();
    assert_eq!(counts.of(&ended("INVALID_ARGUMENT")), 1.0);
    assert_eq!(counts.of(&ended("NOT_FOUND")), 1.0);
    assert_eq!(counts.of(&rejected("invalid")), 2.0);

    client.server_live(inference::ServerLiveRequest {}).await.unwrap();
    client.server_ready(inference::ServerReadyRequest {}).await.unwrap();
    client.server_metadata(inference::ServerMetadataRequest {}).await.unwrap();
    assert_eq!(counts.of_all("sed_requests_total"), 3.0);
    assert_eq!(counts.of(IN_FLIGHT), 0.0);
}

#[tokio::test]
async fn a_client_that_goes_in_its_upload_is_cancelled() {
    let server = Running::start(Settings::default()).await;
    let counts = server.counts();
    for ended_how in ["reset", "gone"] {
        let mut connection = RawConnection::open(server.address, 65_535).await;
        let mut call = connection.begin("/sed.v1.SegmentationService/Segment", &[]).await;
        call.send([&[0][..], &1000_u32.to_be_bytes(), &[0; 500]].concat(), false).await;
        until(|| counts.of(IN_FLIGHT) == 1.0).await;
        match ended_how {
            "reset" => call.body.send_reset(h2::Reason::CANCEL),
            _ => drop((connection, call)),
        }
        until(|| counts.of(IN_FLIGHT) == 0.0).await;
    }
    assert_eq!(counts.of(&ended("CANCELLED")), 2.0);
    assert_eq!(counts.of_all("sed_requests_total"), 2.0);
}

#[tokio::test]
async fn a_message_that_ends_too_early_is_the_clients_mistake() {
    let server = Running::start(Settings::default()).await;
    let counts = server.counts();
    let mut connection = RawConnection::open(server.address, 65_535).await;
    let mut call = connection.begin("/sed.v1.SegmentationService/Segment", &[]).await;
    call.send([&[0][..], &1000_u32.to_be_bytes(), &[0; 500]].concat(), true).await;
    assert_eq!(facts(&call.status().await.unwrap()).1, "REQUEST_MALFORMED");
    assert_one_call(&counts, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn transfers_that_are_ended_are_counted_and_memory_is_given_back() {
    let mut config = ServerConfig::check(&Settings::default()).unwrap();
    config.transport.stall_timeout = std::time::Duration::from_millis(500);
    let server = Running::launch_checked(config, |_| {}).await;
    let counts = server.counts();
    server.segment_when_ready().await;
    let memory = "sed_request_memory_bytes";
    let mut connection = RawConnection::open(server.address, 65_535).await;
    let mut call = connection.begin("/sed.v1.SegmentationService/Segment", &[]).await;
    call.send([&[0][..], &1000_u32.to_be_bytes(), &[0; 500]].concat(), false).await;
    until(|| counts.of(memory) > 0.0).await;
    assert_eq!(facts(&call.status().await.unwrap()).1, "UPLOAD_TOO_SLOW");
    until(|| counts.of(memory) == 0.0).await;
    assert_eq!(counts.of("sed_transfers_ended_total{direction=\"upload\",cause=\"stalled\"}"), 1.0);
    assert_eq!(counts.of(&rejected("upload_too_slow")), 1.0);
}
