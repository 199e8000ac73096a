//! More work than the server can take, callers who give up, and a model that fails.

use std::time::{Duration, Instant};

use sed_engine::{Stage, StageError, fake::Fault};
use sed_proto::v1;
use sed_server::Settings;
use tonic::Code;

use crate::harness::{Running, facts, metadata, quota, request, retry_delay, until, with_options};

#[tokio::test]
async fn a_request_beyond_the_limit_is_refused_soon_with_a_delay() {
    let server = Running::start(Settings { max_concurrent_requests: 1, ..Settings::default() }).await;
    let running = server.occupy().await;
    let refused = server.segment(request(2)).await.unwrap_err();
    assert_eq!(facts(&refused), (Code::ResourceExhausted, "QUEUE_FULL".into(), String::new()));
    assert_eq!(metadata(&refused, "limit").as_deref(), Some("1"));
    assert!(retry_delay(&refused).is_some_and(|delay| !delay.is_zero()));
    assert_eq!(quota(&refused).as_deref(), Some("concurrent requests"));
    // Information is free.
    server.client().get_server_info(v1::GetServerInfoRequest {}).await.unwrap();

    server.control.release();
    running.await.unwrap().unwrap();
    server.segment(request(2)).await.unwrap();
}

#[tokio::test]
async fn a_full_device_queue_is_told_too() {
    let server = Running::start(Settings { queue_capacity: Some(1), ..Settings::default() }).await;
    let running = server.occupy().await;
    let mut client = server.client();
    let waiting = tokio::spawn(async move { client.segment(request(2)).await });
    until(|| server.engine.queue_depth() == 1).await;
    let refused = server.segment(request(2)).await.unwrap_err();
    assert_eq!(facts(&refused).1, "QUEUE_FULL");
    assert!(retry_delay(&refused).is_some());
    assert_eq!(metadata(&refused, "limit").as_deref(), Some("1"));
    assert_eq!(quota(&refused).as_deref(), Some("requests"));
    server.control.release();
    running.await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn pairs_that_wait_are_bounded_too() {
    let server = Running::start(Settings { queue_pairs: 30, ..Settings::default() }).await;
    let running = server.occupy().await;
    let mut client = server.client();
    let waiting = tokio::spawn(async move { client.segment(request(20)).await });
    until(|| server.engine.queue_depth() == 1).await;
    let refused = server.segment(request(11)).await.unwrap_err();
    assert_eq!(facts(&refused), (Code::ResourceExhausted, "QUEUE_FULL".into(), String::new()));
    assert_eq!(metadata(&refused, "limit").as_deref(), Some("30"));
    assert_eq!(quota(&refused).as_deref(), Some("(image, category) pairs"));
    server.control.release();
    running.await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
}

/// A server that has seen an encoder that takes 300 ms, and keeps no image.
async fn slow_server() -> Running {
    let server = Running::start(Settings { image_cache_bytes: 0, ..Settings::default() }).await;
    for _ in 0..4 {
        server.control.inject(Stage::Encode, Fault::Delay(Duration::from_millis(300)));
        server.segment(request(2)).await.unwrap();
    }
    server
}

/// Sends a request that has so much time, and returns its outcome.
async fn within(server: &Running, milliseconds: u64) -> Result<(), tonic::Status> {
    let mut late = tonic::Request::new(request(2));
    late.metadata_mut().insert("grpc-timeout", format!("{milliseconds}m").parse().unwrap());
    patient_client(server).segment(late).await.map(|_| ())
}

#[tokio::test]
async fn a_deadline_that_cannot_be_kept_is_refused_at_once() {
    let server = slow_server().await;
    let encoded = server.control.calls(Stage::Encode);
    // An idle server tries one request that takes more than twice its time (and is wrong here), but not the
    // next.
    within(&server, 80).await.unwrap();
    let refused = within(&server, 80).await.unwrap_err();
    assert_eq!(facts(&refused), (Code::DeadlineExceeded, "DEADLINE_TOO_SHORT".into(), String::new()));
    let needed: u64 = metadata(&refused, "needed_ms").unwrap().parse().unwrap();
    let left: u64 = metadata(&refused, "left_ms").unwrap().parse().unwrap();
    assert!(needed > 160 && left < 80 && retry_delay(&refused).is_none(), "{refused:?}");

    let running = server.occupy().await;
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let mut client = server.client();
            tokio::spawn(async move { client.segment(request(2)).await })
        })
        .collect();
    until(|| server.engine.queue_depth() == 20).await;
    let refused = within(&server, 2000).await.unwrap_err();
    assert_eq!(facts(&refused), (Code::ResourceExhausted, "DEADLINE_UNREACHABLE".into(), String::new()));
    let predicted: u64 = metadata(&refused, "predicted_ms").unwrap().parse().unwrap();
    assert!(predicted > 2000 && retry_delay(&refused).is_some(), "{refused:?}");
    assert_eq!(server.control.calls(Stage::Encode), encoded + 2); // the trial and the one that is held

    server.control.release();
    running.await.unwrap().unwrap();
    for waiting in waiting {
        waiting.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_servers_longest_time_ends_in_deadline_exceeded() {
    let server = Running::start(Settings { max_timeout_seconds: 0.2, ..Settings::default() }).await;
    let begun = Instant::now();
    let running = server.occupy().await;
    let refused = running.await.unwrap().unwrap_err();
    assert_eq!(facts(&refused), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".into(), String::new()));
    assert!(begun.elapsed() < Duration::from_secs(2));
    let finished = server.control.calls(Stage::Finish);
    server.control.release();
    server.segment(request(2)).await.unwrap();
    assert_eq!(server.control.calls(Stage::Finish), finished + 1); // the late one was dropped
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_another_to_end() {
    let one = Settings { max_connections: Some(1), ..Settings::default() };
    let mut server = Running::launch(one, |_| {}).await;
    server.segment_when_ready().await;
    let other = format!("http://{}", server.address);
    let waiting = tokio::spawn(async move {
        let channel = tonic::transport::Channel::from_shared(other).unwrap().connect().await.unwrap();
        let mut client = v1::segmentation_service_client::SegmentationServiceClient::new(channel);
        client.segment(request(2)).await
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    server.disconnect();
    waiting.await.unwrap().unwrap();
}

/// HTTP without the watch that the usual transport keeps over deadlines.
pub(crate) type PatientHttp =
    hyper_util::client::legacy::Client<hyper_util::client::legacy::connect::HttpConnector, tonic::body::Body>;

/// A transport that does not watch the deadline itself, so that the server's answer is seen; and where it
/// leads.
pub(crate) fn patient_transport(server: &Running) -> (PatientHttp, http::Uri) {
    let executor = hyper_util::rt::TokioExecutor::new();
    let http = hyper_util::client::legacy::Client::builder(executor).http2_only(true).build_http();
    (http, format!("http://{}", server.address).parse().unwrap())
}

fn patient_client(
    server: &Running,
) -> v1::segmentation_service_client::SegmentationServiceClient<PatientHttp> {
    let (http, origin) = patient_transport(server);
    v1::segmentation_service_client::SegmentationServiceClient::with_origin(http, origin)
}

#[tokio::test]
async fn the_clients_deadline_has_reasons_of_its_own_and_never_ends_in_cancelled() {
    let server = Running::start(Settings::default()).await;
    let running = server.occupy().await;
    let mut client = patient_client(&server);
    for milliseconds in [0, 1, 2, 5, 20, 100, 150] {
        let mut late = tonic::Request::new(request(2));
        let timeout = format!("{milliseconds}m");
        late.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
        let begun = Instant::now();
        let refused = client.segment(late).await.unwrap_err();
        let (code, reason, _) = facts(&refused);
        match reason.as_str() {
            // What is very short may be refused before it passes.
            "DEADLINE_TOO_SHORT" if milliseconds < 100 => assert_eq!(code, Code::DeadlineExceeded),
            "DEADLINE_UNREACHABLE" if milliseconds < 100 => assert_eq!(code, Code::ResourceExhausted),
            reason => assert_eq!((code, reason), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")),
        }
        assert!(begun.elapsed() < Duration::from_millis(milliseconds + 1000));
    }
    server.control.release();
    running.await.unwrap().unwrap();
    assert_eq!(server.control.calls(Stage::Encode), 2); // the warm-up and the one that was on the device
}

#[tokio::test]
async fn a_cancelled_request_frees_its_place_and_its_work() {
    let server = Running::start(Settings { max_concurrent_requests: 1, ..Settings::default() }).await;
    let finished = server.control.calls(Stage::Finish);
    let running = server.occupy().await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    // The place is free once the server has seen the stream's end; the device still holds the old request.
    let mut client = server.client();
    let next = tokio::spawn(async move {
        loop {
            match client.segment(request(2)).await {
                Err(refused) if refused.code() == Code::ResourceExhausted => tokio::task::yield_now().await,
                other => return other,
            }
        }
    });
    until(|| server.engine.queue_depth() == 1).await;
    server.control.release();
    next.await.unwrap().unwrap();
    assert_eq!(server.control.calls(Stage::Finish), finished + 1);
}

#[tokio::test]
async fn faults_of_the_model_have_their_codes_and_harm_nobody_else() {
    let server = Running::start(Settings { device_probe_seconds: 0.05, ..Settings::default() }).await;
    let cases = [
        (Fault::Panic, Code::Internal, "INTERNAL", Some("cost_map")),
        (Fault::Fail(StageError::Failed("secret".into())), Code::Internal, "INTERNAL", Some("cost_map")),
        (Fault::Fail(StageError::NotFinite { found: 3, of: 400 }), Code::Internal, "RESULT_NOT_FINITE", None),
        (Fault::Fail(StageError::DeviceLost("secret".into())), Code::Unavailable, "DEVICE_LOST", None),
    ];
    for (fault, code, reason, stage) in cases {
        server.control.inject(Stage::CostMap, fault);
        let refused = server.segment(request(2)).await.unwrap_err();
        assert_eq!(facts(&refused), (code, reason.into(), String::new()));
        assert_eq!(metadata(&refused, "stage").as_deref(), stage);
        assert!(!refused.message().contains("secret"));
        assert_eq!(retry_delay(&refused).is_some(), reason == "DEVICE_LOST");
        if reason == "RESULT_NOT_FINITE" {
            assert!(refused.message().contains("3 of 400 values"), "{}", refused.message());
            assert_eq!(metadata(&refused, "not_finite").as_deref(), Some("3"));
        }
        server.engine.state().wait_for(sed_engine::EngineState::is_ready).await.unwrap();
        server.segment(request(2)).await.unwrap();
    }
}

#[tokio::test]
async fn memory_that_runs_out_once_is_tried_again_and_twice_is_told() {
    let server = Running::start(Settings::default()).await;
    let out_of_memory = || Fault::Fail(StageError::OutOfMemory("secret".into()));
    server.control.inject(Stage::CostMap, out_of_memory());
    server.segment(request(2)).await.unwrap();

    server.control.inject(Stage::CostMap, out_of_memory());
    server.control.inject(Stage::CostMap, out_of_memory());
    let refused = server.segment(request(2)).await.unwrap_err();
    let expected = (Code::ResourceExhausted, "DEVICE_OUT_OF_MEMORY".into(), String::new());
    assert_eq!(facts(&refused), expected);
    assert_eq!(metadata(&refused, "stage").as_deref(), Some("cost_map"));
    assert!(!refused.message().contains("secret"));

    let info = server.client().get_server_info(v1::GetServerInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.limits.unwrap().max_batch_pairs, 1); // the budget of this moment
    server.segment(request(2)).await.unwrap();
}

#[tokio::test]
async fn high_priority_overtakes() {
    // Launches of one request, so that there is an order.
    let alone = Settings { batch_images: 1, batch_pairs: 2, image_cache_bytes: 0, ..Settings::default() };
    let server = Running::start(alone).await;
    let running = server.occupy().await;
    let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
    server.control.inject(Stage::Finish, Fault::Delay(Duration::from_millis(50))); // of the running one
    for (depth, priority) in
        [v1::Priority::Low, v1::Priority::Normal, v1::Priority::High].into_iter().enumerate()
    {
        let (mut client, done) = (server.client(), done.clone());
        let options = v1::SegmentOptions { priority: priority.into(), ..Default::default() };
        // Between two answers there is time to see which came first.
        server.control.inject(Stage::Finish, Fault::Delay(Duration::from_millis(50)));
        tokio::spawn(async move {
            client.segment(with_options(2, options)).await.unwrap();
            done.send(priority).unwrap();
        });
        until(|| server.engine.queue_depth() == depth + 1).await;
    }
    server.control.release();
    running.await.unwrap().unwrap();
    let seen = [order.recv().await, order.recv().await, order.recv().await].map(Option::unwrap);
    assert_eq!(seen, [v1::Priority::High, v1::Priority::Normal, v1::Priority::Low]);
}

#[tokio::test]
async fn many_callers_each_get_their_own_answer() {
    let server = Running::start(Settings { max_concurrent_requests: 200, ..Settings::default() }).await;
    let calls = (1..=100_usize).map(|number| {
        let mut client = server.client();
        tokio::spawn(async move {
            let named = v1::SegmentRequest { request_id: number.to_string(), ..request(1 + number % 17) };
            (number, client.segment(named).await.unwrap().into_inner())
        })
    });
    for call in calls.collect::<Vec<_>>() {
        let (number, answer) = call.await.unwrap();
        assert_eq!(answer.request_id, number.to_string());
        assert_eq!(answer.categories.len(), 1 + number % 17);
    }
}
