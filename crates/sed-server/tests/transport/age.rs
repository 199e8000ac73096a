//! Old connections take no new calls, and lose none.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hyper_util::rt::TokioIo;
use sed_engine::{Stage, fake::Fault};
use sed_server::config::RawConfig;
use tokio::{net::TcpStream, task::JoinSet};
use tonic::transport::Channel;

use crate::{
    harness::request,
    secured::{Secured, client, with_tls},
};

fn aged(age: f64, grace: f64) -> RawConfig {
    RawConfig {
        max_connection_age_seconds: Some(age),
        max_connection_age_grace_seconds: Some(grace),
        ..RawConfig::default()
    }
}

/// A channel that counts its connections.
fn counted(server: &Secured) -> (Channel, Arc<AtomicUsize>) {
    let opened = Arc::new(AtomicUsize::new(0));
    let (count, address) = (Arc::clone(&opened), server.address);
    let connector = tower::service_fn(move |_: http::Uri| {
        count.fetch_add(1, Ordering::Relaxed);
        async move { TcpStream::connect(address).await.map(TokioIo::new) }
    });
    (server.endpoint(None).connect_with_connector_lazy(connector), opened)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_connections_grow_old_sees_no_failed_call() {
    let server = Secured::start(&|_, _| aged(0.2, 5.0)).await;
    let (channel, opened) = counted(&server);
    let end = Instant::now() + Duration::from_secs(4);
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let mut client = client(channel.clone());
        tasks.spawn(async move {
            let mut answered = 0;
            while Instant::now() < end {
                client.segment(request(2)).await.unwrap();
                answered += 1;
            }
            answered
        });
    }
    let answered: usize = tasks.join_all().await.into_iter().sum();
    let opened = opened.load(Ordering::Relaxed);
    assert!(opened >= 5 && answered > 10 * opened, "{answered} answers over {opened} connections");
}

/// Holds the next call on the device; true once it is there.
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
    let server = Secured::start(&|_, _| aged(0.1, 0.2)).await;
    let running = hold(&server).await;
    running.await.unwrap().unwrap_err();
    server.control.release();
    // The server itself goes on.
    server.client(None).segment(request(2)).await.unwrap();
}

#[tokio::test]
async fn zero_is_no_age_and_tls_ages_as_well() {
    let ageless = Secured::start(&|_, _| aged(0.0, 0.0)).await;
    let (channel, opened) = counted(&ageless);
    for _ in 0..20 {
        client(channel.clone()).segment(request(2)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(opened.load(Ordering::Relaxed), 1);

    let server = Secured::start(&|folder, authority| RawConfig {
        max_connection_age_seconds: Some(0.1),
        ..with_tls(folder, authority)
    })
    .await;
    let mut client = server.client(Some(server.trust()));
    for _ in 0..40 {
        client.segment(request(2)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
