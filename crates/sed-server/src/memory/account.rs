//! The budget of everything that calls cause, with its shares.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    owner::{CallNumber, ConnectionId, Owner, Whose},
    shortage::Shortage,
    split::Split,
    transfer::Transfers,
};
use crate::{caller::Caller, metrics::ServerMetrics};

/// The part of the budget that large charges leave for small ones: a sixteenth, so that probes and questions
/// are answered while pictures fill the rest.
const RESERVE_PART: u64 = 16;
/// The largest charge that may use the reserve, in bytes.
pub(super) const SMALL: u64 = 256 << 10;

/// The longest that room is kept for an upload that has begun: a fair one is over by then.
const KEPT: Duration = Duration::from_secs(2);
/// Uploads of one connection that wait for room: the rest of its receive window is for its other calls.
const MOST_UNREAD: usize = 2;

/// The budget. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    total: u64,
    caller_share: u64,
    state: Mutex<State>,
    freed: Notify,
    transfers: Transfers,
    metrics: Arc<ServerMetrics>,
}

#[derive(Debug, Default)]
struct State {
    used: u64,
    /// Bytes that uploads which have begun will need beyond those they use: all, and those of each owner.
    promised: u64,
    promised_to_connections: HashMap<ConnectionId, u64>,
    promised_to_callers: HashMap<Option<Caller>, u64>,
    /// Uploads that wait for room, unread; none of connections without any.
    unread: HashMap<ConnectionId, usize>,
    /// Calls that wait for memory, by the bound that keeps them from it, the oldest first, with the number of
    /// charges that wait: the requests of a stream are one call.
    waiting: HashMap<Whose, BTreeMap<CallNumber, usize>>,
    connections: HashMap<ConnectionId, u64>,
    callers: HashMap<Option<Caller>, u64>,
}

impl Account {
    /// An account of `total` bytes. Where callers have names, none may hold more than three quarters of it.
    pub(crate) fn new(
        total: u64,
        callers_have_names: bool,
        transfers: Transfers,
        metrics: Arc<ServerMetrics>,
    ) -> Self {
        metrics.request_memory_capacity.set(total as f64);
        let caller_share = if callers_have_names { total / 4 * 3 } else { total };
        let (state, freed) = (Mutex::default(), Notify::new());
        Self { shared: Arc::new(Shared { total, caller_share, state, freed, transfers, metrics }) }
    }

    /// The most that one connection may hold, in bytes.
    pub(crate) fn connection_share(&self) -> u64 {
        Split::connection_share(self.shared.total)
    }

    /// The uploads and answers on their way.
    pub(crate) fn transfers(&self) -> &Transfers {
        &self.shared.transfers
    }

    /// Charges `bytes`, of which the owner holds `held` with the same charge already.
    pub(super) fn take(&self, owner: &Owner, bytes: u64, held: u64) -> Result<(), Shortage> {
        if held.saturating_add(bytes) > self.connection_share() {
            return Err(Shortage::Never { limit: self.connection_share() });
        }
        let mut state = self.lock();
        self.check(&state, owner, bytes, Promised::default())?;
        state.used += bytes;
        *state.connections.entry(owner.connection).or_default() += bytes;
        *state.callers.entry(owner.caller.clone()).or_default() += bytes;
        self.shared.metrics.request_memory.set(state.used as f64);
        Ok(())
    }

    /// Checks that an upload which will need `bytes` has room beside all that others have been promised.
    /// `believed` of them are promised to it.
    pub(super) fn promise(&self, owner: &Owner, bytes: u64, believed: u64) -> Result<Promise, Shortage> {
        if bytes > self.connection_share() {
            return Err(Shortage::Never { limit: self.connection_share() });
        }
        let mut state = self.lock();
        let promised = Promised {
            all: state.promised,
            connection: state.promised_to_connections.get(&owner.connection).copied().unwrap_or(0),
            caller: state.promised_to_callers.get(&owner.caller).copied().unwrap_or(0),
        };
        self.check(&state, owner, bytes, promised)?;
        let bytes = bytes.min(believed);
        state.promised += bytes;
        *state.promised_to_connections.entry(owner.connection).or_default() += bytes;
        *state.promised_to_callers.entry(owner.caller.clone()).or_default() += bytes;
        Ok(Promise { account: self.clone(), owner: owner.clone(), bytes })
    }

    /// Registers an upload that waits for room, unread: what its client sends stays in the receive window of
    /// the connection, which other calls on it need, too. `None` where as many wait there as may.
    pub(super) fn leave_unread(&self, connection: ConnectionId) -> Option<Unread> {
        let mut state = self.lock();
        let waiting = state.unread.entry(connection).or_default();
        if *waiting >= MOST_UNREAD {
            return None;
        }
        *waiting += 1;
        Some(Unread { account: self.clone(), connection })
    }

