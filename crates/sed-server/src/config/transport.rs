//! Settings of connections, of their protocols, and of access to them.

use std::{path::PathBuf, time::Duration};

use super::{
    ConfigError, RawConfig,
    ranges::{seconds, window, within},
};
use crate::memory::Split;

const MAX_CONNECTIONS: usize = 4096;
/// For the first bytes of a connection, TLS included: a handshake over a bad line takes a second or two.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that is silent for so long is broken, or belongs to a client that holds memory on purpose.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Connections at the same time; more wait in the system's backlog.
    pub max_connections: usize,
    /// Time that a client has to begin its first request.
    pub handshake_timeout: Duration,
    /// Time for which an upload or an answer may make no progress while the server waits for the client.
    pub stall_timeout: Duration,
    /// Age, give or take a tenth, at which a connection accepts no more calls; `None` is never.
    pub max_age: Option<Duration>,
    /// Time that the remaining calls of such a connection have.
    pub age_grace: Duration,
    /// Flow control window of a stream, in bytes.
    pub stream_window: u32,
    /// Flow control window of a connection, in bytes; less while many are open.
    pub connection_window: u32,
    /// Streams of one connection at the same time.
    pub max_streams: u32,
    /// Bytes of a request's headers.
    pub max_header_bytes: u32,
    /// Interval of pings on a silent connection.
    pub keepalive_interval: Duration,
    /// Time that a client has to answer a ping.
    pub keepalive_timeout: Duration,
    /// Compressions of requests, and of answers to clients that ask for one.
    pub compression: Vec<Compression>,
    /// gRPC-Web, if it is on.
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

pub(super) fn transport(raw: &RawConfig, request_memory: u64) -> Result<Transport, ConfigError> {
    let most_connections = Split::most_connections(request_memory).min(100_000);
    let age = seconds("max_connection_age_seconds", raw.max_connection_age_seconds, 1800.0, 0.0)?;
    let grace = seconds("max_connection_age_grace_seconds", raw.max_connection_age_grace_seconds, 60.0, 0.0)?;
    Ok(Transport {
        max_connections: within(
            "max_connections",
            raw.max_connections,
            MAX_CONNECTIONS.min(most_connections),
            1,
            most_connections,
        )?,
        handshake_timeout: HANDSHAKE_TIMEOUT,
        stall_timeout: STALL_TIMEOUT,
        max_age: Some(age).filter(|age| !age.is_zero()),
        age_grace: grace,
        stream_window: window("http2_stream_window_bytes", raw.http2_stream_window_bytes, 4)?,
        connection_window: window("http2_connection_window_bytes", raw.http2_connection_window_bytes, 16)?,
        max_streams: within("http2_max_streams", raw.http2_max_streams, 256, 1, 100_000)?,
        max_header_bytes: within(
            "http2_max_header_bytes",
            raw.http2_max_header_bytes,
            16 << 10,
            1 << 10,
            1 << 20,
        )?,
        keepalive_interval: seconds("keepalive_interval_seconds", raw.keepalive_interval_seconds, 30.0, 1.0)?,
        keepalive_timeout: seconds("keepalive_timeout_seconds", raw.keepalive_timeout_seconds, 10.0, 1.0)?,
        compression: compression(raw.compression.as_deref())?,
        web: web(raw)?,
    })
}

fn compression(names: Option<&[String]>) -> Result<Vec<Compression>, ConfigError> {
    let Some(names) = names else { return Ok(Compression::ALL.to_vec()) };
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

fn web(raw: &RawConfig) -> Result<Option<Web>, ConfigError> {
    let origins = raw.grpc_web_origins.clone().unwrap_or_default();
    if !raw.grpc_web.unwrap_or(false) {
        needs("grpc_web_origins", !origins.is_empty(), "grpc_web", false)?;
        return Ok(None);
    }
    match origins.iter().find(|origin| *origin != "*" && !is_origin(origin)) {
        None => Ok(Some(Web { origins })),
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

pub(super) fn access(raw: &RawConfig) -> Result<Access, ConfigError> {
    let file = |value: &Option<String>| value.as_deref().filter(|file| !file.is_empty()).map(PathBuf::from);
    let (certificate, key) = (file(&raw.tls_certificate), file(&raw.tls_key));
    let client_ca = file(&raw.tls_client_ca);
    needs("tls_certificate", certificate.is_some(), "tls_key", key.is_some())?;
    needs("tls_key", key.is_some(), "tls_certificate", certificate.is_some())?;
    needs("tls_client_ca", client_ca.is_some(), "tls_certificate", certificate.is_some())?;
    let tls = certificate.zip(key).map(|(certificate, key)| TlsFiles { certificate, key, client_ca });
    let tokens = file(&raw.tokens);
    let health_needs_token = raw.health_needs_token.unwrap_or(false);
    needs("health_needs_token", health_needs_token, "tokens", tokens.is_some())?;
    let reload_interval = seconds("tls_reload_seconds", raw.tls_reload_seconds, 10.0, 0.01)?;
    Ok(Access { tls, tokens, health_needs_token, reload_interval })
}

fn needs(key: &'static str, set: bool, other: &'static str, there: bool) -> Result<(), ConfigError> {
    if set && !there { Err(ConfigError::Needs { key, other }) } else { Ok(()) }
}
