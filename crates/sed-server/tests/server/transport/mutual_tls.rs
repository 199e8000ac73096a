//! Mutual TLS: clients show a certificate too.

use std::path::Path;

use sed_server::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;

use super::{
    certificates::{Authority, Issued, replace},
    secured::{Secured, identity, text, with_tls},
    tls::failures,
};
use crate::harness::request;

/// Clients need a certificate of the server's own authority.
fn with_mutual_tls(folder: &Path, authority: &Authority) -> Settings {
    let file = folder.join("clients.pem");
    replace(&file, &authority.pem());
    Settings { tls_client_ca: text(&file), ..with_tls(folder, authority) }
}

#[tokio::test]
async fn a_client_with_a_certificate_of_the_authority_is_served_and_no_other() {
    let server = Secured::start(&with_mutual_tls).await;
    let good = server.trust().identity(identity(&server.authority.issue("camera-7.example")));
    server.client(Some(good.clone())).segment(request(2)).await.unwrap();

    let stranger = Authority::new("tests").issue("camera-7.example");
    let expired = server.authority.issue_expired("camera-7.example");
    let cases = [
        (None, "certificate_missing", "CertificateRequired"),
        (Some(stranger), "certificate_invalid", "received fatal alert"),
        (Some(expired), "certificate_expired", "CertificateExpired"),
    ];
    for (shown, reason, said) in cases {
        let before = server.sample(&failures(reason));
        assert!(alert(&server, shown.as_ref()).await.contains(said), "{reason}");
        server.until_above(&failures(reason), before).await;
        let tls = match &shown {
            None => server.trust(),
            Some(issued) => server.trust().identity(identity(issued)),
        };
        let refused = server.client(Some(tls)).segment(request(2)).await.unwrap_err();
        assert_ne!(refused.code(), Code::Ok);
        server.client(Some(good.clone())).segment(request(2)).await.unwrap();
    }
}

/// The alert by which the server refuses a client's certificate. A client of TLS 1.3 receives it only after
/// its own handshake, when it has begun to speak.
async fn alert(server: &Secured, shown: Option<&Issued>) -> String {
    let mut stream = server.handshake(shown).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap_err().to_string()
}

#[tokio::test]
async fn an_authority_that_is_taken_out_opens_no_more_connections() {
    let server = Secured::start(&with_mutual_tls).await;
    let old = server.trust().identity(identity(&server.authority.issue("camera-7.example")));
    let mut before = server.client(Some(old.clone()));
    before.segment(request(2)).await.unwrap();

    let successor = Authority::new("successor");
    let loaded = "sed_tls_reloads_total{outcome=\"loaded\"}";
    let count = server.sample(loaded);
    replace(&server.file("clients.pem"), &successor.pem());
    server.until_above(loaded, count).await;
    let new = server.trust().identity(identity(&successor.issue("camera-8.example")));
    server.client(Some(new)).segment(request(2)).await.unwrap();
    server.client(Some(old)).segment(request(2)).await.unwrap_err();
    // Connections that are open stay; their age ends them.
    before.segment(request(2)).await.unwrap();
}
