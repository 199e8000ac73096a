//! The operations port: liveness, readiness and metrics over plain HTTP, for the machines that look after the
//! server. It says nothing about requests, and goes on until the server has ended.

mod answer;

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_stream::StreamExt;

use crate::incoming::{self, Accepted};

pub(crate) use answer::Sources;

/// Connections at the same time; more wait in the system's backlog.
const MAX_CONNECTIONS: usize = 32;
/// For a request's headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// For a connection as a whole, which is one request and its answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval at which the recorder sums up its histograms; it stores every value until then, or until a
/// scrape.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The port, open but not answering yet.
#[derive(Debug)]
pub(crate) struct Ops {
    listener: TcpListener,
    address: SocketAddr,
}

impl Ops {
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Returns the address, with the actual port if 0 was configured.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the future is dropped.
    pub(crate) async fn serve(self, sources: Sources) {
        tracing::info!(address = %self.address, "operations port");
        let mut connections = incoming::limited(self.listener, MAX_CONNECTIONS, || {});
        let mut running = JoinSet::new();
        let mut upkeep = interval(UPKEEP_INTERVAL);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                accepted = connections.next() => match accepted {
                    Some(Ok(accepted)) => drop(running.spawn(converse(accepted, sources.clone()))),
                    Some(Err(error)) => tracing::warn!(%error, "operations port: no connection"),
                    None => return, // the accepting task has ended with its runtime
                },
                Some(_) = running.join_next() => {}
                _ = upkeep.tick() => sources.telemetry.run_upkeep(),
            }
        }
    }
}

/// One request and its answer.
async fn converse(accepted: Accepted, sources: Sources) {
    let Accepted { stream, permit: _permit, .. } = accepted;
    let service = service_fn(|request| {
        let answer = answer::answer(request.method(), request.uri().path(), &sources);
        async { Ok::<_, Infallible>(answer) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).keep_alive(false);
    let conversation = http.serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIMEOUT, conversation).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "operations port: a connection failed"),
        Err(_) => tracing::debug!("operations port: a connection took too long"),
    }
}
