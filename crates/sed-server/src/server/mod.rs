//! The sockets, the services behind them, and their beginning and end.

mod assemble;
mod error;
mod prepared;
mod running;

use std::{net::SocketAddr, pin::Pin, sync::Arc};

use sed_engine::{Engine, VocabularyBook, metrics::EngineMetrics};
use sed_telemetry::Telemetry;
use tokio::net::TcpListener;

pub use self::{error::ServeError, running::Drain};
use crate::{access::AccessFiles, config::ServerConfig, cpu_pool::CpuPool, metrics::ServerMetrics, ops::Ops};

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

/// A server that answers while it is polled, until it ends.
type Serving<'a> = Pin<Box<dyn Future<Output = Result<Drain, ServeError>> + Send + 'a>>;

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
    pub fn serve<'a>(
        self,
        shutdown: impl Future<Output = ()> + Send + 'a,
    ) -> impl Future<Output = Result<Drain, ServeError>> + Send + 'a {
        self.serve_until(Box::pin(shutdown))
    }

    /// [`Server::serve`] without a type parameter, behind a pointer: the whole server is compiled here, once,
    /// and not again in every program that serves.
    fn serve_until<'a>(self, shutdown: Pin<Box<dyn Future<Output = ()> + Send + 'a>>) -> Serving<'a> {
        Box::pin(async move {
            self.warn_of_open_secrets();
            Ok(self.assemble().await?.run(shutdown).await)
        })
    }

    /// Warns if tokens travel unencrypted over a network, where they can be read.
    fn warn_of_open_secrets(&self) {
        let (access, address) = (&self.config.access, self.address);
        if access.tokens.is_some() && access.tls.is_none() && !address.ip().is_loopback() {
            tracing::warn!(
                %address,
                "tokens are asked for, but connections are not encrypted, so tokens can be read on the network; \
                 set tls_certificate and tls_key, or let a proxy encrypt"
            );
        }
    }
}
