//! A server that runs inside this program.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, anyhow};
use sed_engine::{Engine, ModelInfo, SedStages, builtin_vocabularies};
use sed_model::products_off_plan;
use sed_server::{Drain, Server, ServerConfig, Settings};
use sed_telemetry::Telemetry;
use tokio::{runtime::Runtime, sync::oneshot, task::JoinHandle};

/// A server with its model, answering until it is stopped.
#[derive(Debug)]
pub(crate) struct RunningServer {
    address: SocketAddr,
    ops_address: Option<SocketAddr>,
    engine: Engine,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<Drain>>,
}

impl RunningServer {
    /// Opens the sockets and starts to answer, recording in `telemetry`. Requests are refused until the model is warm; see [`RunningServer::ready`].
    pub(crate) async fn start(
        config: ServerConfig,
        stages: Vec<SedStages>,
        telemetry: Telemetry,
    ) -> Result<Self> {
        let engine = Engine::start_all(stages, &config.engine, &telemetry)?;
        let server = Server::bind(config, engine.clone(), builtin_vocabularies(), telemetry).await?;
        let (address, ops_address) = (server.local_addr(), server.ops_addr());
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            // A dropped sender stops the server, too.
            let asked = async { drop(stopped.await) };
            Ok(server.serve(asked).await?)
        });
        Ok(Self { address, ops_address, engine, stop, serving })
    }

    /// Waits until the model is warm.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        tokio::select! {
            ready = self.engine.ready() => {
                ready?;
                for product in products_off_plan() {
                    let effect = "answers may differ in their last bits with what shares a batch";
                    tracing::warn!(product, effect, "cuBLASLt refused the algorithm of a weight");
                }
                Ok(())
            }
            ended = &mut self.serving => Err(match flatten(ended) {
                Err(error) => error,
                Ok(_) => anyhow!("the server ended before its model was warm"),
            }),
        }
    }

    /// The address that the server listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the operations port, if there is one.
    pub(crate) fn ops_address(&self) -> Option<SocketAddr> {
        self.ops_address
    }

    /// The server's URL on this machine.
    pub(crate) fn url(&self) -> String {
        local_url(self.address)
    }

    /// The server's model.
    pub(crate) fn model(&self) -> &ModelInfo {
        self.engine.model()
    }

    /// Waits until the server ends by itself, for example after the loss of its device.
    pub(crate) async fn failed(&mut self) -> Result<Drain> {
        flatten((&mut self.serving).await)
    }

    /// Stops the server after its running requests.
    pub(crate) async fn stop(self) -> Result<Drain> {
        // The receiver is only gone when the server has ended already.
        let _ = self.stop.send(());
        flatten(self.serving.await)
    }
}

/// The URL on this machine of a server that listens on `listen`.
pub(crate) fn local_url(mut listen: SocketAddr) -> String {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("http://{listen}")
}

fn flatten(ended: Result<Result<Drain>, tokio::task::JoinError>) -> Result<Drain> {
    ended.context("the server broke down")?
}

/// Settings of a private server: on loopback, without an operations port, with a timeout of a day, and for
/// pictures of up to 500 MiB.
pub(crate) fn private_config(port: u16, playground: bool) -> Result<ServerConfig> {
    let settings = Settings {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string(),
        ops_listen: "off".into(),
        max_timeout_seconds: 86_400.0,
        max_message_bytes: 512 << 20,
        max_image_bytes: Some(500 << 20),
        max_response_bytes: 1 << 30,
        batch_images: 1, // pictures come one by one
        playground,
        ..Settings::default()
    };
    Ok(ServerConfig::check(&settings)?)
}

/// The threads for sockets and timers.
pub(crate) fn runtime() -> Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start the threads for connections")
}
