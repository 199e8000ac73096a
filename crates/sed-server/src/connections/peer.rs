//! The other end of a connection.

use std::{net::SocketAddr, sync::Arc};

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
    pub(super) fn new(address: SocketAddr, name: Option<String>, aged: watch::Receiver<bool>) -> Self {
        Self { address, name: name.map(Arc::from), connection: ConnectionId::next(), aged }
    }
}
