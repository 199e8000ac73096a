//! The stream under HTTP: a plain connection, or TLS over one. It counts the first bytes received.

use std::{
    future::pending,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::sleep,
};
use tokio_rustls::server::TlsStream;

use crate::incoming::Connection;

/// Length of the preface of HTTP/2, after which pings watch over the connection; a request of HTTP/1.1 is
/// longer.
const PREFACE_BYTES: usize = 24;

/// Number of bytes received, counted until the preface is complete.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(Arc<AtomicUsize>);

impl Heard {
    /// Resolves after `time`, unless the preface has come by then.
    pub(super) async fn nothing_for(&self, time: Duration) {
        sleep(time).await;
        if self.0.load(Ordering::Relaxed) >= PREFACE_BYTES {
            pending().await
        }
    }
}

#[derive(Debug)]
enum Layer {
    Plain(Connection),
    Tls(Box<TlsStream<Connection>>),
}

#[derive(Debug)]
pub(super) struct Stream {
    layer: Layer,
    heard: Heard,
}

impl Stream {
    pub(super) fn plain(connection: Connection) -> Self {
        Self { layer: Layer::Plain(connection), heard: Heard::default() }
    }

    pub(super) fn tls(stream: TlsStream<Connection>) -> Self {
        Self { layer: Layer::Tls(Box::new(stream)), heard: Heard::default() }
    }

    pub(super) fn heard(&self) -> Heard {
        self.heard.clone()
    }
}

/// Does the same with either layer.
macro_rules! on_layer {
    ($self:ident, $inner:ident => $work:expr) => {
        match &mut $self.get_mut().layer {
            Layer::Plain(connection) => {
                let $inner = Pin::new(connection);
                $work
            }
            Layer::Tls(stream) => {
                let $inner = Pin::new(stream.as_mut());
                $work
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let heard = self.heard.clone();
        let before = buffer.filled().len();
        ready!(on_layer!(self, inner => inner.poll_read(context, buffer)))?;
        if heard.0.load(Ordering::Relaxed) < PREFACE_BYTES {
            heard.0.fetch_add(buffer.filled().len() - before, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        on_layer!(self, inner => inner.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_layer!(self, inner => inner.poll_write_vectored(context, buffers))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.layer {
            Layer::Plain(connection) => connection.is_write_vectored(),
            Layer::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_layer!(self, inner => inner.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_layer!(self, inner => inner.poll_shutdown(context))
    }
}
