//! Old connections take no new calls, and lose none.

use std::{
    error::Error,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioIo},
};
use sed_engine::{Stage, fake::Fault};
use sed_proto::v1::segmentation_service_client::SegmentationServiceClient;
use sed_server::Settings;
use tokio::{net::TcpStream, task::JoinSet};
use tonic::Status;
use tower::Service;

use super::secured::{Secured, until, with_header, with_tls, with_tokens};
use crate::harness::request;

fn aged(age: f64, grace: f64) -> Settings {
    Settings {
        max_connection_age_seconds: age,
        max_connection_age_grace_seconds: grace,
        ..Settings::default()
    }
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<TokioIo<TcpStream>>> + Send>>;

/// Connects to the server, and counts how often.
#[derive(Clone)]
struct Counting {
    address: SocketAddr,
    opened: Arc<AtomicUsize>,
}

impl Service<Uri> for Counting {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Connecting {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let address = self.address;
        Box::pin(async move { TcpStream::connect(address).await.map(TokioIo::new) })
    }
}

type Patient = SegmentationServiceClient<legacy::Client<Counting, tonic::body::Body>>;

/// A client that sends a call over another connection if one ends before it was sent, and the number of
/// connections that it has opened. (tonic's own channel, as of 0.14.9, fails such a call.)
fn counted(server: &Secured) -> (Patient, Arc<AtomicUsize>) {
    let opened = Arc::new(AtomicUsize::new(0));
    let connector = Counting { address: server.address, opened: Arc::clone(&opened) };
    let http = legacy::Client::builder(TokioExecutor::new()).http2_only(true).build(connector);
    let origin = format!("http://{}", server.address).parse().unwrap();
    (SegmentationServiceClient::with_origin(http, origin), opened)
}

/// Reports whether the server sent GOAWAY before it accepted the call. Other clients of gRPC then send it
/// again by themselves; hyper's fails, because its connection is closing.
fn was_not_taken(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR);
        }
        cause = error.source();
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_is_lost_on_connections_that_grow_old() {
    let server = Secured::start(&|folder, _| Settings {
        max_connection_age_seconds: 0.2,
        max_connection_age_grace_seconds: 20.0,
        ..with_tokens(folder, "ages = \"0123456789abcdef\"\n")
    })
    .await;
    let (client, opened) = counted(&server);
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (mut client, opened) = (client.clone(), Arc::clone(&opened));
        tasks.spawn(async move {
            let mut answered = 0;
            while opened.load(Ordering::Relaxed) < 12 {
                match client.segment(with_header(request(2), "Bearer 0123456789abcdef")).await {
                    Ok(_) => answered += 1,
                    Err(status) => assert!(was_not_taken(&status), "{status:?}"),
                }
            }
            answered
        });
    }
    let answered: usize = tasks.join_all().await.into_iter().sum();
    // What the server took it answered, and the client got.
    let count = |code: &str| {
        server.sample(&format!("sed_requests_by_caller_total{{caller=\"ages\",code=\"{code}\"}}"))
    };
    until(|| count("OK") == answered as f64).await;
    for code in ["CANCELLED", "UNKNOWN", "INTERNAL", "UNAVAILABLE"] {
        assert_eq!(count(code), 0.0, "{code}");
    }
}

/// Sends a call that is on the device when this returns, and is held there.
async fn hold(server: &Secured) -> tokio::task::JoinHandle<Result<(), tonic::Status>> {
    server.control.inject(Stage::Encode, Fault::Hold);
    let mut client = server.client(None);
    let running = tokio::spawn(async move { client.segment(request(2)).await.map(drop) });
    let control = server.control.clone();
    assert!(tokio::task::spawn_blocking(move || control.wait_until_held()).await.unwrap());
    running
}

#[tokio::test]
async fn a_call_that_runs_is_finished_within_the_grace() {
    let server = Secured::start(&|_, _| aged(0.1, 20.0)).await;
    let running = hold(&server).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!running.is_finished());
    server.control.release();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_that_takes_longer_is_cut() {
    let server = Secured::start(&|_, _| aged(0.5, 1.0)).await;
    let running = hold(&server).await;
    running.await.unwrap().unwrap_err();
    server.control.release();
    // The server itself goes on.
    server.client(None).segment(request(2)).await.unwrap();
}

#[tokio::test]
async fn zero_is_no_age_and_tls_ages_as_well() {
    let ageless = Secured::start(&|_, _| aged(0.0, 0.0)).await;
    let (mut client, opened) = counted(&ageless);
    for _ in 0..20 {
        client.segment(request(2)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(opened.load(Ordering::Relaxed), 1);

    let server = Secured::start(&|folder, authority| Settings {
        max_connection_age_seconds: 0.1,
        ..with_tls(folder, authority)
    })
    .await;
    let mut client = server.client(Some(server.trust()));
    client.segment(request(2)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    // The old connection is known to be closed by now.
    client.segment(request(2)).await.unwrap();
}
