//! Who is at the other end of a connection.

use std::{net::SocketAddr, sync::Arc};

/// Travels in the extensions of every request of the connection. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The name in its certificate, if it has shown one that an authority of ours has signed.
    pub(crate) name: Option<Arc<str>>,
}

impl Peer {
    pub(super) fn new(address: SocketAddr, name: Option<String>) -> Self {
        Self { address, name: name.map(Arc::from) }
    }
}
