//! The order of a stream's answers, and the ids by which they are known.

use sed_proto::v1;
use sed_server::Settings;

use crate::{
    harness::Running,
    talk::{Talk, bad, good, hold, invalid, until_held},
};

#[tokio::test]
async fn answers_come_in_the_order_of_their_requests() {
    let server = Running::start(Settings::default()).await;
    let mut talk = Talk::open(&server).await;
    hold(&server);
    talk.send(good("a")).await;
    until_held(&server).await;
    talk.send(bad("b")).await; // done at once, but not the first
    // Only the first message says that the order does not matter.
    talk.send(v1::SegmentStreamRequest { any_order: true, ..bad("c") }).await;
    assert!(talk.is_silent().await);
    server.control.release();
    assert_eq!(talk.ids(3).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn answers_may_overtake_each_other_if_the_client_says_so() {
    let server = Running::start(Settings::default()).await;
    let mut talk = Talk::open(&server).await;
    hold(&server);
    talk.send(v1::SegmentStreamRequest { any_order: true, ..good("a") }).await;
    until_held(&server).await;
    talk.send(bad("b")).await;
    talk.send(bad("c")).await;
    let mut overtaking = talk.ids(2).await;
    overtaking.sort(); // neither waits for the other
    assert_eq!(overtaking, ["b", "c"]);
    server.control.release();
    assert_eq!(talk.ids(1).await, ["a"]);
}

#[tokio::test]
async fn an_id_is_needed_and_belongs_to_one_unanswered_request() {
    let server = Running::start(Settings::default()).await;
    let mut talk = Talk::open(&server).await;
    hold(&server);
    talk.send(v1::SegmentStreamRequest { any_order: true, ..good("a") }).await;
    until_held(&server).await;
    talk.send(good("")).await;
    assert_eq!(talk.refusal().await, (String::new(), invalid("STREAM_ID_INVALID", "request_id")));
    talk.send(good("a")).await;
    assert_eq!(talk.refusal().await, ("a".into(), invalid("STREAM_ID_INVALID", "request_id")));
    talk.send(good("a\t")).await;
    assert_eq!(talk.refusal().await, ("a\t".into(), invalid("OPTION_INVALID", "request_id")));
    server.control.release();
    assert!(talk.next().await.1.is_ok());
    talk.send(good("a")).await; // answered, so free again
    assert!(talk.next().await.1.is_ok());
}
