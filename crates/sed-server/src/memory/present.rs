//! Calls that carry pictures or words, by connection.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::owner::ConnectionId;

/// The number of calls of every connection. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Presence(Arc<Mutex<HashMap<ConnectionId, usize>>>);

/// A call among those of its connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Present {
    all: Presence,
    connection: ConnectionId,
}

impl Presence {
    pub(super) fn enter(&self, connection: ConnectionId) -> Present {
        *self.lock().entry(connection).or_default() += 1;
        Present { all: self.clone(), connection }
    }

    /// Calls of a connection.
    pub(super) fn of(&self, connection: ConnectionId) -> usize {
        self.lock().get(&connection).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectionId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Some(calls) = all.get_mut(&self.connection) {
            *calls -= 1;
            if *calls == 0 {
                all.remove(&self.connection);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_until_they_end() {
        let presence = Presence::default();
        let [one, other] = [(); 2].map(|()| ConnectionId::next());
        let calls = [presence.enter(one), presence.enter(one)];
        assert_eq!((presence.of(one), presence.of(other)), (2, 0));
        drop(calls);
        assert_eq!(presence.of(one), 0);
        assert!(presence.lock().is_empty());
    }
}
