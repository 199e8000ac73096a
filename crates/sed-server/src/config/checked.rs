//! The checked configuration, with which the server works.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use sed_engine::{Category, EngineConfig, builtin_vocabularies};
use sed_proto::v1;

use super::{
    ConfigError, Settings, Written,
    transport::{self, Access, Transport},
    values::{Expected, file},
};
use crate::memory::Split;

/// A configuration whose every value is in its range and fits the others.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// The settings, with every default filled in.
    pub settings: Arc<Settings>,
    /// The limits of `GetServerInfo` that have the name of a setting; the others are 0.
    pub published_limits: v1::Limits,
    /// Address of the gRPC port.
    pub listen: SocketAddr,
    /// Address of the operations port, for liveness, readiness and metrics; `None` turns it off.
    pub ops_listen: Option<SocketAddr>,
    /// For [`sed_engine::Engine::start`].
    pub engine: EngineConfig,
    /// Built-in vocabularies that are prepared in the background, by name.
    pub prepared: Vec<(String, Vec<Category>)>,
    /// Bounds and protocols of connections.
    pub transport: Transport,
    /// TLS and bearer tokens.
    pub access: Access,
}

impl ServerConfig {
    /// Memory that the requests of one connection may hold at the same time, in bytes.
    pub fn connection_memory_bytes(&self) -> u64 {
        let split = Split::of(self.settings.max_request_memory_bytes, self.settings.max_connections());
        Split::connection_share(split.calls)
    }

    /// Checks all values.
    ///
    /// # Errors
    /// The first value that is out of its range or does not fit another.
    pub fn check(settings: &Settings) -> Result<Self, ConfigError> {
        Self::read(&Written::try_from(settings)?)
    }

    /// Fills in defaults for absent settings, and checks all values.
    ///
    /// # Errors
    /// The first value that is out of its range or does not fit another.
    pub fn read(written: &Written) -> Result<Self, ConfigError> {
        let settings = written.parse()?.effective();
        let ops_example = "127.0.0.1:9464, or the word off";
        no_more(
            ("default_top_k", settings.default_top_k().into()),
            ("max_top_k", settings.max_top_k.into()),
        )?;
        no_more(
            ("max_image_bytes", settings.max_image_bytes()),
            ("max_message_bytes", settings.max_message_bytes as u64),
        )?;
        let (connections, most) = (settings.max_connections(), settings.most_connections());
        if connections > most {
            return Err(ConfigError::Value {
                key: "max_connections".to_owned(),
                found: connections.to_string(),
                expected: Expected::between(1, most).to_string(),
            });
        }
        Ok(Self {
            listen: address("listen", &settings.listen, "127.0.0.1:50051")?,
            ops_listen: match settings.ops_listen.as_str() {
                "off" => None,
                given => Some(address("ops_listen", given, ops_example)?),
            },
            engine: engine(&settings)?,
            prepared: built_in("prepare_vocabulary", &settings.prepare_vocabulary)?,
            transport: transport::transport(&settings)?,
            access: transport::access(&settings)?,
            published_limits: settings.published_limits()?,
            settings: Arc::new(settings),
        })
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        // A test shows that the defaults pass their own check; it could only fail here if they did not.
        #[allow(clippy::expect_used)]
        Self::read(&Written::default()).expect("the defaults are in range")
    }
}

fn engine(settings: &Settings) -> Result<EngineConfig, ConfigError> {
    // 0 leaves the size to the engine.
    let batch = |size| (size > 0).then_some(size);
    Ok(EngineConfig {
        queue_capacity: settings.queue_capacity(),
        queue_pairs: settings.queue_pairs,
        ageing: Duration::from_secs_f64(settings.priority_ageing_seconds),
        batch_images: batch(settings.batch_images),
        batch_pairs: batch(settings.batch_pairs),
        batch_delay: Duration::from_secs_f64(settings.batch_delay_ms / 1e3),
        text_cache_bytes: settings.text_cache_bytes,
        vocabulary_cache_bytes: settings.vocabulary_cache_bytes,
        image_cache_bytes: settings.image_cache_bytes,
        text_cache_dir: file(&settings.text_cache_dir),
        text_cache_dir_bytes: settings.text_cache_dir_bytes,
        preload: built_in("preload_vocabulary", &settings.preload_vocabulary)?
            .into_iter()
            .map(|(_, categories)| categories)
            .collect(),
        preparing_phrases: settings.max_preparing_phrases,
        probe_interval: Duration::from_secs_f64(settings.device_probe_seconds),
        lost_probes: settings.device_lost_probes,
        ..EngineConfig::default()
    })
}

/// The built-in vocabularies that a setting names, with their categories.
fn built_in(key: &'static str, names: &[String]) -> Result<Vec<(String, Vec<Category>)>, ConfigError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let book = builtin_vocabularies();
    let find = |name: &String| {
        let found = book.get(name).map(|categories| (name.clone(), categories.to_vec()));
        found.ok_or_else(|| {
            let known: Vec<&str> = book.iter().map(|(name, _)| name).collect();
            ConfigError::UnknownVocabulary { key, name: name.clone(), known: known.join(", ") }
        })
    };
    names.iter().map(find).collect()
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
