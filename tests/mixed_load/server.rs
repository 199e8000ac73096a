//! The embedded model behind a real server on a free port of this machine.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use candle_core::Device;
use sed_engine::{Engine, SedStages, VocabularyBook, metrics::EngineMetrics};
use sed_proto::v1::segmentation_service_client::SegmentationServiceClient;
use sed_server::{Drain, ServeError, Server, ServerConfig, metrics::ServerMetrics};
use sed_telemetry::Telemetry;
use sed_tests::{
    faulty::{FaultSwitch, Faulty},
    tiny,
};
use tokio::{sync::oneshot, task::JoinHandle};

type Client = SegmentationServiceClient<
    hyper_util::client::legacy::Client<hyper_util::client::legacy::connect::HttpConnector, tonic::body::Body>,
>;

/// A client whose transport does not watch deadlines itself, so that the server's own answers are seen.
pub(crate) fn client(address: SocketAddr) -> Client {
    let executor = hyper_util::rt::TokioExecutor::new();
    let http = hyper_util::client::legacy::Client::builder(executor).http2_only(true).build_http();
    Client::with_origin(http, format!("http://{address}").parse().unwrap())
}

/// A server that is ready.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine,
    /// The faults of the model, off at the beginning, and its slowness.
    pub(crate) faults: FaultSwitch,
    telemetry: Telemetry,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<Drain, ServeError>>,
}

impl Running {
    /// A server whose model takes `each` longer for each phrase, from the warm-up on.
    pub(crate) async fn start(
        device: &Device,
        config: ServerConfig,
        vocabularies: VocabularyBook,
        each: Duration,
    ) -> Self {
        let telemetry = Telemetry::new(&[&EngineMetrics::DEFINITIONS, &ServerMetrics::DEFINITIONS]).unwrap();
        let (stages, faults) = Faulty::new(SedStages::new(tiny::model(device)), 11);
        faults.slow_words(each);
        let engine = Engine::start(stages, &config.engine, &telemetry).unwrap();
        engine.ready().await.unwrap();
        let server = Server::bind(config, engine.clone(), vocabularies, telemetry.clone()).await.unwrap();
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(server.serve(async { drop(stopped.await) }));
        Self { address, engine, faults, telemetry, stop, serving }
    }

    /// All metrics, by name and labels.
    pub(crate) fn samples(&self) -> HashMap<String, f64> {
        let text = self.telemetry.render().unwrap();
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        };
        lines.map(sample).collect()
    }

    /// Waits until a gauge is zero.
    pub(crate) async fn until_zero(&self, gauge: &str) {
        for _ in 0..1000 {
            if self.samples()[gauge] == 0.0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{gauge} never was zero");
    }

    /// Waits until the server has counted the end of every call.
    pub(crate) async fn until_quiet(&self) {
        self.until_zero("sed_requests_in_flight").await;
    }

    /// Stops the server, which answers everything that has begun.
    pub(crate) async fn end(self) {
        self.stop.send(()).unwrap();
        assert_eq!(self.serving.await.unwrap().unwrap(), Drain::Complete);
    }
}
