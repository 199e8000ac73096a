//! Connections, calls and callers, to which memory is charged.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::caller::Caller;

/// One connection among all of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId(u64);

impl ConnectionId {
    /// The next one.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A call in the order in which calls begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CallNumber(u64);

impl CallNumber {
    /// The next one.
    pub(super) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The connection and the caller that a buffer is charged to. Callers without a name share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) connection: ConnectionId,
    pub(crate) caller: Option<Caller>,
}

/// The owners that a bound is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Whose {
    /// All of the process.
    All,
    /// One connection.
    Connection(ConnectionId),
    /// One caller, or all without a name.
    Caller(Option<Caller>),
}

impl Whose {
    /// Reports whether an owner is one of them.
    pub(super) fn covers(&self, owner: &Owner) -> bool {
        match self {
            Self::All => true,
            Self::Connection(connection) => owner.connection == *connection,
            Self::Caller(caller) => owner.caller == *caller,
        }
    }
}
