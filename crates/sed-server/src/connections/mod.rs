//! The life of a connection: its handshake, its calls, its age and its end.
//!
//! hyper speaks HTTP. This module adds TLS whose certificates change, a bound on the time that a client may
//! stay silent at first, and a maximum age, at which a connection accepts no new calls, finishes those that
//! it has, and is cut only after a grace period. (tonic's own loop, as of 0.14.9, cuts a connection at the
//! end of the grace period without having told the client before.)

mod crowd;
mod handshake;
mod heard;
mod peer;

use std::{convert::Infallible, future::pending, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::server::TlsStream;
use tokio_stream::StreamExt;
use tokio_util::either::Either;
use tonic::body::Body;
use tower::{Service, ServiceExt};

pub(crate) use self::peer::Peer;
use self::{
    crowd::{Activity, Crowd, Exchanges},
    heard::Heard,
};
use crate::{
    access::{Reloaded, Tls},
    config::{ServerConfig, Settings, Transport},
    exchange::Exchange,
    incoming::{self, Accepted},
    memory::{Window, Windows},
    metrics::ServerMetrics,
};

/// Time that a connection that makes room for another may take: it carries no call, and may be shaking hands.
const RETIRED_GRACE: Duration = Duration::from_millis(500);

/// The stream under HTTP: a plain connection, or TLS over one.
type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// The server of connections: their settings, TLS, receive windows and the list of open ones.
#[derive(Clone)]
pub(crate) struct Connections {
    settings: Arc<Settings>,
    transport: Transport,
    tls: Option<Arc<Reloaded<Tls>>>,
    windows: Windows,
    crowd: Crowd,
    metrics: Arc<ServerMetrics>,
}

impl Connections {
    pub(crate) fn new(
        config: &ServerConfig,
        tls: Option<Arc<Reloaded<Tls>>>,
        windows: Windows,
        metrics: Arc<ServerMetrics>,
    ) -> Self {
        let (settings, transport) = (Arc::clone(&config.settings), config.transport.clone());
        Self { settings, transport, tls, windows, crowd: Crowd::default(), metrics }
    }

    /// Serves connections until `stop` resolves, and then waits until every open one has ended. Dropping the
    /// future cuts them all.
    pub(crate) async fn serve<S>(self, listener: TcpListener, service: S, stop: impl Future<Output = ()>)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        self.metrics.connections_capacity.set(self.settings.max_connections() as f64);
        let crowd = self.crowd.clone();
        let mut incoming =
            incoming::limited(listener, self.settings.max_connections(), move || crowd.make_room());
        let (close, closing) = watch::channel(false);
        let mut running = JoinSet::new();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                accepted = incoming.next() => match accepted {
                    Some(Ok(accepted)) => {
                        let life = self.clone().hold(accepted, service.clone(), closing.clone());
                        running.spawn(life);
                    }
                    Some(Err(error)) => tracing::warn!(%error, "a connection cannot be accepted"),
                    None => break, // the accepting task has ended with its runtime
                },
                Some(_) = running.join_next() => {}
            }
        }
        drop(incoming); // no client is left in the backlog of a server that does not answer
        close.send_replace(true);
        while running.join_next().await.is_some() {}
    }

    async fn hold<S>(self, accepted: Accepted, service: S, mut closing: watch::Receiver<bool>)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        let Accepted { stream, address, permit: _permit } = accepted;
        let _counted = self.metrics.connections.share(1.0);
        let (age, aged) = watch::channel(false);
        let activity = self.crowd.enter();
        let opened = self.open(stream, address, aged);
        let (peer, stream) = tokio::select! {
            opened = opened => match opened {
                Some(opened) => opened,
                None => return,
            },
            // No call has begun.
            () = async {
                activity.retired().await;
                sleep(RETIRED_GRACE).await;
            } => return,
            _ = closing.wait_for(|closing| *closing) => return,
        };
        let heard = Heard::default();
        let stream = heard.over(stream);
        let window = self.windows.open();
        let service = service.map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            request.map(Body::new)
        });
        let http = self.http(&window, Arc::clone(&activity));
        let life = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        tokio::pin!(life);
        // Over HTTP/1.1 there is one call at a time, and no task of its own for it: it is cut with its
        // connection.
        let exchange = Exchange::default();
        let grace = {
            let driven = exchange.clone().drive(life.as_mut());
            tokio::pin!(driven);
            tokio::select! {
                ended = &mut driven => return ended.map_or_else(|| tracing::debug!("cut"), tell),
                () = heard.nothing_for(self.transport.handshake_timeout) => {
                    return tracing::debug!("a connection was closed: nothing came over it");
                }
                // Before the version of HTTP is known, a shutdown would close the connection at once.
                () = async {
                    activity.retired().await;
                    heard.preface_or(RETIRED_GRACE).await;
                } => Some(RETIRED_GRACE),
                () = self.old_age() => {
                    Some(Duration::from_secs_f64(self.settings.max_connection_age_grace_seconds))
                }
                _ = closing.wait_for(|closing| *closing) => None, // the end of the server bounds the wait
            }
        };
        // The client is told to send its next call elsewhere; those that it has sent are answered.
        life.as_mut().graceful_shutdown();
        age.send_replace(grace.is_some());
        let driven = exchange.drive(life);
        match grace {
            None => drop(driven.await.map(tell)),
            Some(grace) => match timeout(grace, driven).await {
                Ok(ended) => drop(ended.map(tell)),
                Err(_) => tracing::debug!("an old connection was cut with calls on it"),
            },
        }
    }

    /// Opens the stream under HTTP; `None` if the handshake failed.
    async fn open(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        aged: watch::Receiver<bool>,
    ) -> Option<(Peer, Stream)> {
        let Some(tls) = &self.tls else {
            return Some((Peer::new(address, None, aged), Stream::Left(stream)));
        };
        match handshake::shake_hands(&tls.current(), stream, self.transport.handshake_timeout).await {
            Ok((name, stream)) => Some((Peer::new(address, name, aged), Stream::Right(Box::new(stream)))),
            Err(failure) => {
                failure.count(address, &self.metrics);
                failure.close().await;
                None
            }
        }
    }

    /// Resolves when the connection reaches its maximum age. The age is jittered, so connections opened
    /// together do not expire together.
    async fn old_age(&self) {
        match self.settings.max_connection_age() {
            Some(age) => sleep(around(age)).await,
            None => pending().await,
        }
    }

    fn http(&self, window: &Window, activity: Arc<Activity>) -> Builder<Exchanges> {
        let (settings, transport) = (&self.settings, &self.transport);
        let mut http = Builder::new(Exchanges { activity });
        http.http2()
            .timer(TokioTimer::new())
            .initial_stream_window_size(settings.http2_stream_window_bytes.min(window.bytes()))
            .initial_connection_window_size(window.bytes())
            .max_concurrent_streams(settings.http2_max_streams)
            .max_header_list_size(settings.http2_max_header_bytes)
            .keep_alive_interval(Duration::from_secs_f64(settings.keepalive_interval_seconds))
            .keep_alive_timeout(Duration::from_secs_f64(settings.keepalive_timeout_seconds));
        // The smallest buffer that hyper takes is 8 KiB.
        let header_bytes = (settings.http2_max_header_bytes as usize).max(8 << 10);
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(transport.handshake_timeout)
            .max_buf_size(header_bytes);
        http
    }
}

/// A time up to a tenth shorter or longer.
fn around(time: Duration) -> Duration {
    time.mul_f64(0.9 + 0.2 * fastrand::f64())
}

fn tell(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(error, "a connection failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_spread_by_a_tenth() {
        let age = Duration::from_secs(100);
        let ages: Vec<_> = (0..1000).map(|_| around(age).as_secs_f64()).collect();
        assert!(ages.iter().all(|age| (90.0..=110.0).contains(age)));
        assert!(ages.iter().any(|age| *age < 95.0) && ages.iter().any(|age| *age > 105.0));
    }
}
