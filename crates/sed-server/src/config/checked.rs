//! The checked configuration, with which the server works.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use sed_engine::{Category, EngineConfig, Memory, Rejection, VocabularyLimits, builtin_vocabularies};
use sed_image::DecodeLimits;

use super::{
    ConfigError, RawConfig,
    ranges::{cache, seconds, within},
    transport::{self, Access, Transport},
};
use crate::{limits::Limits, memory::Split};

/// Default of `listen`.
const LISTEN: &str = "127.0.0.1:50051";
/// The port that OpenTelemetry's specification proposes for Prometheus.
const OPS_LISTEN: &str = "127.0.0.1:9464";

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

/// A configuration whose every value is in its range and fits the others.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// Address of the gRPC port.
    pub listen: SocketAddr,
    /// Address of the operations port, for liveness, readiness and metrics; `None` turns it off.
    pub ops_listen: Option<SocketAddr>,
    /// Threads for work on pixels; 0 is one for each core.
    pub cpu_threads: usize,
    /// The rejection of requests that do not ask for one.
    pub default_rejection: Rejection,
    /// Limits of requests.
    pub limits: Limits,
    /// For [`sed_engine::Engine::start`].
    pub engine: EngineConfig,
    /// Names of the vocabularies that are embedded before the server is ready.
    pub preload_vocabulary: Vec<String>,
    /// Settings of connections.
    pub transport: Transport,
    /// TLS and bearer tokens.
    pub access: Access,
    /// Times of the shutdown.
    pub shutdown: Shutdown,
}

/// Times of a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// Time between the end of readiness and the end of new requests.
    pub delay: Duration,
    /// Time that running requests have after that.
    pub grace: Duration,
}

impl ServerConfig {
    /// Memory that the requests of one connection may hold at the same time, in bytes.
    pub fn connection_memory_bytes(&self) -> u64 {
        let split = Split::of(self.limits.request_memory_bytes, self.transport.max_connections);
        Split::connection_share(split.calls)
    }

    /// Fills in defaults for absent settings, and checks all values.
    ///
    /// # Errors
    /// The first value that is out of its range or does not fit another.
    pub fn check(raw: RawConfig) -> Result<Self, ConfigError> {
        let listen = address("listen", raw.listen.as_deref().unwrap_or(LISTEN), LISTEN)?;
        let ops_listen = match raw.ops_listen.as_deref() {
            Some("off") => None,
            given => {
                Some(address("ops_listen", given.unwrap_or(OPS_LISTEN), "127.0.0.1:9464, or the word off")?)
            }
        };
        let limits = limits(&raw)?;
        let default_top_k = within("default_top_k", raw.default_top_k, 8.min(limits.top_k), 0, u32::MAX)?;
        no_more(("default_top_k", u64::from(default_top_k)), ("max_top_k", u64::from(limits.top_k)))?;
        let preload_vocabulary = raw.preload_vocabulary.clone().unwrap_or_default();
        let engine = engine(&raw, &limits, &preload_vocabulary)?;
        Ok(Self {
            listen,
            ops_listen,
            cpu_threads: within("cpu_threads", raw.cpu_threads, 0, 0, 1024)?,
            default_rejection: Rejection::from_top_k(default_top_k),
            engine,
            preload_vocabulary,
            transport: transport::transport(&raw, limits.request_memory_bytes)?,
            limits,
            access: transport::access(&raw)?,
            shutdown: Shutdown {
                delay: seconds("shutdown_delay_seconds", raw.shutdown_delay_seconds, 0.0, 0.0)?,
                grace: seconds("shutdown_grace_seconds", raw.shutdown_grace_seconds, 30.0, 0.0)?,
            },
        })
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        // A test shows that the defaults pass their own check; it could only fail here if they did not.
        #[allow(clippy::expect_used)]
        Self::check(RawConfig::default()).expect("the defaults are in range")
    }
}

fn engine(raw: &RawConfig, limits: &Limits, preload: &[String]) -> Result<EngineConfig, ConfigError> {
    let usual = EngineConfig::default();
    let delay = within("batch_delay_ms", raw.batch_delay_ms, 0.0, 0.0, 10_000.0)?;
    // 0 leaves the size to the engine.
    let batch = |key, size, most| within(key, size, 0, 0, most).map(|size| (size > 0).then_some(size));
    let folder = raw.text_cache_dir.as_deref().filter(|folder| !folder.is_empty()).map(PathBuf::from);
    Ok(EngineConfig {
        queue_capacity: limits.queued_requests,
        queue_pairs: limits.queued_pairs,
        ageing: seconds("priority_ageing_seconds", raw.priority_ageing_seconds, 5.0, 0.01)?,
        batch_images: batch("batch_images", raw.batch_images, 4096)?,
        batch_pairs: batch("batch_pairs", raw.batch_pairs, 1 << 20)?,
        batch_delay: Duration::from_secs_f64(delay / 1e3),
        text_cache_bytes: limits.text_cache_bytes,
        vocabulary_cache_bytes: limits.vocabulary_cache_bytes,
        image_cache_bytes: limits.image_cache_bytes,
        text_cache_dir: folder,
        text_cache_dir_bytes: within(
            "text_cache_dir_bytes",
            raw.text_cache_dir_bytes,
            usual.text_cache_dir_bytes,
            MIB as u64,
            1 << 50,
        )?,
        preload: preloaded(preload)?,
        probe_interval: seconds("device_probe_seconds", raw.device_probe_seconds, 5.0, 0.01)?,
        lost_probes: within("device_lost_probes", raw.device_lost_probes, usual.lost_probes, 0, 1_000_000)?,
        ..usual
    })
}

