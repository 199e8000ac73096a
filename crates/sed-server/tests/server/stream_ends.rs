//! Every way in which a stream ends.

use std::time::{Duration, Instant};

use sed_engine::Stage;
use sed_server::{Drain, Settings};
use tonic::Code;

use crate::{
    harness::{Running, facts, metadata, request, request_for, retry_delay, until},
    talk::{Talk, good, hold, of, until_held},
};

#[tokio::test]
async fn a_client_that_says_no_more_gets_all_its_answers() {
    let server = Running::start(Settings::default()).await;
    let mut talk = Talk::open(&server).await;
    hold(&server);
    for id in ["a", "b", "c"] {
        talk.send(good(id)).await;
    }
    talk.requests = tokio::sync::mpsc::channel(1).0;
    until_held(&server).await;
    assert!(talk.is_silent().await);
    server.control.release();
    assert_eq!(talk.ids(3).await, ["a", "b", "c"]);
    assert!(talk.message().await.unwrap().is_none());
    // One that says nothing at all gets nothing.
    let mut talk = Talk::open(&server).await;
    talk.requests = tokio::sync::mpsc::channel(1).0;
    assert!(talk.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_client_that_goes_takes_all_its_work_with_it() {
    let server = Running::start(Settings { max_concurrent_requests: 8, ..Settings::default() }).await;
    let finished = server.control.calls(Stage::Finish);
    let talk = Talk::open(&server).await;
    hold(&server);
    talk.send(good("a")).await;
    until_held(&server).await;
    for id in ["b", "c", "d"] {
        talk.send(good(id)).await;
    }
    until(|| server.engine.queue_depth() == 3).await;
    drop(talk);
    until(|| server.engine.queue_depth() == 0).await;
    server.control.release();
    server.segment(request(2)).await.unwrap(); // there is a place
    assert_eq!(server.control.calls(Stage::Finish), finished + 1);
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_stream() {
    let server = Running::start(Settings { max_message_bytes: 100_000, ..Settings::default() }).await;
    let mut talk = Talk::open(&server).await;
    hold(&server);
    talk.send(good("a")).await;
    talk.send(of("b", request_for(vec![0; 200_000], 2))).await;
    until_held(&server).await;
    server.control.release();
    assert!(talk.next().await.1.is_ok()); // what had begun is finished
    let refused = talk.message().await.unwrap_err();
    assert_eq!(facts(&refused), (Code::OutOfRange, "MESSAGE_TOO_LARGE".into(), String::new()));
    assert_eq!(metadata(&refused, "limit").as_deref(), Some("100000"));
    server.segment(request(2)).await.unwrap();
}

#[tokio::test]
async fn the_streams_deadline_ends_all_of_it() {
    let server = Running::start(Settings::default()).await;
    let mut talk = Talk::open_within(&server, Some(Duration::from_millis(400))).await;
    hold(&server);
    talk.send(good("a")).await;
    until_held(&server).await;
    talk.send(good("b")).await;
    let exceeded = (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_string(), String::new());
    assert_eq!(talk.refusal().await, ("a".into(), exceeded.clone()));
    assert_eq!(talk.refusal().await, ("b".into(), exceeded.clone()));
    assert_eq!(facts(&talk.message().await.unwrap_err()), exceeded);
    server.control.release();
}

#[tokio::test]
async fn a_server_that_goes_finishes_what_runs_and_refuses_what_comes() {
    let mut server = Running::start(Settings::default()).await;
    let mut talk = Talk::open(&server).await;
    hold(&server);
    talk.send(good("a")).await;
    until_held(&server).await;
    server.stop();
    // A connection that is refused shows that the end has begun.
    let address = server.address;
    let begun = Instant::now();
    while tokio::net::TcpStream::connect(address).await.is_ok() && begun.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    talk.send(good("b")).await;
    assert!(talk.is_silent().await);
    server.control.release();
    let (id, answer) = talk.next().await;
    assert_eq!((id.as_str(), answer.unwrap().categories.len()), ("a", 3));
    let (id, refused) = talk.next().await;
    let refused = refused.unwrap_err();
    let going = (Code::Unavailable, "SHUTTING_DOWN".to_string(), String::new());
    assert_eq!((id.as_str(), facts(&refused)), ("b", going.clone()));
    assert!(retry_delay(&refused).is_some());
    assert_eq!(facts(&talk.message().await.unwrap_err()), going);
    drop(talk);
    assert_eq!(server.ended().await, Drain::Complete);
}

#[tokio::test]
async fn an_idle_stream_does_not_hold_the_server() {
    let raw = Settings { shutdown_grace_seconds: 20.0, ..Settings::default() };
    let mut server = Running::start(raw).await;
    let mut talk = Talk::open(&server).await;
    talk.send(good("a")).await;
    assert!(talk.next().await.1.is_ok());
    let begun = Instant::now();
    server.stop();
    let ended = talk.message().await.unwrap_err();
    assert_eq!(facts(&ended), (Code::Unavailable, "SHUTTING_DOWN".into(), String::new()));
    assert_eq!(server.ended().await, Drain::Complete);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn the_grace_period_bounds_streams_too() {
    let raw = Settings { shutdown_grace_seconds: 0.2, ..Settings::default() };
    let mut server = Running::start(raw).await;
    let control = server.control.clone();
    let talk = Talk::open(&server).await;
    hold(&server);
    talk.send(good("a")).await;
    until_held(&server).await;
    server.stop();
    assert_eq!(server.ended().await, Drain::Cut);
    control.release();
    drop(talk);
}
