//! The configuration as it is written: in a file, in the environment, in flags. Nothing is checked here but
//! that keys exist and values have the right kind.

use std::path::Path;

use config::{Config, Environment, File, FileFormat, Map};
use serde::Deserialize;

use super::ConfigError;

/// Defines from one list the structure, the names of its keys, and the overlay of two of them.
macro_rules! raw_config {
    ($($(#[$doc:meta])* $key:ident: $kind:ty,)*) => {
        /// Every setting of the server; `None` if it is not set. A key is the same in the file
        /// (`max_top_k = 8`), in the environment (`SED_MAX_TOP_K=8`) and here.
        #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct RawConfig {
            $($(#[$doc])* pub $key: Option<$kind>,)*
        }

        impl RawConfig {
            /// The names of all settings.
            pub const KEYS: &'static [&'static str] = &[$(stringify!($key)),*];

            /// Returns these settings, with those of `below` for the ones not set here.
            #[must_use]
            pub fn over(self, below: Self) -> Self {
                Self { $($key: self.$key.or(below.$key),)* }
            }
        }
    };
}

raw_config! {
    /// Address and port to listen on. Default `127.0.0.1:50051`; port 0 takes a free one.
    listen: String,
    /// Address and port of `/livez`, `/readyz` and `/metrics`, or `off`. Default `127.0.0.1:9464`.
    ops_listen: String,
    /// Threads for decoding images and encoding masks. Default 0: one for each core.
    cpu_threads: usize,
    /// The `top_k` of requests that have none; 0 turns rejection off. Default 8.
    default_top_k: u32,

    /// Requests that are worked on at the same time; a call beyond waits half a second for a place. Default
    /// 64.
    max_concurrent_requests: usize,
    /// Requests that may wait for the device. Default: as many as are worked on.
    queue_capacity: usize,
    /// (Image, category) pairs of all requests that may wait for the device. Default 65536.
    queue_pairs: usize,
    /// Images of one batch of the encoder; 0 is as many as memory and device make useful. Default 0.
    batch_images: usize,
    /// (Image, category) pairs of one batch of any other stage; 0 is as many as memory and device make
    /// useful. Default 0.
    batch_pairs: usize,
    /// A batch that is not full waits this long for more, in milliseconds, while other work is ripe. Default
    /// 0.
    batch_delay_ms: f64,
    /// Requests of one stream that are worked on at the same time. Default 16.
    max_stream_requests: usize,
    /// Vocabularies that may be registered at the same time. Default 1000.
    max_registered_vocabularies: usize,
    /// The longest that a request may take, in seconds. Default 60.
    max_timeout_seconds: f64,
    /// Waiting this long lifts a request by one step of priority, in seconds. Default 5.
    priority_ageing_seconds: f64,
    /// Bound of the cache of text embeddings, in bytes; 0 turns it off. Default 512 MiB.
    text_cache_bytes: usize,
    /// A directory that keeps text embeddings, to share them with other processes. Default: none.
    text_cache_dir: String,
    /// Bound of that directory, in bytes. Default 4 GiB.
    text_cache_dir_bytes: u64,
    /// Bound of the cache of whole vocabularies on the device, in bytes; 0 turns it off. Default 512 MiB.
    vocabulary_cache_bytes: usize,
    /// Bound of the cache of image features, in bytes; 0 turns it off. Default 512 MiB.
    image_cache_bytes: usize,
    /// Built-in vocabularies whose words are embedded before the server is ready; in the environment
    /// separated by commas. Default: none.
    preload_vocabulary: Vec<String>,
    /// Interval at which a lost device is tried again, in seconds. Default 5.
    device_probe_seconds: f64,
    /// A GPU that was lost is given up after so many failed tries in a row, and the server ends when no
    /// device is left; 0 is never. Default 3.
    device_lost_probes: u32,

    /// Memory for everything that connections and requests cause: messages, pictures, masks, answers,
    /// windows. A number of bytes, at least 64 MiB (67108864); 0 is a third of the machine's or container's
    /// memory, at least 128 MiB and at most 16 GiB. Default 0.
    max_request_memory_bytes: u64,
    /// Bytes of one request message. Default 32 MiB.
    max_message_bytes: usize,
    /// Bytes of one answer. Default 128 MiB.
    max_response_bytes: usize,
    /// Bytes of an encoded image. Default: those of a message, but at most 32 MiB.
    max_image_bytes: u64,
    /// Pixels of an image. Default 64,000,000.
    max_image_pixels: u64,
    /// Width and height of an image. Default 16384.
    max_image_side: u32,
    /// Memory that decoding one image may take, in bytes. Default 768 MiB.
    max_decode_bytes: u64,
    /// Pixels of the masks. Default 64,000,000.
    max_output_pixels: u64,
    /// Width and height of the masks. Default 16384.
    max_output_side: u32,
    /// Points of all polygons of a mask together. Default 1,000,000.
    max_polygon_points: usize,
    /// Categories of a vocabulary. Default 1024.
    max_categories: usize,
    /// Synonyms of a category. Default 16.
    max_synonyms: usize,
    /// Names and synonyms of a vocabulary together. Default 2048.
    max_phrases: usize,
    /// UTF-8 bytes of a name or synonym. Default 256.
    max_phrase_bytes: usize,
    /// The largest `top_k`. Default 1024.
    max_top_k: u32,
    /// Bytes of a request id. Default 128.
    max_request_id_bytes: usize,

    /// The server's certificate chain, a PEM file; with `tls_key` it turns TLS on. Default: none.
    tls_certificate: String,
    /// The private key of that certificate, a PEM file. Default: none.
    tls_key: String,
    /// Authorities, a PEM file; clients then need a certificate of one of them. Default: none.
    tls_client_ca: String,
    /// Interval at which these files and that of the tokens are checked for changes, in seconds. Default 10.
    tls_reload_seconds: f64,
    /// Bearer tokens, a file of lines `name = "secret"`; calls then need one of them. Default: none.
    tokens: String,
    /// True if `grpc.health.v1` needs a token, too. Default false.
    health_needs_token: bool,

    /// Connections at the same time; more wait. No more than an eighth of `max_request_memory_bytes` holds at
    /// 128 KiB each. Default 4096, or as many as fit.
    max_connections: usize,
    /// Age, give or take a tenth, at which a connection accepts no more calls, in seconds; 0 is never.
    /// Default 1800.
    max_connection_age_seconds: f64,
    /// Time that the remaining calls of such a connection have, in seconds. Default 60.
    max_connection_age_grace_seconds: f64,
    /// Compressions of requests, and of answers to clients that ask: `gzip`, `zstd`, or `off`; in the
    /// environment separated by commas. Default both.
    compression: Vec<String>,
    /// gRPC-Web for browsers, also over HTTP/1.1. Default false.
    grpc_web: bool,
    /// Origins whose pages may use it, or `*`; in the environment separated by commas. Default: none.
    grpc_web_origins: Vec<String>,
    /// HTTP/2 flow control window of a stream, in bytes. Default 4 MiB.
    http2_stream_window_bytes: u32,
    /// HTTP/2 flow control window of a connection, in bytes. Default 16 MiB.
    http2_connection_window_bytes: u32,
    /// Streams of one connection at the same time. Default 256.
    http2_max_streams: u32,
    /// Bytes of a request's headers. Default 16 KiB.
    http2_max_header_bytes: u32,
    /// A silent connection is pinged this often, in seconds. Default 30.
    keepalive_interval_seconds: f64,
    /// A ping without answer for this long closes the connection, in seconds. Default 10.
    keepalive_timeout_seconds: f64,

    /// On shutdown, go on serving for this long after readiness is off, in seconds. Default 0.
    shutdown_delay_seconds: f64,
    /// After that, wait this long for running requests, in seconds. Default 30.
    shutdown_grace_seconds: f64,
}

impl RawConfig {
    /// Reads a TOML file, if there is one, and the environment, which goes over it. Variables are those named
    /// `SED_` and a key in capitals; others that begin so are not ours (an orchestrator may set some). An
    /// empty variable counts as unset.
    ///
    /// # Errors
    /// [`ConfigError::Source`]: the file cannot be read, has a key that does not exist, or a value has the
    /// wrong kind.
    pub fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let ours = |name: &str| {
            let key = name.strip_prefix("SED_").map(str::to_lowercase);
            key.is_some_and(|key| Self::KEYS.contains(&key.as_str()))
        };
        let mut variables: Map<String, String> =
            environment.into_iter().filter(|(name, value)| ours(name) && !value.is_empty()).collect();
        // A variable is one text, and these settings are lists.
        let mut list = |name: &str| variables.remove(name).map(|text| listed(&text));
        let preload_vocabulary = list("SED_PRELOAD_VOCABULARY");
        let compression = list("SED_COMPRESSION");
        let grpc_web_origins = list("SED_GRPC_WEB_ORIGINS");
        let lists = Self { preload_vocabulary, compression, grpc_web_origins, ..Self::default() };
        let mut sources = Config::builder();
        if let Some(path) = file {
            sources = sources.add_source(File::from(path).format(FileFormat::Toml));
        }
        let environment = Environment::with_prefix("SED").prefix_separator("_").source(Some(variables));
        sources = sources.add_source(environment);
        let merged = sources.build().and_then(Config::try_deserialize::<Self>);
        let read = merged.map_err(|error| ConfigError::Source(error.to_string()))?;
        Ok(lists.over(read))
    }
}

fn listed(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
