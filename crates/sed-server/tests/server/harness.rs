//! A server on a free port with its client and the control of its fake model.

use std::{net::SocketAddr, time::Duration};

use sed_engine::{
    Category, Engine, VocabularyBook,
    fake::{FakeControl, FakeStages},
    metrics::EngineMetrics,
};
use sed_proto::v1::{self, segmentation_service_client::SegmentationServiceClient};
use sed_server::{ServeError, Server, ServerConfig, Settings, metrics::ServerMetrics};
use sed_telemetry::Telemetry;
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

use crate::images;

pub(crate) type Client = SegmentationServiceClient<Channel>;

/// The metrics of one server.
pub(crate) fn telemetry() -> Telemetry {
    Telemetry::new(&[&EngineMetrics::DEFINITIONS, &ServerMetrics::DEFINITIONS]).unwrap()
}

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) ops: SocketAddr,
    pub(crate) channel: Channel,
    pub(crate) control: FakeControl,
    pub(crate) engine: Engine,
    pub(crate) telemetry: Telemetry,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<sed_server::Drain, ServeError>>,
}

impl Running {
    /// A server that is ready.
    pub(crate) async fn start(raw: Settings) -> Self {
        let running = Self::launch(raw, |_| {}).await;
        running.engine.ready().await.unwrap();
        running
    }

    /// A server whose warm-up the test has prepared.
    pub(crate) async fn launch(raw: Settings, prepare: impl FnOnce(&FakeControl)) -> Self {
        Self::launch_checked(ServerConfig::check(&raw).unwrap(), prepare).await
    }

    /// A server whose configuration the test has changed after its check.
    pub(crate) async fn launch_checked(mut config: ServerConfig, prepare: impl FnOnce(&FakeControl)) -> Self {
        config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.ops_listen = Some(config.listen);
        let (stages, control) = FakeStages::new();
        prepare(&control);
        let telemetry = telemetry();
        let engine = Engine::start(stages, &config.engine, &telemetry).unwrap();
        let pets = ["dog", "cat", "bird"].map(Category::new).to_vec();
        let many = (0..300).map(|index| Category::new(format!("thing {index}"))).collect();
        let named = [("pets", pets), ("many", many)].map(|(name, categories)| (name.to_string(), categories));
        let book: VocabularyBook = named.into_iter().collect();

        let server = Server::bind(config, engine.clone(), book, telemetry.clone()).await.unwrap();
        let (address, ops) = (server.local_addr(), server.ops_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.serve(async { stopped.await.unwrap() }));
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { address, ops, channel, control, engine, telemetry, stop: Some(stop), serving }
    }

    pub(crate) async fn segment_when_ready(&self) {
        self.engine.ready().await.unwrap();
        self.segment(request(2)).await.unwrap();
    }

    /// Closes the connection; the client is useless from then on.
    pub(crate) fn disconnect(&mut self) {
        self.channel = Channel::from_static("http://127.0.0.1:1").connect_lazy();
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    pub(crate) async fn segment(&self, request: v1::SegmentRequest) -> Result<v1::SegmentResponse, Status> {
        self.client().segment(request).await.map(tonic::Response::into_inner)
    }

    /// Sends a request that is on the device when this returns, and stays there until it is released.
    pub(crate) async fn occupy(&self) -> JoinHandle<Result<v1::SegmentResponse, Status>> {
        self.control.inject(sed_engine::Stage::Encode, sed_engine::fake::Fault::Hold);
        let mut client = self.client();
        let running =
            tokio::spawn(async move { client.segment(request(4)).await.map(tonic::Response::into_inner) });
        let control = self.control.clone();
        assert!(tokio::task::spawn_blocking(move || control.wait_until_held()).await.unwrap());
        running
    }

    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub(crate) async fn ended(self) -> sed_server::Drain {
        drop(self.channel);
        let _stop = self.stop; // a server that ends by itself is not told to
        tokio::time::timeout(Duration::from_secs(10), self.serving).await.unwrap().unwrap().unwrap()
    }
}

/// A good request for a picture of 40 x 24 and so many categories.
pub(crate) fn request(categories: usize) -> v1::SegmentRequest {
    request_for(images::png(40, 24), categories)
}

pub(crate) fn request_for(image: Vec<u8>, categories: usize) -> v1::SegmentRequest {
    let categories = (0..categories)
        .map(|index| v1::Category { name: format!("thing {index}"), synonyms: Vec::new() })
        .collect();
    v1::SegmentRequest {
        image: Some(v1::Image { source: Some(v1::image::Source::Encoded(image.into())) }),
        vocabulary: Some(inline(categories)),
        options: None,
        request_id: String::new(),
    }
}

pub(crate) fn with_options(categories: usize, options: v1::SegmentOptions) -> v1::SegmentRequest {
    v1::SegmentRequest { options: Some(options), ..request(categories) }
}

pub(crate) fn inline(categories: Vec<v1::Category>) -> v1::Vocabulary {
    v1::Vocabulary {
        source: Some(v1::vocabulary::Source::Categories(v1::CategoryList { categories })),
        ..Default::default()
    }
}

pub(crate) fn named(name: &str) -> v1::Vocabulary {
    v1::Vocabulary { source: Some(v1::vocabulary::Source::Name(name.into())), ..Default::default() }
}

/// Code, reason and field of an error, for comparisons.
pub(crate) fn facts(status: &Status) -> (Code, String, String) {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, sed_server::ERROR_DOMAIN);
    let violation = details.bad_request().and_then(|request| request.field_violations.first());
    let field = violation.map(|violation| violation.field.clone()).unwrap_or_default();
    (status.code(), info.reason.clone(), field)
}

pub(crate) fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_error_details().retry_info().and_then(|info| info.retry_delay)
}

pub(crate) fn metadata(status: &Status, key: &str) -> Option<String> {
    status.get_error_details().error_info().and_then(|info| info.metadata.get(key).cloned())
}

/// The unit of the quota that a request exceeds.
pub(crate) fn quota(status: &Status) -> Option<String> {
    let details = status.get_error_details();
    let violation = details.quota_failure().and_then(|quota| quota.violations.first());
    violation.map(|violation| violation.subject.clone())
}

/// Waits for something that happens on another task.
pub(crate) async fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("what the test waits for did not happen within 5 seconds");
}