/// The categories of the built-in vocabularies of these names.
fn preloaded(names: &[String]) -> Result<Vec<Vec<Category>>, ConfigError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let book = builtin_vocabularies();
    let find = |name: &String| {
        book.get(name).map(<[Category]>::to_vec).ok_or_else(|| {
            let known: Vec<&str> = book.iter().map(|(name, _)| name).collect();
            ConfigError::UnknownVocabulary { name: name.clone(), known: known.join(", ") }
        })
    };
    names.iter().map(find).collect()
}

/// Returns the bytes that connections and requests may take of the machine: the model, its batches and the
/// caches need the rest.
fn request_memory(raw: &RawConfig) -> Result<u64, ConfigError> {
    const LEAST: u64 = 64 << 20;
    let given = within("max_request_memory_bytes", raw.max_request_memory_bytes, 0, 0, 1 << 50)?;
    if given == 0 {
        let third = Memory::now().map_or(4 << 30, |memory| memory.total / 3);
        return Ok(third.clamp(2 * LEAST, 16 << 30));
    }
    within("max_request_memory_bytes", Some(given), given, LEAST, 1 << 50)
}

fn limits(raw: &RawConfig) -> Result<Limits, ConfigError> {
    let default = Limits::default();
    let (image, words) = (default.image, default.vocabulary);
    let message_bytes = within("max_message_bytes", raw.max_message_bytes, default.message_bytes, KIB, GIB)?;
    let image_bytes = image.max_encoded_bytes.min(message_bytes as u64);
    let concurrent_requests = within(
        "max_concurrent_requests",
        raw.max_concurrent_requests,
        default.concurrent_requests,
        1,
        100_000,
    )?;
    let limits = Limits {
        request_memory_bytes: request_memory(raw)?,
        message_bytes,
        response_bytes: within(
            "max_response_bytes",
            raw.max_response_bytes,
            default.response_bytes,
            KIB,
            GIB,
        )?,
        image: DecodeLimits {
            max_encoded_bytes: within("max_image_bytes", raw.max_image_bytes, image_bytes, 1, 1 << 30)?,
            max_pixels: within("max_image_pixels", raw.max_image_pixels, image.max_pixels, 1, 1 << 30)?,
            max_side: within("max_image_side", raw.max_image_side, image.max_side, 1, 1 << 20)?,
            max_alloc_bytes: within(
                "max_decode_bytes",
                raw.max_decode_bytes,
                image.max_alloc_bytes,
                1 << 10,
                1 << 40,
            )?,
        },
        output_pixels: within("max_output_pixels", raw.max_output_pixels, default.output_pixels, 1, 1 << 30)?,
        output_side: within("max_output_side", raw.max_output_side, default.output_side, 1, 1 << 20)?,
        vocabulary: VocabularyLimits {
            categories: within("max_categories", raw.max_categories, words.categories, 1, 65_535)?,
            synonyms: within("max_synonyms", raw.max_synonyms, words.synonyms, 0, 1000)?,
            phrases: within("max_phrases", raw.max_phrases, words.phrases, 1, 1_000_000)?,
            phrase_bytes: within("max_phrase_bytes", raw.max_phrase_bytes, words.phrase_bytes, 1, 10_000)?,
        },
        polygon_points: within(
            "max_polygon_points",
            raw.max_polygon_points,
            default.polygon_points,
            4,
            100_000_000,
        )?,
        top_k: within("max_top_k", raw.max_top_k, default.top_k, 1, 65_535)?,
        request_id_bytes: within(
            "max_request_id_bytes",
            raw.max_request_id_bytes,
            default.request_id_bytes,
            1,
            4096,
        )?,
        concurrent_requests,
        queued_requests: within("queue_capacity", raw.queue_capacity, concurrent_requests, 1, 100_000)?,
        queued_pairs: within("queue_pairs", raw.queue_pairs, default.queued_pairs, 1, 1 << 30)?,
        stream_requests: within(
            "max_stream_requests",
            raw.max_stream_requests,
            default.stream_requests,
            1,
            10_000,
        )?
        // More requests would be read only to be refused.
        .min(concurrent_requests),
        registered_vocabularies: within(
            "max_registered_vocabularies",
            raw.max_registered_vocabularies,
            default.registered_vocabularies,
            0,
            1_000_000,
        )?,
        registered_vocabulary_bytes: default.registered_vocabulary_bytes,
        text_cache_bytes: cache("text_cache_bytes", raw.text_cache_bytes, default.text_cache_bytes)?,
        vocabulary_cache_bytes: cache(
            "vocabulary_cache_bytes",
            raw.vocabulary_cache_bytes,
            default.vocabulary_cache_bytes,
        )?,
        image_cache_bytes: cache("image_cache_bytes", raw.image_cache_bytes, default.image_cache_bytes)?,
        timeout: seconds(
            "max_timeout_seconds",
            raw.max_timeout_seconds,
            default.timeout.as_secs_f64(),
            0.001,
        )?,
    };
    no_more(
        ("max_image_bytes", limits.image.max_encoded_bytes),
        ("max_message_bytes", limits.message_bytes as u64),
    )?;
    Ok(limits)
}

fn address(key: &'static str, text: &str, example: &'static str) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| ConfigError::Address { key, found: text.to_owned(), example })
}

fn no_more(value: (&'static str, u64), limit: (&'static str, u64)) -> Result<(), ConfigError> {
    if value.1 <= limit.1 {
        return Ok(());
    }
    Err(ConfigError::MoreThan { key: value.0, found: value.1, other: limit.0, limit: limit.1 })
}
