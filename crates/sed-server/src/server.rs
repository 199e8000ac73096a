//! The socket, the services behind it, and their beginning and end.

use std::{
    future::{Future, pending},
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use sed_engine::{Engine, VocabularyBook, metrics::MODEL_INFO};
use sed_proto::{
    inference::grpc_inference_service_server::GrpcInferenceServiceServer,
    v1::segmentation_service_server::SegmentationServiceServer,
};
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::transport::server::Router;
use tower::layer::util::{Identity, Stack};

use crate::{
    calls::Calls,
    config::{ServerConfig, Transport},
    cpu_pool::CpuPool,
    front_door::FrontDoor,
    health::Health,
    incoming,
    inference::InferenceService,
    ops::{Metrics, Ops, Sources},
    places::Places,
    service::{Context, SegmentationService},
    vocabulary_registry::VocabularyRegistry,
};

/// What a stage that runs at the end of the grace period may still take.
const LAST_STAGE: Duration = Duration::from_secs(1);

/// Why the server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; free it, or choose another with the setting {setting}")]
    Bind {
        /// The setting that has the address.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No threads for work on pixels.
    #[error("cannot start the threads for work on pixels: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// The descriptors of the interface are damaged.
    #[error("cannot set up reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("the transport failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// How the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// Every request that had begun was answered.
    Complete,
    /// The grace period ended before that.
    Cut,
}

/// A server that has its socket and does not serve yet.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    engine: Engine,
    vocabularies: VocabularyBook,
    pool: CpuPool,
    listener: TcpListener,
    address: SocketAddr,
    ops: Option<Ops>,
    metrics: Option<Metrics>,
}

impl Server {
    /// Opens the sockets. Connections wait until [`Server::serve`].
    ///
    /// # Errors
    /// An address cannot be listened on, or there are no threads.
    pub async fn bind(
        config: ServerConfig,
        engine: Engine,
        vocabularies: VocabularyBook,
    ) -> Result<Self, ServeError> {
        let pool = CpuPool::new(config.cpu_threads)?;
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
        Ok(Self { config, engine, vocabularies, pool, listener, address, ops, metrics: None })
    }

    /// Gives the operations port the metrics to show.
    #[must_use]
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// Where it listens; the port is the true one where the configuration had 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where the operations port is, if it is on.
    pub fn ops_addr(&self) -> Option<SocketAddr> {
        self.ops.as_ref().map(Ops::local_addr)
    }

    /// Serves until `shutdown` ends. Then: readiness off, the delay, no new connections, running requests for
    /// as long as the grace allows, and the engine's end.
    ///
    /// # Errors
    /// The services cannot be set up, or the transport fails.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<Drain, ServeError> {
        let Self { config, engine, vocabularies, pool, listener, address, ops, metrics } = self;
        let model = engine.model();
        MODEL_INFO.set([&model.name, &model.digest, &model.dtype, &model.device]);
        let (stopping, stop_seen) = watch::channel(false);
        let mut operations = JoinSet::new(); // ends with this function
        if let Some(ops) = ops {
            operations.spawn(ops.serve(Sources {
                engine: engine.state(),
                stopping: stop_seen.clone(),
                metrics,
            }));
        }
        let (reporter, health_service) = tonic_health::server::health_reporter();
        let mut health = Health::new(reporter).await;
        let (close, closing) = watch::channel(false);
        let context = Context {
            engine: engine.clone(),
            vocabularies: VocabularyRegistry::new(vocabularies, &config.limits),
            limits: config.limits.clone(),
            default_top_k: config.default_top_k,
            pool,
            places: Places::new(config.limits.concurrent_requests),
            stopping: stop_seen,
            closing,
            started: Instant::now(),
        };
        let router = router(&config, context)?.add_service(health_service);
        let (stop, stopped) = oneshot::channel::<()>();
        let incoming = incoming::limited(listener, config.transport.max_connections);
        let serving = router.serve_with_incoming_shutdown(incoming, async {
            // The sender is only dropped after it was used.
            let _ = stopped.await;
        });
        tokio::pin!(serving);
        tracing::info!(%address, "listening");

        let following = async {
            health.follow(engine.state()).await;
            pending::<()>().await;
        };
        tokio::select! {
            ended = &mut serving => return Ok(ended.map(|()| Drain::Complete)?),
            () = following => {}
            () = shutdown => {}
        }

        tracing::info!("shutting down");
        stopping.send_replace(true);
        health.set_ready(false).await;
        tokio::select! {
            ended = &mut serving => return Ok(ended.map(|()| Drain::Complete)?),
            () = sleep(config.shutdown.delay) => {}
        }
        let _ = stop.send(());
        close.send_replace(true);
        health.end_watches().await;
        let drain = match timeout(config.shutdown.grace, &mut serving).await {
            Ok(ended) => {
                ended?;
                Drain::Complete
            }
            Err(_) => Drain::Cut,
        };
        let stopped = timeout(LAST_STAGE, engine.shutdown()).await;
        tracing::info!(?drain, engine_stopped = stopped.is_ok(), "stopped");
        Ok(drain)
    }
}

/// What every call goes through before its service, the last first.
type Layers = Stack<FrontDoor, Stack<Calls, Identity>>;

/// The services that belong to the interface, behind the front door.
fn router(config: &ServerConfig, context: Context) -> Result<Router<Layers>, ServeError> {
    let limits = &config.limits;
    let front_door = FrontDoor::new(limits, context.places.clone());
    let context = Arc::new(context);
    // The services themselves refuse answers above their own limit.
    let segmentation = SegmentationServiceServer::new(SegmentationService::new(Arc::clone(&context)))
        .max_decoding_message_size(limits.message_bytes)
        .max_encoding_message_size(usize::MAX);
    let inference = GrpcInferenceServiceServer::new(InferenceService::new(context))
        .max_decoding_message_size(limits.message_bytes)
        .max_encoding_message_size(usize::MAX);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(sed_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(transport(&config.transport)
        .layer(Calls)
        .layer(front_door)
        .add_service(segmentation)
        .add_service(inference)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?))
}

fn transport(transport: &Transport) -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .initial_stream_window_size(transport.stream_window)
        .initial_connection_window_size(transport.connection_window)
        .max_concurrent_streams(transport.max_streams)
        .http2_max_header_list_size(transport.max_header_bytes)
        .http2_keepalive_interval(Some(transport.keepalive_interval))
        .http2_keepalive_timeout(Some(transport.keepalive_timeout))
}
