//! The server's settings as flags, and the effective ones printed.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Result;
use clap::{Args, builder::ValueRange};
use sed_server::config::{self, RawConfig, ServerConfig};
use serde_json::{Value, json};

const ABOUT_SETTINGS: &str = "Settings (flag, or SED_<NAME> in the environment, or key of --config)";
const SWITCH: &str = "true|false";
const LIMITS: &str = "Limits (the same three ways)";
const ACCESS: &str = "Security (the same three ways)";
const TRANSPORT: &str = "Connections and shutdown (the same three ways)";

/// Generates the flags and their conversion to [`RawConfig`] from one list.
macro_rules! server_args {
    ($($heading:ident { $($(#[doc = $doc:literal])* $key:ident: $kind:ty = $unit:literal,)* })*) => {
        /// The server's flags. The value of an absent flag comes from the environment, then from the file,
        /// then from the default.
        #[derive(Clone, Debug, Default, Args)]
        pub(crate) struct ServerArgs {
            /// A TOML file of settings; their names are those of the flags, with `_` for `-`.
            #[arg(long, value_name = "FILE", env = "SED_CONFIG", help_heading = ABOUT_SETTINGS)]
            pub(crate) config: Option<PathBuf>,

            $($(
                $(#[doc = $doc])*
                #[arg(
                    long,
                    value_name = $unit,
                    help_heading = $heading,
                    num_args = values($unit),
                    default_missing_value = "true",
                    hide_short_help = SHORT.binary_search(&stringify!($key)).is_err()
                )]
                $key: Option<$kind>,
            )*)*
        }

        impl ServerArgs {
            /// Converts the flags. A key that is missing in the list does not compile here.
            fn to_raw(&self) -> RawConfig {
                RawConfig { $($($key: self.$key.clone(),)*)* }
            }
        }
    };
}

/// Number of values of a flag; a switch may have none.
fn values(unit: &str) -> ValueRange {
    if unit == SWITCH { (0..=1).into() } else { 1.into() }
}

/// Settings that `-h` shows, sorted; `--help` shows all.
const SHORT: [&str; 4] = ["default_top_k", "listen", "max_timeout_seconds", "ops_listen"];

server_args! {
    ABOUT_SETTINGS {
        /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:50051]
        listen: String = "ADDRESS",
        /// Address and port of /livez, /readyz and /metrics, or the word off [default: 127.0.0.1:9464]
        ops_listen: String = "ADDRESS",
        /// Threads for decoding images and encoding masks, and a quarter more for small ones; 0 is one for each core [default: 0]
        cpu_threads: usize = "N",
        /// The top_k of requests that have none; 0 turns rejection off [default: 8]
        default_top_k: u32 = "N",
        /// Images of one batch of the encoder; 0 is as many as memory and device make useful [default: 0]
        batch_images: usize = "N",
        /// (Image, category) pairs of one batch of any other stage; 0 as for --batch-images [default: 0]
        batch_pairs: usize = "N",
        /// While other work is ripe, a batch that is not full waits this long for more [default: 0]
        batch_delay_ms: f64 = "MILLISECONDS",
        /// Memory for text embeddings; 0 turns the cache off [default: 512 MiB]
        text_cache_bytes: usize = "BYTES",
        /// A folder that keeps text embeddings, to share them with other processes [default: none]
        text_cache_dir: String = "FOLDER",
        /// Size of the folder of --text-cache-dir [default: 4 GiB]
        text_cache_dir_bytes: u64 = "BYTES",
        /// Memory for whole vocabularies on the device; 0 turns the cache off [default: 512 MiB]
        vocabulary_cache_bytes: usize = "BYTES",
        /// Memory for image features; 0 turns the cache, and ids of images, off [default: 512 MiB]
        image_cache_bytes: usize = "BYTES",
        /// A built-in vocabulary whose words are embedded before the server is ready; may be given several times
        preload_vocabulary: Vec<String> = "NAME",
        /// Time between two tries of a lost device [default: 5]
        device_probe_seconds: f64 = "SECONDS",
        /// A lost GPU is given up after so many failed tries in a row, and the server ends with exit code 75 when no
        /// device is left; 0 is never [default: 3]
        device_lost_probes: u32 = "N",
        /// Waiting this long lifts a request by one step of priority [default: 5]
        priority_ageing_seconds: f64 = "SECONDS",
    }
    LIMITS {
        /// The longest that a request may take [default: 60]
        max_timeout_seconds: f64 = "SECONDS",
        /// Requests that are worked on at the same time; a call beyond waits half a second for a place [default: 64]
        max_concurrent_requests: usize = "N",
        /// Requests that may wait for the device [default: as many as are worked on]
        queue_capacity: usize = "N",
        /// (Image, category) pairs of all requests that may wait for the device [default: 65536]
        queue_pairs: usize = "N",
        /// Requests of one stream that are worked on at the same time [default: 16, at most --max-concurrent-requests]
        max_stream_requests: usize = "N",
        /// Vocabularies that may be registered at the same time [default: 1000]
        max_registered_vocabularies: usize = "N",
        /// Memory of all that connections and requests cause, a number of bytes of at least 67108864 (64 MiB); 0 is a third
        /// of the machine's or container's [default: 0]
        max_request_memory_bytes: u64 = "BYTES",
        /// Size of one request message [default: 32 MiB]
        max_message_bytes: usize = "BYTES",
        /// Size of one answer [default: 128 MiB]
        max_response_bytes: usize = "BYTES",
        /// Size of an encoded image [default: that of a message, at most 32 MiB]
        max_image_bytes: u64 = "BYTES",
        /// Pixels of an image [default: 64000000]
        max_image_pixels: u64 = "N",
        /// Width and height of an image [default: 16384]
        max_image_side: u32 = "PIXELS",
        /// Memory that decoding one image may take [default: 768 MiB]
        max_decode_bytes: u64 = "BYTES",
        /// Pixels of the masks [default: 64000000]
        max_output_pixels: u64 = "N",
        /// Width and height of the masks [default: 16384]
        max_output_side: u32 = "PIXELS",
        /// Points of all polygons of a mask together [default: 1000000]
        max_polygon_points: usize = "N",
        /// Categories of a vocabulary [default: 1024]
        max_categories: usize = "N",
        /// Synonyms of a category [default: 16]
        max_synonyms: usize = "N",
        /// Names and synonyms of a vocabulary together [default: 2048]
        max_phrases: usize = "N",
        /// UTF-8 bytes of a name or synonym [default: 256]
        max_phrase_bytes: usize = "BYTES",
        /// The largest top_k [default: 1024]
        max_top_k: u32 = "N",
        /// Size of a request id [default: 128]
        max_request_id_bytes: usize = "BYTES",
    }
    ACCESS {
        /// The server's certificate chain in PEM; with --tls-key it turns TLS on [default: none]
        tls_certificate: String = "FILE",
        /// The private key of that certificate in PEM [default: none]
        tls_key: String = "FILE",
        /// Authorities in PEM; clients then need a certificate of one of them (mutual TLS) [default: none]
        tls_client_ca: String = "FILE",
        /// Time between two checks of these files and the tokens; SIGHUP checks at once [default: 10]
        tls_reload_seconds: f64 = "SECONDS",
        /// Bearer tokens, lines of `name = "secret"`; every call then needs one of them [default: none]
        tokens: String = "FILE",
        /// Require a token for calls of grpc.health.v1, too [default: false]
        health_needs_token: bool = "true|false",
    }
    TRANSPORT {
        /// Connections at the same time; more wait until one ends; no more than an eighth of --max-request-memory-bytes
        /// holds at 128 KiB each [default: 4096, or as many as fit]
        max_connections: usize = "N",
        /// After this time, give or take a tenth, a connection takes no more calls; 0 is never [default: 1800]
        max_connection_age_seconds: f64 = "SECONDS",
        /// The calls that a connection beyond its age still carries may take this long [default: 60]
        max_connection_age_grace_seconds: f64 = "SECONDS",
        /// Compression of requests, and of answers to clients that accept it: gzip, zstd, or off; may be
        /// given several times [default: gzip, zstd]
        compression: Vec<String> = "NAME",
        /// Answer gRPC-Web, which browsers speak, and HTTP/1.1 for it [default: false]
        grpc_web: bool = "true|false",
        /// An origin whose pages may use gRPC-Web, such as https://example.org, or *; may be given several
        /// times [default: none]
        grpc_web_origins: Vec<String> = "ORIGIN",
        /// HTTP/2 flow control window of a stream [default: 4 MiB]
        http2_stream_window_bytes: u32 = "BYTES",
        /// HTTP/2 flow control window of a connection [default: 16 MiB]
        http2_connection_window_bytes: u32 = "BYTES",
        /// Streams of one connection at the same time [default: 256]
        http2_max_streams: u32 = "N",
        /// Size of a request's headers [default: 16 KiB]
        http2_max_header_bytes: u32 = "BYTES",
        /// A silent connection is pinged this often [default: 30]
        keepalive_interval_seconds: f64 = "SECONDS",
        /// A ping without answer for this long closes the connection [default: 10]
        keepalive_timeout_seconds: f64 = "SECONDS",
        /// On shutdown, go on serving for this long after readiness is off [default: 0]
        shutdown_delay_seconds: f64 = "SECONDS",
        /// After --shutdown-delay-seconds, wait this long for running requests [default: 30]
        shutdown_grace_seconds: f64 = "SECONDS",
    }
}

impl ServerArgs {
    /// Loads and checks the configuration from flags, environment and file.
    pub(crate) fn load(&self) -> Result<ServerConfig> {
        // Variables that are not text cannot be ours.
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let environment = std::env::vars_os().filter_map(text);
        Ok(config::load(self.config.as_deref(), environment, self.to_raw())?)
    }
}

/// Writes a configuration as a file for `--config`, or as a JSON object.
pub(crate) fn print_config(config: &ServerConfig, as_json: bool, out: &mut impl Write) -> Result<()> {
    let settings = settings(config);
    if as_json {
        let object: serde_json::Map<String, Value> =
            settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        return Ok(writeln!(out, "{}", serde_json::to_string_pretty(&object)?)?);
    }
    for (key, value) in settings {
        // Numbers and plain texts are written alike in JSON and TOML.
        writeln!(out, "{key} = {value}")?;
    }
    Ok(())
}

fn settings(config: &ServerConfig) -> Vec<(&'static str, Value)> {
    let (limits, engine) = (&config.limits, &config.engine);
    let (transport, shutdown) = (&config.transport, &config.shutdown);
    let (access, tls) = (&config.access, config.access.tls.as_ref());
    // A path that is not set is written as an empty text.
    let file = |path: Option<&PathBuf>| json!(path.map_or(Path::new(""), PathBuf::as_path));
    let compression = match transport.compression.as_slice() {
        [] => vec!["off"],
        some => some.iter().map(|way| way.name()).collect(),
    };
    let origins = transport.web.as_ref().map_or(&[][..], |web| &web.origins);
    vec![
        ("listen", json!(config.listen.to_string())),
        ("ops_listen", json!(config.ops_listen.map_or("off".into(), |address| address.to_string()))),
        ("cpu_threads", json!(config.cpu_threads)),
        ("default_top_k", json!(config.default_rejection)),
        ("max_concurrent_requests", json!(limits.concurrent_requests)),
        ("queue_capacity", json!(engine.queue_capacity)),
        ("max_timeout_seconds", json!(limits.timeout.as_secs_f64())),
        ("priority_ageing_seconds", json!(engine.ageing.as_secs_f64())),
        ("queue_pairs", json!(engine.queue_pairs)),
        ("batch_images", json!(engine.batch_images.unwrap_or(0))),
        ("batch_pairs", json!(engine.batch_pairs.unwrap_or(0))),
        ("batch_delay_ms", json!(engine.batch_delay.as_secs_f64() * 1e3)),
        ("text_cache_bytes", json!(engine.text_cache_bytes)),
        ("text_cache_dir", json!(engine.text_cache_dir.as_deref().unwrap_or(Path::new("")))),
        ("text_cache_dir_bytes", json!(engine.text_cache_dir_bytes)),
        ("vocabulary_cache_bytes", json!(engine.vocabulary_cache_bytes)),
        ("image_cache_bytes", json!(engine.image_cache_bytes)),
        ("preload_vocabulary", json!(config.preload_vocabulary)),
        ("max_stream_requests", json!(limits.stream_requests)),
        ("max_registered_vocabularies", json!(limits.registered_vocabularies)),
        ("device_probe_seconds", json!(engine.probe_interval.as_secs_f64())),
        ("device_lost_probes", json!(engine.lost_probes)),
        ("max_request_memory_bytes", json!(limits.request_memory_bytes)),
        ("max_message_bytes", json!(limits.message_bytes)),
        ("max_response_bytes", json!(limits.response_bytes)),
        ("max_image_bytes", json!(limits.image.max_encoded_bytes)),
        ("max_image_pixels", json!(limits.image.max_pixels)),
        ("max_image_side", json!(limits.image.max_side)),
        ("max_decode_bytes", json!(limits.image.max_alloc_bytes)),
        ("max_output_pixels", json!(limits.output_pixels)),
        ("max_output_side", json!(limits.output_side)),
        ("max_polygon_points", json!(limits.polygon_points)),
        ("max_categories", json!(limits.vocabulary.categories)),
        ("max_synonyms", json!(limits.vocabulary.synonyms)),
        ("max_phrases", json!(limits.vocabulary.phrases)),
        ("max_phrase_bytes", json!(limits.vocabulary.phrase_bytes)),
        ("max_top_k", json!(limits.top_k)),
        ("max_request_id_bytes", json!(limits.request_id_bytes)),
        ("tls_certificate", file(tls.map(|files| &files.certificate))),
        ("tls_key", file(tls.map(|files| &files.key))),
        ("tls_client_ca", file(tls.and_then(|files| files.client_ca.as_ref()))),
        ("tls_reload_seconds", json!(access.reload_interval.as_secs_f64())),
        ("tokens", file(access.tokens.as_ref())),
        ("health_needs_token", json!(access.health_needs_token)),
        ("max_connections", json!(transport.max_connections)),
        ("max_connection_age_seconds", json!(transport.max_age.unwrap_or_default().as_secs_f64())),
        ("max_connection_age_grace_seconds", json!(transport.age_grace.as_secs_f64())),
        ("compression", json!(compression)),
        ("grpc_web", json!(transport.web.is_some())),
        ("grpc_web_origins", json!(origins)),
        ("http2_stream_window_bytes", json!(transport.stream_window)),
        ("http2_connection_window_bytes", json!(transport.connection_window)),
        ("http2_max_streams", json!(transport.max_streams)),
        ("http2_max_header_bytes", json!(transport.max_header_bytes)),
        ("keepalive_interval_seconds", json!(transport.keepalive_interval.as_secs_f64())),
        ("keepalive_timeout_seconds", json!(transport.keepalive_timeout.as_secs_f64())),
        ("shutdown_delay_seconds", json!(shutdown.delay.as_secs_f64())),
        ("shutdown_grace_seconds", json!(shutdown.grace.as_secs_f64())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration in which no setting has its default.
    fn unusual() -> RawConfig {
        let mut text = String::new();
        for (key, value) in settings(&ServerConfig::default()) {
            let other = match (key, &value) {
                ("listen" | "ops_listen", _) => json!("127.0.0.1:7"),
                ("text_cache_dir", _) => json!("embeddings \"kept\" here"),
                ("preload_vocabulary", _) => json!(["pascal-voc-20", "ade20k-150"]),
                ("compression", _) => json!(["off"]),
                ("grpc_web_origins", _) => json!(["https://a.example", "http://b.example:8080"]),
                ("tls_certificate" | "tls_key" | "tls_client_ca" | "tokens", _) => {
                    json!(format!("/run/{key}"))
                }
                (_, Value::Bool(on)) => json!(!on),
                (_, Value::Number(number)) if number.is_f64() => json!(number.as_f64().unwrap() + 1.5),
                // Only an image may not be larger than a message.
                ("max_image_bytes", number) => json!(number.as_u64().unwrap() - 1),
                (_, number) => json!(number.as_u64().unwrap() + 1),
            };
            text += &format!("{key} = {other}\n");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        RawConfig::read(Some(file.path()), []).unwrap()
    }

    #[test]
    fn what_is_printed_can_be_read_again() {
        let config = ServerConfig::check(unusual()).unwrap();
        let mut printed = Vec::new();
        print_config(&config, false, &mut printed).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), printed).unwrap();
        assert_eq!(config::load(Some(file.path()), [], RawConfig::default()).unwrap(), config);
    }

    #[test]
    fn every_setting_is_printed() {
        let printed: Vec<&str> = settings(&ServerConfig::default()).into_iter().map(|(key, _)| key).collect();
        let mut sorted = (printed.clone(), RawConfig::KEYS.to_vec());
        sorted.0.sort_unstable();
        sorted.1.sort_unstable();
        assert_eq!(sorted.0, sorted.1);
    }

    #[test]
    fn every_setting_has_its_row_in_the_reference() {
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/settings.md"));
        for key in RawConfig::KEYS {
            let flag = key.replace('_', "-");
            let begin = format!("| `--{flag}` ");
            let rows: Vec<&str> = page.lines().filter(|line| line.starts_with(&begin)).collect();
            let variable = format!("| `SED_{}` |", key.to_uppercase());
            assert!(
                rows.len() == 1 && rows[0].contains(&variable),
                "{key}: {rows:?}; run deploy/reference.py"
            );
        }
    }
}
