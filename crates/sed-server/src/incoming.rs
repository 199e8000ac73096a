//! A bounded accept loop: at most so many connections are open at once.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

/// After a failed accept (the process may be out of descriptors), give running connections time to end.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);
/// Interval at which room is asked for while a connection waits.
const ROOM: Duration = Duration::from_millis(250);

/// Accepts connections; those beyond `most` wait until another ends, one of them here and the rest in the
/// system's backlog. `make_room` is called while one waits. The listener is closed when the stream is
/// dropped.
pub(crate) fn limited(
    listener: TcpListener,
    most: usize,
    make_room: impl Fn() + Send + Sync + 'static,
) -> ReceiverStream<io::Result<Connection>> {
    let (accepted, stream) = mpsc::channel(1);
    let places = Arc::new(Semaphore::new(most));
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = accepted.closed() => return,
                connection = accept(&listener, &places, &make_room) => {
                    if connection.is_err() {
                        sleep(PAUSE_AFTER_FAILURE).await;
                    }
                    if accepted.send(connection).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    ReceiverStream::new(stream)
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    make_room: &(impl Fn() + Sync),
) -> io::Result<Connection> {
    let (stream, peer) = listener.accept().await?;
    let place = loop {
        if let Ok(place) = Arc::clone(places).try_acquire_owned() {
            break place;
        }
        make_room();
        if let Ok(place) = timeout(ROOM, Arc::clone(places).acquire_owned()).await {
            break place.map_err(io::Error::other)?;
        }
    };
    stream.set_nodelay(true)?; // answers are whole messages; waiting to fill a packet only delays them
    Ok(Connection { stream, peer, _place: place })
}

/// A connection that releases its place when it is closed.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// The address of the client.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }
}
