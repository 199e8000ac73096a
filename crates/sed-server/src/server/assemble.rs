//! The services, the layers before them, and the connections.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use sed_engine::{Category, ReadPhrases, Vocabulary, VocabularyBook};
use sed_proto::{
    inference::grpc_inference_service_server::GrpcInferenceServiceServer,
    v1::segmentation_service_server::SegmentationServiceServer,
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
};
use tonic::{codec::CompressionEncoding, service::Routes};
use tower::Layer;

use super::{ServeError, Server, prepared, running::Running};
use crate::{
    calls::Calls,
    config::Compression,
    connections::Connections,
    guard::Guard,
    health::Health,
    inference::InferenceService,
    intake::{Intake, MethodBounds},
    memory::{Account, Split, Transfers, Windows},
    ops::Sources,
    places::Places,
    service::{Context, SegmentationService, contrast::ContrastChoices},
    vocabulary_registry::VocabularyRegistry,
    web::{AnyService, open_to_browsers},
};

/// Uploads that may run at the same time for each request that may be worked on: a request takes its place
/// only when it is complete, and slow lines keep no others waiting.
const UPLOADS_EACH: usize = 16;

impl Server {
    /// Sets up the services, the layers before them and the connections, and starts the operations port.
    pub(super) async fn assemble(self) -> Result<Running, ServeError> {
        let model = self.engine.model();
        self.metrics.build_info.set([env!("CARGO_PKG_VERSION")]);
        self.metrics.model_info.set([&model.name, &model.digest, &model.dtype, &model.device]);
        let (stopping, stop_seen) = watch::channel(false);
        let (close, closing) = watch::channel(false);
        let (reporter, health_service) = tonic_health::server::health_reporter();
        let health = Health::new(reporter, Arc::clone(&self.metrics)).await;
        let settings = Arc::clone(&self.config.settings);
        let split = Split::of(settings.max_request_memory_bytes, settings.max_connections());
        let context = Arc::new(self.context(split.calls, stop_seen.clone(), closing)?);
        let routes = self.routes(&context)?.add_service(health_service).prepare();
        let service = self.layers(&context, routes)?;
        let reader = self.engine.phrase_reader();
        let prepared_words =
            self.config.prepared.iter().map(|(name, categories)| read_built_in(name, categories, &*reader));
        let prepared_words = prepared_words.collect::<Result<Vec<_>, _>>()?;

        let Self { config, access, engine, listener, address, ops, telemetry, metrics, .. } = self;
        let mut operations = JoinSet::new();
        if let Some(ops) = ops {
            operations.spawn(ops.serve(Sources { engine: engine.state(), stopping: stop_seen, telemetry }));
        }
        operations.spawn(context.account.transfers().clone().watch());
        operations.spawn(prepared::prepare(engine.clone(), prepared_words));
        let windows = Windows::new(split.windows, settings.http2_connection_window_bytes);
        let connections = Connections::new(&config, access.tls.clone(), windows, metrics);
        operations.spawn(access.follow(config.access.reload_interval));
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = connections.serve(listener, service, async {
            // The sender is only dropped after it was used.
            let _ = stopped.await;
        });
        tracing::info!(%address, "listening");
        let serving = Box::pin(serving);
        Ok(Running { serving, health, stop, stopping, close, settings, engine, _operations: operations })
    }

    /// The state that all calls share, with `memory` bytes for them.
    fn context(
        &self,
        memory: u64,
        stopping: watch::Receiver<bool>,
        closing: watch::Receiver<bool>,
    ) -> Result<Context, ServeError> {
        let Self { config, engine, metrics, .. } = self;
        let settings = &config.settings;
        let requests = settings.max_concurrent_requests;
        let stall_timeout = config.transport.stall_timeout;
        let transfers = Transfers::new(UPLOADS_EACH * requests, stall_timeout, Arc::clone(metrics));
        let client_names = config.access.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let callers_have_names = config.access.tokens.is_some() || client_names;
        let reader = engine.phrase_reader();
        let built_in = built_in(&self.vocabularies, &*reader)?;
        let contrast = ContrastChoices::new(&*reader)
            .map_err(|error| ServeError::Vocabulary { name: "contrast words".into(), error })?;
        Ok(Context {
            engine: engine.clone(),
            vocabularies: VocabularyRegistry::new(
                built_in,
                settings.max_registered_vocabularies,
                Arc::clone(metrics),
            ),
            contrast,
            settings: Arc::clone(settings),
            published_limits: config.published_limits,
            transport: config.transport.clone(),
            pool: self.pool.clone(),
            places: Places::new(requests, transfers.clone(), Arc::clone(metrics)),
            account: Account::new(memory, callers_have_names, transfers, Arc::clone(metrics)),
            stopping,
            closing,
            started: Instant::now(),
            replica: replica(),
            metrics: Arc::clone(metrics),
        })
    }

    /// The layers before the services, in the order in which a call passes them: browsers, the guard, the
    /// account of calls, the intake.
    fn layers(&self, context: &Context, routes: Routes) -> Result<AnyService, ServeError> {
        let Self { config, access, metrics, .. } = self;
        let methods = MethodBounds::new(&config.settings, &config.transport.compression)?;
        let (account, places) = (context.account.clone(), context.places.clone());
        let intake = Intake::new(account, places, context.pool.clone(), methods);
        let calls = Calls::new(Arc::clone(metrics));
        let guard = Guard::new(access.tokens.clone(), config.access.health_needs_token, calls.clone());
        let service = guard.layer(calls.layer(intake.layer(routes)));
        Ok(open_to_browsers(config.transport.web.as_ref(), service))
    }

    /// The services that belong to the interface.
    fn routes(&self, context: &Arc<Context>) -> Result<Routes, ServeError> {
        let (message_bytes, transport) = (self.config.settings.max_message_bytes, &self.config.transport);
        // The decoding limit holds after decompression, too; the services themselves refuse answers above
        // their own limit.
        let mut segmentation = SegmentationServiceServer::new(SegmentationService::new(Arc::clone(context)))
            .max_decoding_message_size(message_bytes)
            .max_encoding_message_size(usize::MAX);
        let mut inference = GrpcInferenceServiceServer::new(InferenceService::new(Arc::clone(context)))
            .max_decoding_message_size(message_bytes)
            .max_encoding_message_size(usize::MAX);
        for way in transport.compression.iter().copied().map(encoding) {
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
}

/// The name of the host, by which a replica is known; empty where the system says none.
fn replica() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME"));
    name.unwrap_or_default().trim().to_owned()
}

/// Reads the vocabularies that come with the program.
fn built_in(
    book: &VocabularyBook,
    reader: &dyn ReadPhrases,
) -> Result<BTreeMap<String, Vocabulary>, ServeError> {
    book.iter().map(|(name, categories)| read_built_in(name, categories, reader)).collect()
}

/// Reads one of them.
fn read_built_in(
    name: &str,
    categories: &[Category],
    reader: &dyn ReadPhrases,
) -> Result<(String, Vocabulary), ServeError> {
    let broken = |error| ServeError::Vocabulary { name: name.to_owned(), error };
    let vocabulary = Vocabulary::built_in(categories.to_vec(), reader).map_err(broken)?;
    Ok((name.to_owned(), vocabulary))
}

/// Converts a compression to the transport's type.
fn encoding(way: Compression) -> CompressionEncoding {
    match way {
        Compression::Gzip => CompressionEncoding::Gzip,
        Compression::Zstd => CompressionEncoding::Zstd,
    }
}
