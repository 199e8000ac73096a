//! Bounds of connections, their protocols, and access to them.

use std::{path::PathBuf, time::Duration};

use super::{ConfigError, Settings, values::file};

/// For the first bytes of a connection, TLS included: a handshake over a bad line takes a second or two.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that is silent for so long is broken, or belongs to a client that holds memory on purpose.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Bounds and protocols of connections, beside those that are plain settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Time that a client has to begin its first request.
    pub handshake_timeout: Duration,
    /// Time for which an upload or an answer may make no progress while the server waits for the client.
    pub stall_timeout: Duration,
    /// Compressions of requests, and of answers to clients that ask for one.
    pub compression: Vec<Compression>,
    /// gRPC-Web, if it is on or the playground needs it.
    pub web: Option<Web>,
}

/// A way to compress messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// The one that every client knows.
    Gzip,
    /// Faster and smaller, where the client knows it.
    Zstd,
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Gzip, Self::Zstd];

    /// The name, as gRPC has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// gRPC-Web, for browsers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Web {
    /// Origins whose pages may call, such as `https://example.org`; `*` is any. Pages of the server's own
    /// origin always may.
    pub origins: Vec<String>,
    /// The playground is served, too.
    pub playground: bool,
}

/// TLS and bearer tokens, by default neither. The files are read when the server starts, and again when they
/// change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// TLS, if it is on.
    pub tls: Option<TlsFiles>,
    /// The file of bearer tokens, if calls need one.
    pub tokens: Option<PathBuf>,
    /// True if `grpc.health.v1` needs a token, too.
    pub health_needs_token: bool,
    /// Interval at which the files are checked for changes.
    pub reload_interval: Duration,
}

/// The files of TLS, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, and those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities whose certificates clients must have; `None`: clients need none.
    pub client_ca: Option<PathBuf>,
}

pub(super) fn transport(settings: &Settings) -> Result<Transport, ConfigError> {
    Ok(Transport {
        handshake_timeout: HANDSHAKE_TIMEOUT,
        stall_timeout: STALL_TIMEOUT,
        compression: compression(&settings.compression)?,
        web: web(settings)?,
    })
}

fn compression(names: &[String]) -> Result<Vec<Compression>, ConfigError> {
    if names == ["off"] {
        return Ok(Vec::new());
    }
    let find = |name: &String| {
        let found = Compression::ALL.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| ConfigError::Word {
            key: "compression",
            found: name.clone(),
            known: "gzip, zstd, or off alone",
        })
    };
    names.iter().map(find).collect()
}

fn web(settings: &Settings) -> Result<Option<Web>, ConfigError> {
    let origins = settings.grpc_web_origins.clone();
    let playground = settings.playground;
    if !settings.grpc_web && !playground {
        needs("grpc_web_origins", !origins.is_empty(), "grpc_web", false)?;
        return Ok(None);
    }
    match origins.iter().find(|origin| *origin != "*" && !is_origin(origin)) {
        None => Ok(Some(Web { origins, playground })),
        Some(wrong) => Err(ConfigError::Word {
            key: "grpc_web_origins",
            found: wrong.clone(),
            known: "scheme://host or scheme://host:port, or *",
        }),
    }
}

/// Reports whether a text is an origin as browsers send it: a scheme, a host, perhaps a port, and nothing
/// after them.
fn is_origin(text: &str) -> bool {
    let parsed: Result<http::Uri, _> = text.parse();
    parsed.is_ok_and(|uri| uri.scheme().is_some() && uri.authority().is_some() && uri.path() == "/")
        && !text.ends_with('/')
}

pub(super) fn access(settings: &Settings) -> Result<Access, ConfigError> {
    let (certificate, key) = (file(&settings.tls_certificate), file(&settings.tls_key));
    let (client_ca, tokens) = (file(&settings.tls_client_ca), file(&settings.tokens));
    let health_needs_token = settings.health_needs_token;
    needs("tls_certificate", certificate.is_some(), "tls_key", key.is_some())?;
    needs("tls_key", key.is_some(), "tls_certificate", certificate.is_some())?;
    needs("tls_client_ca", client_ca.is_some(), "tls_certificate", certificate.is_some())?;
    needs("health_needs_token", health_needs_token, "tokens", tokens.is_some())?;
    let tls = certificate.zip(key).map(|(certificate, key)| TlsFiles { certificate, key, client_ca });
    let reload_interval = Duration::from_secs_f64(settings.tls_reload_seconds);
    Ok(Access { tls, tokens, health_needs_token, reload_interval })
}

fn needs(key: &'static str, set: bool, other: &'static str, there: bool) -> Result<(), ConfigError> {
    if set && !there { Err(ConfigError::Needs { key, other }) } else { Ok(()) }
}
