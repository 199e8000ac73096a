//! The other end of a connection.

use std::{future::pending, net::SocketAddr, sync::Arc};

use tokio::sync::watch;

use crate::memory::ConnectionId;

/// The client of a connection. Travels in the extensions of every request of the connection. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The name in its certificate, if it has shown one that an authority of ours has signed.
    pub(crate) name: Option<Arc<str>>,
    /// The connection, as the account of memory knows it.
    pub(crate) connection: ConnectionId,
    /// True once the connection takes no new calls: it is old.
    pub(crate) aged: watch::Receiver<bool>,
}

impl Peer {
    /// Resolves when a connection takes no new calls any more, by what its [`Peer`] says of it; never without
    /// one.
    pub(crate) async fn has_aged(aged: Option<watch::Receiver<bool>>) {
        match aged {
            // An error: the connection has ended, and its streams with it.
            Some(mut aged) => drop(aged.wait_for(|aged| *aged).await),
            None => pending().await,
        }
    }

    pub(super) fn new(address: SocketAddr, name: Option<String>, aged: watch::Receiver<bool>) -> Self {
        Self { address, name: name.map(Arc::from), connection: ConnectionId::next(), aged }
    }
}
