//! A bounded accept loop: at most so many connections are open at once.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
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
) -> ReceiverStream<io::Result<Accepted>> {
    let (accepted, stream) = mpsc::channel(1);
    let permits = Arc::new(Semaphore::new(most));
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = accepted.closed() => return,
                connection = accept(&listener, &permits, &make_room) => {
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
    permits: &Arc<Semaphore>,
    make_room: &(impl Fn() + Sync),
) -> io::Result<Accepted> {
    let (stream, address) = listener.accept().await?;
    let permit = loop {
        if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
            break permit;
        }
        make_room();
        if let Ok(permit) = timeout(ROOM, Arc::clone(permits).acquire_owned()).await {
            break permit.map_err(io::Error::other)?;
        }
    };
    stream.set_nodelay(true)?; // answers are whole messages; waiting to fill a packet only delays them
    Ok(Accepted { stream, address, permit })
}

/// A connection that was accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    /// The address of the client.
    pub(crate) address: SocketAddr,
    /// Its right to be open, to be dropped when it is closed.
    pub(crate) permit: OwnedSemaphorePermit,
}