    /// Checks that `bytes` more may be charged beside what was promised.
    fn check(&self, state: &State, owner: &Owner, bytes: u64, promised: Promised) -> Result<(), Shortage> {
        if state.used + promised.all + bytes + self.reserve(bytes) > self.shared.total {
            return Err(Shortage::Budget);
        }
        let of_connection = state.connections.get(&owner.connection).copied().unwrap_or(0);
        if of_connection + promised.connection + bytes > self.connection_share() {
            let whose = Whose::Connection(owner.connection);
            return Err(Shortage::Share { whose, limit: self.connection_share() });
        }
        let of_caller = state.callers.get(&owner.caller).copied().unwrap_or(0);
        if of_caller + promised.caller + bytes > self.shared.caller_share {
            let whose = Whose::Caller(owner.caller.clone());
            return Err(Shortage::Share { whose, limit: self.shared.caller_share });
        }
        Ok(())
    }

    /// Reports whether `bytes` are so few that a call may wait for them while it holds a place.
    pub(super) fn is_modest(&self, bytes: u64) -> bool {
        bytes <= self.shared.total / RESERVE_PART
    }

    /// The part of the budget that a charge of `bytes` leaves free.
    fn reserve(&self, bytes: u64) -> u64 {
        if bytes <= SMALL { 0 } else { self.shared.total / RESERVE_PART }
    }

    /// Releases `bytes`, and wakes the charges that wait.
    pub(super) fn give(&self, owner: &Owner, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let mut state = self.lock();
        state.used -= bytes;
        lower(&mut state.connections, &owner.connection, bytes);
        lower(&mut state.callers, &owner.caller, bytes);
        self.shared.metrics.request_memory.set(state.used as f64);
        drop(state);
        self.shared.freed.notify_waiters();
    }

    /// Registers a call that waits for memory which a bound withholds. Returns `None` if an older call waits:
    /// each holds what the others wait for, and the oldest has the most to lose.
    pub(super) fn wait(&self, bound: Whose, call: CallNumber) -> Option<Waiting> {
        let mut state = self.lock();
        let waiting = state.waiting.entry(bound.clone()).or_default();
        if waiting.first_key_value().is_some_and(|(oldest, _)| *oldest < call) {
            return None;
        }
        // A younger call that waits already is refused when it looks again.
        *waiting.entry(call).or_default() += 1;
        drop(state);
        self.shared.freed.notify_waiters();
        Some(Waiting { account: self.clone(), bound, call })
    }

    /// Resolves when memory is released after this call.
    pub(super) fn freed(&self) -> tokio::sync::futures::Notified<'_> {
        self.shared.freed.notified()
    }

    /// Returns the bytes that are charged now.
    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.lock().used
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Memory that an upload will need beyond what it uses, until it is dropped. It is charged as the bytes come;
/// uploads that begin meanwhile see that it is spoken for.
#[derive(Debug)]
pub(crate) struct Promise {
    account: Account,
    owner: Owner,
    bytes: u64,
}

impl Promise {
    /// Lowers it to what is needed beyond what is used now, in bytes; to nothing, once the upload has taken
    /// so long that others need not wait for it.
    pub(crate) fn lower_to(&mut self, bytes: u64, age: Duration) {
        self.set(if age < KEPT { bytes } else { 0 });
    }

    fn set(&mut self, bytes: u64) {
        let Some(less) = self.bytes.checked_sub(bytes) else { return };
        let mut state = self.account.lock();
        state.promised -= less;
        lower(&mut state.promised_to_connections, &self.owner.connection, less);
        lower(&mut state.promised_to_callers, &self.owner.caller, less);
        self.bytes = bytes;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.set(0);
        self.account.shared.freed.notify_waiters();
    }
}

/// An upload that waits for room, until it is dropped.
#[derive(Debug)]
pub(super) struct Unread {
    account: Account,
    connection: ConnectionId,
}

impl Drop for Unread {
    fn drop(&mut self) {
        let mut state = self.account.lock();
        if let Some(waiting) = state.unread.get_mut(&self.connection) {
            *waiting -= 1;
            if *waiting == 0 {
                state.unread.remove(&self.connection);
            }
        }
    }
}

/// Bytes that were promised to all, and to one owner.
#[derive(Clone, Copy, Debug, Default)]
struct Promised {
    all: u64,
    connection: u64,
    caller: u64,
}

/// A call that waits for memory, until it is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    account: Account,
    bound: Whose,
    call: CallNumber,
}

impl Waiting {
    /// Reports whether no older call waits.
    pub(super) fn is_oldest(&self) -> bool {
        let state = self.account.lock();
        let oldest = state.waiting.get(&self.bound).and_then(BTreeMap::first_key_value);
        oldest.is_some_and(|(oldest, _)| *oldest == self.call)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.account.lock();
        let Some(waiting) = state.waiting.get_mut(&self.bound) else { return };
        if let Some(charges) = waiting.get_mut(&self.call) {
            *charges -= 1;
            if *charges == 0 {
                waiting.remove(&self.call);
            }
        }
        if waiting.is_empty() {
            state.waiting.remove(&self.bound);
        }
    }
}

/// Subtracts `bytes` from an entry, and removes it at zero.
fn lower<K: std::hash::Hash + Eq>(held: &mut HashMap<K, u64>, key: &K, bytes: u64) {
    if let Some(left) = held.get_mut(key) {
        *left -= bytes;
        if *left == 0 {
            held.remove(key);
        }
    }
}
