//! The end: readiness off, running requests finished, watchers let go, and a bound on all of it.

use std::time::{Duration, Instant};

use sed_engine::{EngineState, Stage, StageError, fake::Fault};
use sed_server::{Drain, SERVICE_NAME, Settings};
use tonic::Code;
use tonic_health::ServingStatus;

use crate::{
    harness::{Running, facts, request},
    health,
};

#[tokio::test]
async fn running_requests_are_answered_and_the_server_ends() {
    let mut server = Running::start(Settings::default()).await;
    let running = server.occupy().await;
    server.stop();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!running.is_finished());
    server.control.release();
    assert_eq!(running.await.unwrap().unwrap().categories.len(), 4);
    let state = server.engine.state();
    assert_eq!(server.ended().await, Drain::Complete);
    assert_eq!(*state.borrow(), EngineState::Stopped);
}

#[tokio::test]
async fn readiness_goes_off_first_and_requests_are_still_served_for_the_delay() {
    let raw = Settings { shutdown_delay_seconds: 0.5, ..Settings::default() };
    let mut server = Running::start(raw).await;
    let mut watching = health::watch(&server, SERVICE_NAME).await;
    while health::next(&mut watching).await != Some(ServingStatus::Serving) {}
    server.stop();
    assert_eq!(health::next(&mut watching).await, Some(ServingStatus::NotServing));
    server.segment(request(2)).await.unwrap();
    assert_eq!(health::next(&mut watching).await, None); // the stream is ended, not left open
    drop(watching);
    let address = server.address;
    assert_eq!(server.ended().await, Drain::Complete);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn watchers_do_not_hold_the_server() {
    let mut server = Running::start(Settings { shutdown_grace_seconds: 20.0, ..Settings::default() }).await;
    let _process = health::watch(&server, "").await;
    let _service = health::watch(&server, SERVICE_NAME).await;
    let begun = Instant::now();
    server.stop();
    assert_eq!(server.ended().await, Drain::Complete);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_device_that_is_given_up_ends_the_server() {
    let raw = Settings {
        device_probe_seconds: 0.05,
        device_lost_probes: 2,
        // Neither is waited for: every request has failed.
        shutdown_delay_seconds: 60.0,
        shutdown_grace_seconds: 60.0,
        ..Settings::default()
    };
    let server = Running::start(raw).await;
    let mut watching = health::watch(&server, SERVICE_NAME).await;
    while health::next(&mut watching).await != Some(ServingStatus::Serving) {}
    server.control.forbid_recovery();
    for _ in 0..3 {
        server.control.inject(Stage::Encode, Fault::Fail(StageError::DeviceLost("secret".into())));
    }
    let refused = server.segment(request(2)).await.unwrap_err();
    assert_eq!(facts(&refused), (Code::Unavailable, "DEVICE_LOST".into(), String::new()));
    assert_eq!(health::next(&mut watching).await, Some(ServingStatus::NotServing));
    let state = server.engine.state();
    assert_eq!(server.ended().await, Drain::DeviceLost);
    assert_eq!(*state.borrow(), EngineState::Stopped);
}

#[tokio::test]
async fn the_grace_period_bounds_the_wait() {
    let mut server = Running::start(Settings { shutdown_grace_seconds: 0.2, ..Settings::default() }).await;
    let control = server.control.clone();
    let running = server.occupy().await;
    let begun = Instant::now();
    server.stop();
    assert_eq!(server.ended().await, Drain::Cut);
    assert!(begun.elapsed() < Duration::from_secs(5));
    control.release();
    drop(running);
}
