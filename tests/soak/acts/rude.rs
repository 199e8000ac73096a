//! Connections that end as connections should not.

use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sed_proto::v1::segmentation_service_client::SegmentationServiceClient;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{calls::Shared, line::Line};

/// The most calls that are on a connection when it breaks.
const CALLS: usize = 4;
/// HTTP/2's first words.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) async fn any(shared: &Shared, line: &Line, random: &mut fastrand::Rng) {
    let pause = Duration::from_millis(random.u64(0..60));
    match random.u32(0..4) {
        0 => says(line, b"GET / HTTP/1.1\r\nhost: soak\r\n\r\n", pause).await,
        1 => says(line, &PREFACE[..random.usize(..=PREFACE.len())], pause).await,
        _ => breaks(shared, line, random, pause).await,
    }
}

/// Writes some bytes, listens for a while, and goes.
async fn says(line: &Line, bytes: &[u8], pause: Duration) {
    let mut stream = TcpStream::connect(line.address).await.unwrap();
    // The server may have closed it already.
    let _ = stream.write_all(bytes).await;
    let mut answer = [0; 256];
    let _ = timeout(pause, stream.read(&mut answer)).await;
}

/// Begins calls and breaks the connection under them.
async fn breaks(shared: &Shared, line: &Line, random: &mut fastrand::Rng, pause: Duration) {
    let stream = TcpStream::connect(line.address).await.unwrap();
    let executor = TokioExecutor::new();
    let Ok((sender, connection)) = http2::handshake(executor, TokioIo::new(stream)).await else {
        return shared.tally().violation("the server closed a new connection".into());
    };
    let connection = tokio::spawn(connection);
    let origin: http::Uri = format!("http://{}", line.address).parse().unwrap();
    let service = tower::service_fn(move |request| sender.clone().send_request(request));
    let mut calls = JoinSet::new();
    let count = random.usize(1..=CALLS);
    for _ in 0..count {
        let case = &shared.catalogue.segment[random.usize(..shared.catalogue.segment.len())];
        let mut client = SegmentationServiceClient::with_origin(service.clone(), origin.clone());
        let request = line.caller.request(case.request.clone());
        calls.spawn(async move { client.segment(request).await });
    }
    sleep(pause).await;
    // Dropping the task drops the socket, and the system resets the connection if anything is unread.
    connection.abort();
    let _ = connection.await;
    let mut answered = 0;
    while let Some(ended) = calls.join_next().await {
        // An error without a reason is that of the broken connection.
        let outcome = ended.unwrap();
        let error = outcome.as_ref().err();
        if error.is_none_or(|status| crate::judgement::reason_of(status).is_ok()) {
            shared.tally().answered("Segment", line.caller.name(), error);
            answered += 1;
        }
    }
    for _ in answered..count {
        shared.tally().gave_up("Segment", line.caller.name());
    }
}
