//! A server whose files the test makes, and clients of all kinds.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sed_engine::{
    Engine, VocabularyBook,
    fake::{FakeControl, FakeStages},
};
use sed_proto::v1::segmentation_service_client::SegmentationServiceClient;
use sed_server::{Drain, ServeError, Server, ServerConfig, Settings};
use sed_telemetry::Telemetry;
use tempfile::TempDir;
use tokio::{net::TcpStream, sync::oneshot, task::JoinHandle};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};
use tonic::{
    Request,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::certificates::{Authority, Issued, replace};
use crate::harness::{Client, telemetry};

/// Interval at which the files are checked for changes, in seconds.
pub(crate) const RELOAD: f64 = 0.02;

pub(crate) struct Secured {
    pub(crate) address: SocketAddr,
    pub(crate) control: FakeControl,
    pub(crate) folder: TempDir,
    pub(crate) authority: Authority,
    telemetry: Telemetry,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<Drain, ServeError>>,
}

/// Settings, made in a folder of the test's own where files can be put.
pub(crate) type Prepare<'a> = &'a dyn Fn(&Path, &Authority) -> Settings;

/// TLS with a certificate for localhost.
pub(crate) fn with_tls(folder: &Path, authority: &Authority) -> Settings {
    with_certificate(folder, &authority.issue("localhost"))
}

pub(crate) fn with_certificate(folder: &Path, issued: &Issued) -> Settings {
    let (certificate, key) = issued.write(folder);
    Settings {
        tls_certificate: text(&certificate),
        tls_key: text(&key),
        tls_reload_seconds: RELOAD,
        ..Settings::default()
    }
}

/// Tokens without TLS.
pub(crate) fn with_tokens(folder: &Path, lines: &str) -> Settings {
    let file = folder.join("tokens");
    replace(&file, lines);
    Settings { tokens: text(&file), tls_reload_seconds: RELOAD, ..Settings::default() }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

impl Secured {
    /// A server that is ready.
    pub(crate) async fn start(prepare: Prepare<'_>) -> Self {
        Self::start_changed(prepare, |_| {}).await
    }

    /// The same, with values changed that are no settings.
    pub(crate) async fn start_changed(prepare: Prepare<'_>, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("tests"));
        let mut config = ServerConfig::check(&prepare(folder.path(), &authority)).unwrap();
        config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.ops_listen = None;
        change(&mut config);
        let (stages, control) = FakeStages::new();
        let telemetry = telemetry();
        let engine = Engine::start(stages, &config.engine, &telemetry).unwrap();
        let book = VocabularyBook::default();
        let server = Server::bind(config, engine.clone(), book, telemetry.clone()).await.unwrap();
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.serve(async { stopped.await.unwrap() }));
        engine.ready().await.unwrap();
        Self { address, control, folder, authority, telemetry, stop: Some(stop), serving }
    }

    /// The error for which a server does not start.
    pub(crate) async fn refusal(prepare: Prepare<'_>) -> String {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("tests"));
        let mut config = ServerConfig::check(&prepare(folder.path(), &authority)).unwrap();
        config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.ops_listen = None;
        let (stages, _control) = FakeStages::new();
        let telemetry = Telemetry::off();
        let engine = Engine::start(stages, &config.engine, &telemetry).unwrap();
        Server::bind(config, engine, VocabularyBook::default(), telemetry).await.unwrap_err().to_string()
    }

    /// The value of a series now; 0 where it is not there.
    pub(crate) fn sample(&self, series: &str) -> f64 {
        let text = self.telemetry.render().unwrap();
        let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        lines.find(|(name, _)| *name == series).map_or(0.0, |(_, value)| value.parse().unwrap())
    }

    /// Waits until a series has grown beyond what it was.
    pub(crate) async fn until_above(&self, series: &str, before: f64) {
        until(|| self.sample(series) > before).await;
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The TLS settings of a client that trusts this server.
    pub(crate) fn trust(&self) -> ClientTlsConfig {
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.authority.pem()))
    }

    /// A way to the server; nothing is sent yet.
    pub(crate) fn endpoint(&self, tls: Option<ClientTlsConfig>) -> Endpoint {
        let (scheme, port) = (if tls.is_some() { "https" } else { "http" }, self.address.port());
        let endpoint = Endpoint::from_shared(format!("{scheme}://localhost:{port}")).unwrap();
        let endpoint = endpoint.connect_timeout(Duration::from_secs(30));
        match tls {
            Some(tls) => endpoint.tls_config(tls).unwrap(),
            None => endpoint,
        }
    }

    /// A client with a connection of its own.
    pub(crate) fn client(&self, tls: Option<ClientTlsConfig>) -> Client {
        client(self.endpoint(tls).connect_lazy())
    }

    /// A connection without HTTP, with the client's certificate if there is one.
    pub(crate) async fn handshake(&self, client: Option<&Issued>) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.pem().as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match client {
            None => builder.with_no_client_auth(),
            Some(Issued { certificate, key }) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                builder
                    .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
                    .unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    pub(crate) async fn end(mut self) -> Drain {
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(60), self.serving).await.unwrap().unwrap().unwrap()
    }
}

pub(crate) fn client(channel: Channel) -> Client {
    SegmentationServiceClient::new(channel).max_decoding_message_size(usize::MAX)
}

pub(crate) fn identity(issued: &Issued) -> Identity {
    Identity::from_pem(&issued.certificate, &issued.key)
}

/// The message with a header, as a client sends its token.
pub(crate) fn with_header<T>(message: T, value: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", value.parse().unwrap());
    request
}

/// Waits for something that happens on another task, on a busy machine, too.
pub(crate) async fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("what the test waits for did not happen within a minute");
}

/// Everything that an error says, its causes included.
pub(crate) fn story(error: &dyn std::error::Error) -> String {
    let mut story = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        story += &format!(": {deeper}");
        cause = deeper.source();
    }
    story
}
