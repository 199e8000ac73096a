//! Files that are replaced under load: no request fails, and the new content is soon in force.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
use tonic::Code;

use super::{
    certificates::{Issued, replace},
    secured::{self, Secured, until, with_header, with_tls, with_tokens},
};
use crate::harness::{facts, request};

/// The certificate that a new connection is shown.
async fn shown(server: &Secured) -> CertificateDer<'static> {
    let stream = server.handshake(None).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

fn der(issued: &Issued) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()
}

async fn until_shown(server: &Secured, issued: &Issued) {
    for _ in 0..6000 {
        if shown(server).await == der(issued) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("new connections do not see the new certificate");
}

/// Clients that call until they are told to stop; some keep their connection, some open a new one every time.
struct Load {
    on: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
}

impl Load {
    fn begin(server: &Secured, secret: Option<&str>) -> Self {
        let on = Arc::new(AtomicBool::new(true));
        let answered = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for number in 0..6 {
            let endpoint = server.endpoint(secret.is_none().then(|| server.trust()));
            let header = format!("Bearer {}", secret.unwrap_or_default());
            let (on, answered) = (Arc::clone(&on), Arc::clone(&answered));
            tasks.spawn(async move {
                let mut client = secured::client(endpoint.connect_lazy());
                while on.load(Ordering::Relaxed) {
                    if number % 2 == 0 {
                        client = secured::client(endpoint.connect_lazy());
                    }
                    client.segment(with_header(request(2), &header)).await.unwrap();
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { on, answered, tasks }
    }

    /// Waits for so many more answers.
    async fn more(&self, answers: usize) {
        let goal = self.answered.load(Ordering::Relaxed) + answers;
        until(|| self.answered.load(Ordering::Relaxed) >= goal).await;
    }

    /// Fails where a single call has failed.
    async fn end(mut self) {
        self.on.store(false, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_replaced_under_load() {
    let server = Secured::start(&with_tls).await;
    let load = Load::begin(&server, None);
    load.more(30).await;
    for _ in 0..3 {
        let new = server.authority.issue("localhost");
        new.write(server.folder.path());
        until_shown(&server, &new).await;
        load.more(30).await;
    }
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_used_leaves_the_old_one_in_force() {
    let server = Secured::start(&with_tls).await;
    let old = shown(&server).await;
    let load = Load::begin(&server, None);
    let failed = "sed_tls_reloads_total{outcome=\"failed\"}";
    let before = server.sample(failed);
    server.authority.issue_expired("localhost").write(server.folder.path());
    server.until_above(failed, before).await;
    let before = server.sample(failed);
    replace(&server.file("certificate.pem"), "no certificate at all");
    server.until_above(failed, before).await;
    let before = server.sample(failed);
    std::fs::remove_file(server.file("key.pem")).unwrap();
    replace(&server.file("certificate.pem"), &server.authority.issue("localhost").certificate);
    server.until_above(failed, before).await;
    assert_eq!(shown(&server).await, old);
    load.more(30).await;
    // And what is right again comes into force.
    let new = server.authority.issue("localhost");
    new.write(server.folder.path());
    until_shown(&server, &new).await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_replaced_under_load_and_the_old_one_is_then_revoked() {
    const OLD: &str = "old-secret-old-secret";
    const NEW: &str = "new-secret-new-secret";
    let server = Secured::start(&|folder, _| with_tokens(folder, &format!("camera = \"{OLD}\"\n"))).await;
    let with_old = Load::begin(&server, Some(OLD));
    with_old.more(30).await;
    let mut client = server.client(None);
    let mut call = async |secret: &str| {
        client.segment(with_header(request(2), &format!("Bearer {secret}"))).await.map(drop)
    };
    assert_eq!(call(NEW).await.unwrap_err().code(), Code::Unauthenticated);

    // Both for as long as clients change over.
    replace(&server.file("tokens"), &format!("camera = [\"{OLD}\", \"{NEW}\"]\n"));
    while call(NEW).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let with_new = Load::begin(&server, Some(NEW));
    with_new.more(30).await;
    with_old.more(30).await;
    with_old.end().await;

    replace(&server.file("tokens"), &format!("camera = \"{NEW}\"\n"));
    let revoked = loop {
        match call(OLD).await {
            Ok(()) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(revoked) => break revoked,
        }
    };
    assert_eq!(facts(&revoked), (Code::Unauthenticated, "TOKEN_INVALID".into(), String::new()));
    with_new.more(30).await;

    // A file without tokens counts as a mistake: the tokens in force stay so.
    let failed = "sed_token_reloads_total{outcome=\"failed\"}";
    let before = server.sample(failed);
    replace(&server.file("tokens"), "");
    server.until_above(failed, before).await;
    with_new.more(30).await;
    with_new.end().await;
}
