//! The server's settings. Each is declared here and nowhere else: name, type, default, range, unit, meaning.

use clap::{ArgAction, Args};
use serde::Serialize;

use super::values::{bytes, request_memory, seconds, switch, window, within};

/// Heading of the settings in `--help`.
pub const SETTINGS: &str = "Settings (flag, or SED_<NAME> in the environment, or key of --config)";
const LIMITS: &str = "Limits (the same three ways)";
const ACCESS: &str = "Security (the same three ways)";
const TRANSPORT: &str = "Connections and shutdown (the same three ways)";

/// Settings that `-h` shows; `--help` shows all.
pub(super) const SHORT: [&str; 4] = ["default_top_k", "listen", "max_timeout_seconds", "ops_listen"];

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Every setting of the server. A field's name is its key in a file, `SED_` and the name in capitals its
/// variable, and the name with `-` for `_` its flag. `None` is a default that depends on another setting; an
/// empty text is no file.
#[derive(Clone, Debug, PartialEq, Args, Serialize)]
pub struct Settings {
    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long, help_heading = SETTINGS, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    pub listen: String,
    /// Address and port of /livez, /readyz and /metrics, or the word off.
    #[arg(long, help_heading = SETTINGS, value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    pub ops_listen: String,
    /// Threads for decoding images and encoding masks, and a quarter more for small ones; 0 is one for each
    /// core.
    #[arg(long, help_heading = SETTINGS, value_name = "N", default_value = "0")]
    #[arg(value_parser = within::<usize>(0, 1024))]
    pub cpu_threads: usize,
    /// The top_k of requests that have none; 0 turns rejection off [default: 8]
    #[arg(long, help_heading = SETTINGS, value_name = "N", value_parser = within::<u32>(0, u32::MAX))]
    pub default_top_k: Option<u32>,
    /// Images of one batch of the encoder; 0 is as many as memory and device make useful.
    #[arg(long, help_heading = SETTINGS, value_name = "N", default_value = "0")]
    #[arg(value_parser = within::<usize>(0, 4096))]
    pub batch_images: usize,
    /// (Image, category) pairs of one batch of any other stage; 0 as for --batch-images.
    #[arg(long, help_heading = SETTINGS, value_name = "N", default_value = "0")]
    #[arg(value_parser = within::<usize>(0, 1 << 20))]
    pub batch_pairs: usize,
    /// While other work is ripe, a batch that is not full waits this long for more.
    #[arg(long, help_heading = SETTINGS, value_name = "MILLISECONDS", default_value = "0")]
    #[arg(value_parser = within::<f64>(0.0, 10_000.0))]
    pub batch_delay_ms: f64,
    /// Memory for text embeddings; 0 turns the cache off.
    #[arg(long, help_heading = SETTINGS, value_name = "BYTES", default_value = "512MiB")]
    #[arg(value_parser = bytes::<usize>(0, i64::MAX as u64))]
    pub text_cache_bytes: usize,
    /// A folder that keeps text embeddings, to share them with other processes [default: none]
    #[arg(long, help_heading = SETTINGS, value_name = "FOLDER")]
    #[arg(default_value = "", hide_default_value = true)]
    pub text_cache_dir: String,
    /// Size of the folder of --text-cache-dir.
    #[arg(long, help_heading = SETTINGS, value_name = "BYTES", default_value = "4GiB")]
    #[arg(value_parser = bytes::<u64>(MIB, 1 << 50))]
    pub text_cache_dir_bytes: u64,
    /// Memory for whole vocabularies on the device; 0 turns the cache off.
    #[arg(long, help_heading = SETTINGS, value_name = "BYTES", default_value = "512MiB")]
    #[arg(value_parser = bytes::<usize>(0, i64::MAX as u64))]
    pub vocabulary_cache_bytes: usize,
    /// Memory for image features; 0 turns the cache, and ids of images, off.
    #[arg(long, help_heading = SETTINGS, value_name = "BYTES", default_value = "512MiB")]
    #[arg(value_parser = bytes::<usize>(0, i64::MAX as u64))]
    pub image_cache_bytes: usize,
    /// A built-in vocabulary whose words are embedded before the server is ready; may be given several times.
    #[arg(long, help_heading = SETTINGS, value_name = "NAME")]
    pub preload_vocabulary: Vec<String>,
    /// A built-in vocabulary whose words are prepared in the background once the server is ready; may be
    /// given several times.
    #[arg(long, help_heading = SETTINGS, value_name = "NAME")]
    pub prepare_vocabulary: Vec<String>,
    /// Time between two tries of a lost device.
    #[arg(long, help_heading = SETTINGS, value_name = "SECONDS", default_value = "5")]
    #[arg(value_parser = seconds(0.01))]
    pub device_probe_seconds: f64,
    /// A lost GPU is given up after so many failed tries in a row, and the server ends with exit code 75 when
    /// no device is left; 0 is never.
    #[arg(long, help_heading = SETTINGS, value_name = "N", default_value = "3")]
    #[arg(value_parser = within::<u32>(0, 1_000_000))]
    pub device_lost_probes: u32,
    /// Waiting this long lifts a request by one step of priority.
    #[arg(long, help_heading = SETTINGS, value_name = "SECONDS", default_value = "5")]
    #[arg(value_parser = seconds(0.01))]
    pub priority_ageing_seconds: f64,
    /// The longest that a request may take.
    #[arg(long, help_heading = LIMITS, value_name = "SECONDS", default_value = "60")]
    #[arg(value_parser = seconds(0.001))]
    pub max_timeout_seconds: f64,
    /// Requests that are worked on at the same time; a call beyond waits half a second for a place.
    #[arg(long, help_heading = LIMITS, value_name = "N", default_value = "64")]
    #[arg(value_parser = within::<usize>(1, 100_000))]
    pub max_concurrent_requests: usize,
    /// Requests that may wait for the device [default: as many as are worked on]
    #[arg(long, help_heading = LIMITS, value_name = "N", value_parser = within::<usize>(1, 100_000))]
    pub queue_capacity: Option<usize>,
    /// (Image, category) pairs of all requests that may wait for the device.
    #[arg(long, help_heading = LIMITS, value_name = "N", default_value = "65536")]
    #[arg(value_parser = within::<usize>(1, 1 << 30))]
    pub queue_pairs: usize,
    /// Requests of one stream, at most --max-concurrent-requests, that are worked on at the same time.
    #[arg(long, help_heading = LIMITS, value_name = "N", default_value = "16")]
    #[arg(value_parser = within::<usize>(1, 10_000))]
    pub max_stream_requests: usize,
    /// Vocabularies that may be registered at the same time.
    #[arg(long, help_heading = LIMITS, value_name = "N", default_value = "1000")]
    #[arg(value_parser = within::<usize>(0, 1_000_000))]
    pub max_registered_vocabularies: usize,
    /// Names and synonyms that may be prepared in the background at the same time; one caller may have half
    /// of them, and 0 prepares none.
    #[arg(long, help_heading = LIMITS, value_name = "N", default_value = "8192")]
    #[arg(value_parser = within::<usize>(0, 1_000_000))]
    pub max_preparing_phrases: usize,
    /// Memory of all that connections and requests cause, a number of bytes of at least 67108864 (64 MiB); 0
    /// is a third of the machine's or container's.
    #[arg(long, help_heading = LIMITS, value_name = "BYTES", default_value = "0")]
    #[arg(value_parser = request_memory)]
    pub max_request_memory_bytes: u64,
    /// Size of one request message.
    #[arg(long, help_heading = LIMITS, value_name = "BYTES", default_value = "32MiB")]
    #[arg(value_parser = bytes::<usize>(KIB, GIB))]
    pub max_message_bytes: usize,
    /// Size of one answer.
    #[arg(long, help_heading = LIMITS, value_name = "BYTES", default_value = "128MiB")]
    #[arg(value_parser = bytes::<usize>(KIB, GIB))]
    pub max_response_bytes: usize,
    /// Size of an encoded image [default: that of a message, at most 32 MiB]
    #[arg(long, help_heading = LIMITS, value_name = "BYTES", value_parser = bytes::<u64>(1, GIB))]
    pub max_image_bytes: Option<u64>,
    /// Pixels of an image.
    #[arg(long, help_heading = LIMITS, value_name = "N", default_value = "64000000")]
    #[arg(value_parser = within::<u64>(1, 1 << 30))]
    pub max_image_pixels: u64,
    /// Width and height of an image.
    #[arg(long, help_heading = LIMITS, value_name = "PIXELS", default_value = "16384")]
    #[arg(value_parser = within::<u32>(1, 1 << 20))]
    pub max_image_side: u32,
    /// Memory that decoding one image may take.
    #[arg(long, help_heading = LIMITS, value_name = "BYTES", default_value = "768MiB")]
    #[arg(value_parser = bytes::<u64>(KIB, 1 << 40))]
    pub max_decode_bytes: u64,
    /// Pixels of the masks.
    #[arg(long, help_heading = LIMITS, value_name = "N", default_value = "64000000")]
    #[arg(value_parser = within::<u64>(1, 1 << 30))]
    pub max_output_pixels: u64,
    /// Width and height of the masks.
    #[arg(long, help_heading = LIMITS, value_name = "PIXELS", default_value = "16384")]
    #[arg(value_parser = within::<u32>(1, 1 << 20))]
    pub max_output_side: u32,
    /// Points of all polygons of a mask together.
    #[arg(long, help_heading = LIMITS, value_name = "N", default_value = "1000000")]
    #[arg(value_parser = within::<usize>(4, 100_000_000))]
    pub max_polygon_points: usize,
    /// Categories of a vocabulary.
    #[arg(long, help_heading = LIMITS, value_name = "N", default_value = "1024")]
    #[arg(value_parser = within::<usize>(1, 65_535))]
    pub max_categories: usize,
    /// Synonyms of a category.
    #[arg(long, help_heading = LIMITS, value_name = "N", default_value = "16")]
    #[arg(value_parser = within::<usize>(0, 1000))]
    pub max_synonyms: usize,
    /// Names and synonyms of a vocabulary together.
    #[arg(long, help_heading = LIMITS, value_name = "N", default_value = "2048")]
    #[arg(value_parser = within::<usize>(1, 1_000_000))]
    pub max_phrases: usize,
    /// UTF-8 bytes of a name or synonym.
    #[arg(long, help_heading = LIMITS, value_name = "BYTES", default_value = "256")]
    #[arg(value_parser = bytes::<usize>(1, 10_000))]
    pub max_phrase_bytes: usize,
    /// The largest top_k.
    #[arg(long, help_heading = LIMITS, value_name = "N", default_value = "1024")]
    #[arg(value_parser = within::<u32>(1, 65_535))]
    pub max_top_k: u32,
    /// Size of a request id.
    #[arg(long, help_heading = LIMITS, value_name = "BYTES", default_value = "128")]
    #[arg(value_parser = bytes::<usize>(1, 4096))]
    pub max_request_id_bytes: usize,
    /// The server's certificate chain in PEM; with --tls-key it turns TLS on [default: none]
    #[arg(long, help_heading = ACCESS, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub tls_certificate: String,
    /// The private key of that certificate in PEM [default: none]
    #[arg(long, help_heading = ACCESS, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub tls_key: String,
    /// Authorities in PEM; clients then need a certificate of one of them (mutual TLS) [default: none]
    #[arg(long, help_heading = ACCESS, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub tls_client_ca: String,
    /// Time between two checks of these files and the tokens; SIGHUP checks at once.
    #[arg(long, help_heading = ACCESS, value_name = "SECONDS", default_value = "10")]
    #[arg(value_parser = seconds(0.01))]
    pub tls_reload_seconds: f64,
    /// Bearer tokens, lines of `name = "secret"`; every call then needs one of them [default: none]
    #[arg(long, help_heading = ACCESS, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub tokens: String,
    /// Require a token for calls of grpc.health.v1, too.
    #[arg(long, help_heading = ACCESS, value_name = "true|false", default_value = "false")]
    #[arg(value_parser = switch, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub health_needs_token: bool,
    /// Connections at the same time; more wait until one ends; no more than an eighth of
    /// --max-request-memory-bytes holds at 128 KiB each [default: 4096, or as many as fit]
    #[arg(long, help_heading = TRANSPORT, value_name = "N", value_parser = within::<usize>(1, 100_000))]
    pub max_connections: Option<usize>,
    /// After this time, give or take a tenth, a connection takes no more calls; 0 is never.
    #[arg(long, help_heading = TRANSPORT, value_name = "SECONDS", default_value = "1800")]
    #[arg(value_parser = seconds(0.0))]
    pub max_connection_age_seconds: f64,
    /// The calls that a connection beyond its age still carries may take this long.
    #[arg(long, help_heading = TRANSPORT, value_name = "SECONDS", default_value = "60")]
    #[arg(value_parser = seconds(0.0))]
    pub max_connection_age_grace_seconds: f64,
    /// Compression of requests, and of answers to clients that accept it: gzip, zstd, or off; may be given
    /// several times.
    #[arg(long, help_heading = TRANSPORT, value_name = "NAME", default_values = ["gzip", "zstd"])]
    pub compression: Vec<String>,
    /// Answer gRPC-Web, which browsers speak, and HTTP/1.1 for it.
    #[arg(long, help_heading = TRANSPORT, value_name = "true|false", default_value = "false")]
    #[arg(value_parser = switch, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub grpc_web: bool,
    /// An origin whose pages may use gRPC-Web, such as https://example.org, or *; may be given several times
    /// [default: none]
    #[arg(long, help_heading = TRANSPORT, value_name = "ORIGIN")]
    pub grpc_web_origins: Vec<String>,
    /// Serve the playground, a page for the browser, at this address, with the gRPC-Web that it calls by.
    #[arg(long, help_heading = TRANSPORT, value_name = "true|false", default_value = "false")]
    #[arg(value_parser = switch, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub playground: bool,
    /// HTTP/2 flow control window of a stream.
    #[arg(long, help_heading = TRANSPORT, value_name = "BYTES", default_value = "4MiB")]
    #[arg(value_parser = window)]
    pub http2_stream_window_bytes: u32,
    /// HTTP/2 flow control window of a connection.
    #[arg(long, help_heading = TRANSPORT, value_name = "BYTES", default_value = "16MiB")]
    #[arg(value_parser = window)]
    pub http2_connection_window_bytes: u32,
    /// Streams of one connection at the same time.
    #[arg(long, help_heading = TRANSPORT, value_name = "N", default_value = "256")]
    #[arg(value_parser = within::<u32>(1, 100_000))]
    pub http2_max_streams: u32,
    /// Size of a request's headers.
    #[arg(long, help_heading = TRANSPORT, value_name = "BYTES", default_value = "16KiB")]
    #[arg(value_parser = bytes::<u32>(KIB, MIB))]
    pub http2_max_header_bytes: u32,
    /// A silent connection is pinged this often.
    #[arg(long, help_heading = TRANSPORT, value_name = "SECONDS", default_value = "30")]
    #[arg(value_parser = seconds(1.0))]
    pub keepalive_interval_seconds: f64,
    /// A ping without answer for this long closes the connection.
    #[arg(long, help_heading = TRANSPORT, value_name = "SECONDS", default_value = "10")]
    #[arg(value_parser = seconds(1.0))]
    pub keepalive_timeout_seconds: f64,
    /// On shutdown, go on serving for this long after readiness is off.
    #[arg(long, help_heading = TRANSPORT, value_name = "SECONDS", default_value = "0")]
    #[arg(value_parser = seconds(0.0))]
    pub shutdown_delay_seconds: f64,
    /// After --shutdown-delay-seconds, wait this long for running requests.
    #[arg(long, help_heading = TRANSPORT, value_name = "SECONDS", default_value = "30")]
    #[arg(value_parser = seconds(0.0))]
    pub shutdown_grace_seconds: f64,
}
