//! TLS: a client that trusts the certificate is served, any other is refused clearly, and none holds the
//! others up.

use std::time::Duration;

use sed_server::Settings;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::transport::{Certificate, ClientTlsConfig};

use super::{
    certificates::Authority,
    secured::{Secured, story, text, with_certificate, with_tls},
};
use crate::harness::request;

pub(crate) fn failures(reason: &str) -> String {
    format!("sed_tls_handshake_failures_total{{reason=\"{reason}\"}}")
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_is_served() {
    let server = Secured::start(&with_tls).await;
    let answer = server.client(Some(server.trust())).segment(request(3)).await.unwrap().into_inner();
    assert_eq!(answer.categories.len(), 3);
    assert!(server.sample("sed_tls_certificate_expiry_timestamp_seconds") > 4e9);
    server.end().await;
}

#[tokio::test]
async fn a_client_that_trusts_another_authority_refuses_the_server() {
    let server = Secured::start(&with_tls).await;
    let before = server.sample(&failures("refused"));
    let other = Certificate::from_pem(Authority::new("tests").pem());
    let trusting_others = ClientTlsConfig::new().ca_certificate(other);
    let refused = server.client(Some(trusting_others)).segment(request(2)).await.unwrap_err();
    assert!(story(&refused).contains("invalid peer certificate"), "{}", story(&refused));
    server.until_above(&failures("refused"), before).await;
    server.client(Some(server.trust())).segment(request(2)).await.unwrap();
}

#[tokio::test]
async fn a_client_that_speaks_no_tls_is_refused() {
    let server = Secured::start(&with_tls).await;
    let before = server.sample(&failures("plaintext"));
    server.client(None).segment(request(2)).await.unwrap_err();
    server.until_above(&failures("plaintext"), before).await;
    server.client(Some(server.trust())).segment(request(2)).await.unwrap();
}

#[tokio::test]
async fn silent_clients_hold_nobody_up_and_are_let_go() {
    for tls in [true, false] {
        let settings = |folder: &std::path::Path, authority: &Authority| {
            if tls { with_tls(folder, authority) } else { Settings::default() }
        };
        let server = Secured::start_changed(&settings, |config| {
            config.transport.handshake_timeout = Duration::from_secs(2);
        })
        .await;
        let mut silent = Vec::new();
        for _ in 0..20 {
            silent.push(TcpStream::connect(server.address).await.unwrap());
        }
        // Some begin to speak.
        for stream in &mut silent[..10] {
            stream.write_all(if tls { &[22, 3, 1] } else { b"PRI" }).await.unwrap();
        }
        let mut client = server.client(tls.then(|| server.trust()));
        client.segment(request(2)).await.unwrap();
        for mut stream in silent {
            let mut rest = Vec::new();
            let gone = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut rest));
            drop(gone.await.unwrap()); // closed or reset
        }
        if tls {
            server.until_above(&failures("timeout"), 19.0).await;
        }
        // A client that has sent a request may then be silent.
        client.segment(request(2)).await.unwrap();
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_refused_at_the_start_by_name() {
    let expired = Secured::refusal(&|folder, authority| {
        with_certificate(folder, &authority.issue_expired("localhost"))
    })
    .await;
    assert!(expired.starts_with("tls_certificate ") && expired.contains("certificate.pem"), "{expired}");
    assert!(expired.contains("of localhost has expired"), "{expired}");

    let mismatch = Secured::refusal(&|folder, authority| {
        let mut issued = authority.issue("localhost");
        issued.key = authority.issue("localhost").key;
        with_certificate(folder, &issued)
    })
    .await;
    assert!(mismatch.contains("is not the key of tls_certificate"), "{mismatch}");

    let missing = Secured::refusal(&|folder, authority| Settings {
        tls_key: text(&folder.join("nothing.pem")),
        ..with_tls(folder, authority)
    })
    .await;
    assert!(missing.starts_with("cannot read tls_key ") && missing.contains("nothing.pem"), "{missing}");

    let swapped = Secured::refusal(&|folder, authority| {
        let config = with_tls(folder, authority);
        Settings {
            tls_certificate: config.tls_key.clone(),
            tls_key: config.tls_certificate.clone(),
            ..config
        }
    })
    .await;
    assert!(swapped.starts_with("tls_certificate ") && swapped.contains("no certificate"), "{swapped}");

    let no_authority = Secured::refusal(&|folder, authority| {
        let config = with_tls(folder, authority);
        Settings { tls_client_ca: config.tls_key.clone(), ..config }
    })
    .await;
    assert!(no_authority.starts_with("tls_client_ca "), "{no_authority}");
}
