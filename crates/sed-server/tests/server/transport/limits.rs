//! The limit of open connections, and the published limits.

use std::time::Duration;

use sed_proto::v1;
use sed_server::Settings;
use tokio::time::timeout;

use super::secured::{Secured, client, until, with_tls};
use crate::harness::request;

#[tokio::test]
async fn a_connection_beyond_the_limit_waits_for_another_to_end() {
    for tls in [false, true] {
        let server = Secured::start(&|folder, authority| {
            let base = if tls { with_tls(folder, authority) } else { Settings::default() };
            Settings { max_connections: Some(2), ..base }
        })
        .await;
        let trust = || tls.then(|| server.trust());
        let mut first = server.client(trust());
        first.segment(request(2)).await.unwrap();
        // A client that says nothing takes a place as well.
        let silent = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let mut third = client(server.endpoint(trust()).connect_lazy());
        let mut waiting = tokio::spawn(async move { third.segment(request(2)).await.map(drop) });
        timeout(Duration::from_millis(300), &mut waiting).await.unwrap_err();
        first.segment(request(2)).await.unwrap();
        drop(silent);
        until(|| waiting.is_finished()).await;
        waiting.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn limits_of_connections_are_published() {
    let server = Secured::start(&|_, _| Settings {
        max_connections: Some(7),
        max_connection_age_seconds: 90.0,
        http2_max_streams: 11,
        http2_max_header_bytes: 4096,
        compression: vec!["zstd".into()],
        ..Settings::default()
    })
    .await;
    let info = server.client(None).get_server_info(v1::GetServerInfoRequest {}).await.unwrap().into_inner();
    let limits = info.limits.unwrap();
    assert_eq!(
        (limits.max_connections, limits.max_connection_streams, limits.max_header_bytes),
        (7, 11, 4096)
    );
    assert_eq!(limits.max_connection_age, Some(prost_types::Duration { seconds: 90, nanos: 0 }));
    assert_eq!(info.compressions, ["zstd"]);

    let ageless =
        Secured::start(&|_, _| Settings { max_connection_age_seconds: 0.0, ..Settings::default() }).await;
    let info = ageless.client(None).get_server_info(v1::GetServerInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.limits.unwrap().max_connection_age, None);
}
