//! Standard health: the empty name is the process, the service's name is its readiness.

use std::time::Duration;

use sed_engine::{Stage, StageError, fake::Fault};
use sed_server::{SERVICE_NAME, Settings};
use tonic::{Code, Streaming};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient},
};

use crate::harness::{Running, facts, request, retry_delay};

async fn check(server: &Running, service: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: service.into() };
    let answer = HealthClient::new(server.channel.clone()).check(request).await.unwrap();
    status(&answer.into_inner())
}

fn status(answer: &HealthCheckResponse) -> ServingStatus {
    match answer.status {
        1 => ServingStatus::Serving,
        2 => ServingStatus::NotServing,
        _ => ServingStatus::Unknown,
    }
}

pub(crate) async fn watch(server: &Running, service: &str) -> Streaming<HealthCheckResponse> {
    let request = HealthCheckRequest { service: service.into() };
    HealthClient::new(server.channel.clone()).watch(request).await.unwrap().into_inner()
}

pub(crate) async fn next(watching: &mut Streaming<HealthCheckResponse>) -> Option<ServingStatus> {
    let message = tokio::time::timeout(Duration::from_secs(5), watching.message()).await.unwrap().unwrap();
    message.as_ref().map(status)
}

#[tokio::test]
async fn a_server_lives_before_it_is_ready() {
    let server =
        Running::launch(Settings::default(), |control| control.inject(Stage::Encode, Fault::Hold)).await;
    let mut watching = watch(&server, SERVICE_NAME).await;
    assert_eq!(next(&mut watching).await, Some(ServingStatus::NotServing));
    assert_eq!(check(&server, "").await, ServingStatus::Serving);
    assert_eq!(check(&server, SERVICE_NAME).await, ServingStatus::NotServing);

    let refused = server.segment(request(2)).await.unwrap_err();
    assert_eq!(facts(&refused), (Code::Unavailable, "MODEL_NOT_READY".into(), String::new()));
    assert!(retry_delay(&refused).is_some());

    server.control.release();
    assert_eq!(next(&mut watching).await, Some(ServingStatus::Serving));
    assert_eq!(check(&server, SERVICE_NAME).await, ServingStatus::Serving);
    server.segment(request(2)).await.unwrap();
}

#[tokio::test]
async fn a_lost_device_turns_readiness_off_until_it_works_again() {
    let server = Running::start(Settings { device_probe_seconds: 0.2, ..Settings::default() }).await;
    let mut watching = watch(&server, SERVICE_NAME).await;
    let mut first = next(&mut watching).await;
    if first == Some(ServingStatus::NotServing) {
        first = next(&mut watching).await; // the server had not told yet what the engine knew
    }
    assert_eq!(first, Some(ServingStatus::Serving));
    server.control.inject(Stage::Encode, Fault::Fail(StageError::DeviceLost("gone".into())));
    server.segment(request(2)).await.unwrap_err();
    assert_eq!(next(&mut watching).await, Some(ServingStatus::NotServing));
    assert_eq!(check(&server, "").await, ServingStatus::Serving);
    assert_eq!(next(&mut watching).await, Some(ServingStatus::Serving));
}

#[tokio::test]
async fn unknown_services_are_not_found() {
    let server = Running::start(Settings::default()).await;
    let request = HealthCheckRequest { service: "sed.v1.Other".into() };
    let refused = HealthClient::new(server.channel.clone()).check(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}
