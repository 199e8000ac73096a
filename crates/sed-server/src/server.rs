//! The socket, the services behind it, and their beginning and end.

use std::{
    collections::BTreeMap,
    future::{Future, pending},
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use sed_engine::{
    Category, Engine, EngineState, ReadPhrases, Vocabulary, VocabularyBook, metrics::EngineMetrics,
};
use sed_proto::{
    inference::grpc_inference_service_server::GrpcInferenceServiceServer,
    v1::segmentation_service_server::SegmentationServiceServer,
};
use sed_telemetry::Telemetry;
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::{codec::CompressionEncoding, service::Routes};
use tower::Layer;

use crate::{
    access::{AccessError, AccessFiles, Guard},
    calls::Calls,
    config::{Compression, ServerConfig},
    connections::Connections,
    cpu_pool::CpuPool,
    health::Health,
    inference::InferenceService,
    intake::{Intake, Methods},
    memory::{Account, Split, Transfers, Windows},
    metrics::ServerMetrics,
    ops::{Ops, Sources},
    places::Places,
    service::{Context, SegmentationService},
    vocabulary_registry::VocabularyRegistry,
    web::{AnyService, open_to_browsers},
};

/// Uploads that may run at the same time for each request that may be worked on: a request takes its place
/// only when it is complete, and slow lines keep no others waiting.
const UPLOADS_EACH: usize = 16;
/// After the device was given up every request has failed already: only their answers are still written.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// Time that a stage which runs at the end of the grace period still has.
const LAST_STAGE: Duration = Duration::from_secs(1);

/// An error that keeps the server from serving.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; free it, or choose another with the setting {setting}")]
    Bind {
        /// The setting that has the address.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// A vocabulary that comes with the program breaks a rule.
    #[error("the built-in vocabulary {name:?} cannot be used: {error}")]
    Vocabulary {
        /// Its name.
        name: String,
        /// The rule.
        error: sed_engine::VocabularyError,
    },
    /// No threads for work on pixels.
    #[error("cannot start the threads for work on pixels: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// Reflection cannot be set up, because the descriptors of the interface are damaged.
    #[error("cannot set up reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The descriptors of the interface cannot be read.
    #[error("cannot read the interface's descriptors: {0}")]
    Descriptors(#[from] prost::DecodeError),
    /// A certificate, a key or the tokens cannot be used.
    #[error(transparent)]
    Access(#[from] AccessError),
}

/// The way in which [`Server::serve`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// Every request that had begun was answered.
    Complete,
    /// The grace period ended before that.
    Cut,
    /// The engine gave up its last device: a new process is needed.
    DeviceLost,
}

/// A server that has its socket and does not serve yet.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    access: AccessFiles,
    engine: Engine,
    vocabularies: VocabularyBook,
    pool: CpuPool,
    listener: TcpListener,
    address: SocketAddr,
    ops: Option<Ops>,
    telemetry: Telemetry,
    metrics: Arc<ServerMetrics>,
}

impl Server {
    /// Reads certificates and tokens, and opens the sockets. Connections wait until [`Server::serve`]. The
    /// server records in `telemetry`, which the operations port shows.
    ///
    /// # Errors
    /// A file cannot be used, an address cannot be listened on, or there are no threads.
    pub async fn bind(
        config: ServerConfig,
        engine: Engine,
        vocabularies: VocabularyBook,
        telemetry: Telemetry,
    ) -> Result<Self, ServeError> {
        let metrics = ServerMetrics::new(&telemetry);
        let access = AccessFiles::load(&config.access, config.transport.web.is_some(), &metrics).await?;
        let pool = CpuPool::new(config.settings.cpu_threads, EngineMetrics::new(&telemetry))?;
        let failed = |source| ServeError::Bind { setting: "listen", address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let ops = match config.ops_listen {
            Some(address) => Some(Ops::bind(address).await.map_err(|source| ServeError::Bind {
                setting: "ops_listen",
                address,
                source,
            })?),
            None => None,
        };
        Ok(Self { config, access, engine, vocabularies, pool, listener, address, ops, telemetry, metrics })
    }

    /// Returns the address of the gRPC port, with the actual port if the configuration had 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address of the operations port, if it is on.
    pub fn ops_addr(&self) -> Option<SocketAddr> {
        self.ops.as_ref().map(Ops::local_addr)
    }

    /// Serves until `shutdown` resolves. Then: readiness off, the delay, no new connections, running requests
    /// for as long as the grace allows, and the engine's end. When the engine gives its last device up, the
    /// same happens without the delay and with a short grace.
    ///
    /// # Errors
    /// The services cannot be set up.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<Drain, ServeError> {
        let Self { config, access, engine, vocabularies, pool, listener, address, ops, telemetry, metrics } =
            self;
        warn_of_open_secrets(&config, address);
        let model = engine.model();
        metrics.build_info.set([env!("CARGO_PKG_VERSION")]);
        metrics.model_info.set([&model.name, &model.digest, &model.dtype, &model.device]);
        let (stopping, stop_seen) = watch::channel(false);
        let mut operations = JoinSet::new(); // ends with this function
        if let Some(ops) = ops {
            operations.spawn(ops.serve(Sources {
                engine: engine.state(),
                stopping: stop_seen.clone(),
                telemetry,
            }));
        }
        let (reporter, health_service) = tonic_health::server::health_reporter();
        let mut health = Health::new(reporter, Arc::clone(&metrics)).await;
        let (close, closing) = watch::channel(false);
        let client_names = config.access.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let settings = Arc::clone(&config.settings);
        let split = Split::of(settings.max_request_memory_bytes, settings.max_connections());
        let transfers = Transfers::new(
            UPLOADS_EACH * settings.max_concurrent_requests,
            config.transport.stall_timeout,
            Arc::clone(&metrics),
        );
        let context = Context {
            engine: engine.clone(),
            vocabularies: VocabularyRegistry::new(
                built_in(&vocabularies, &*engine.phrase_reader())?,
                settings.max_registered_vocabularies,
                Arc::clone(&metrics),
            ),
            settings: Arc::clone(&settings),
            transport: config.transport.clone(),
            pool,
            places: Places::new(settings.max_concurrent_requests, transfers.clone(), Arc::clone(&metrics)),
            account: Account::new(
                split.calls,
                config.access.tokens.is_some() || client_names,
                transfers.clone(),
                Arc::clone(&metrics),
            ),
            stopping: stop_seen,
            closing,
            started: Instant::now(),
            metrics: Arc::clone(&metrics),
        };
        let intake = Intake::new(
            context.account.clone(),
            context.places.clone(),
            context.pool.clone(),
            Methods::new(&settings, &config.transport.compression)?,
        );
        operations.spawn(transfers.watch());
        let routes = routes(&config, context)?.add_service(health_service).prepare();
        let guard = Guard::new(access.tokens.clone(), config.access.health_needs_token);
        let service: AnyService = open_to_browsers(
            config.transport.web.as_ref(),
            Calls::new(guard, Arc::clone(&metrics)).layer(intake.layer(routes)),
        );
        let windows = Windows::new(split.windows, settings.http2_connection_window_bytes);
        let connections = Connections::new(&config, access.tls.clone(), windows, metrics);
        operations.spawn(access.follow(config.access.reload_interval));
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = connections.serve(listener, service, async {
            // The sender is only dropped after it was used.
            let _ = stopped.await;
        });
        tokio::pin!(serving);
        tracing::info!(%address, "listening");

        let following = async {
            health.follow(engine.state()).await;
            pending::<()>().await;
        };
        let mut delay = Duration::from_secs_f64(settings.shutdown_delay_seconds);
        let mut grace = Duration::from_secs_f64(settings.shutdown_grace_seconds);
        let mut device_lost = false;
        tokio::select! {
            () = &mut serving => return Ok(Drain::Complete),
            () = following => {}
            reason = given_up(&engine) => {
                tracing::error!(
                    reason,
                    "the device is lost and cannot recover in this process; the server ends: start it again"
                );
                device_lost = true;
                delay = Duration::ZERO;
                grace = grace.min(LAST_ANSWERS);
            }
            () = shutdown => {}
        }

        tracing::info!("shutting down");
        stopping.send_replace(true);
        health.set_ready(false).await;
        tokio::select! {
            () = &mut serving => {
                return Ok(if device_lost { Drain::DeviceLost } else { Drain::Complete });
            }
            () = sleep(delay) => {}
        }
        let _ = stop.send(());
        close.send_replace(true);
        health.end_watches().await;
        let drain = match timeout(grace, &mut serving).await {
            _ if device_lost => Drain::DeviceLost,
            Ok(()) => Drain::Complete,
            Err(_) => Drain::Cut,
        };
        let stopped = timeout(LAST_STAGE, engine.shutdown()).await;
        tracing::info!(?drain, engine_stopped = stopped.is_ok(), "stopped");
        Ok(drain)
    }
}

/// Resolves with the reason when the engine has given its last device up.
async fn given_up(engine: &Engine) -> String {
    let mut states = engine.state();
    loop {
        if let EngineState::GivenUp { reason } = &*states.borrow_and_update() {
            return reason.clone();
        }
        if states.changed().await.is_err() {
            return pending().await;
        }
    }
}

/// Reads the vocabularies that come with the program.
fn built_in(
    book: &VocabularyBook,
    reader: &dyn ReadPhrases,
) -> Result<BTreeMap<String, Vocabulary>, ServeError> {
    let read = |(name, categories): (&str, &[Category])| {
        let broken = |error| ServeError::Vocabulary { name: name.to_owned(), error };
        let vocabulary = Vocabulary::built_in(categories.to_vec(), reader).map_err(broken)?;
        Ok((name.to_owned(), vocabulary))
    };
    book.iter().map(read).collect()
}

/// The services that belong to the interface.
fn routes(config: &ServerConfig, context: Context) -> Result<Routes, ServeError> {
    let limits = &config.settings;
    let context = Arc::new(context);
    // The decoding limit holds after decompression, too; the services themselves refuse answers above their
    // own limit.
    let mut segmentation = SegmentationServiceServer::new(SegmentationService::new(Arc::clone(&context)))
        .max_decoding_message_size(limits.max_message_bytes)
        .max_encoding_message_size(usize::MAX);
    let mut inference = GrpcInferenceServiceServer::new(InferenceService::new(context))
        .max_decoding_message_size(limits.max_message_bytes)
        .max_encoding_message_size(usize::MAX);
    for way in config.transport.compression.iter().copied().map(encoding) {
        segmentation = segmentation.accept_compressed(way).send_compressed(way);
        inference = inference.accept_compressed(way).send_compressed(way);
    }
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(sed_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(Routes::new(segmentation)
        .add_service(inference)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?))
}

/// Converts a compression to the transport's type.
fn encoding(way: Compression) -> CompressionEncoding {
    match way {
        Compression::Gzip => CompressionEncoding::Gzip,
        Compression::Zstd => CompressionEncoding::Zstd,
    }
}

/// Warns if tokens travel unencrypted over a network, where they can be read.
fn warn_of_open_secrets(config: &ServerConfig, address: SocketAddr) {
    if config.access.tokens.is_some() && config.access.tls.is_none() && !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "tokens are asked for, but connections are not encrypted, so tokens can be read on the network; \
             set tls_certificate and tls_key, or let a proxy encrypt"
        );
    }
}
