//! Trust in connections, by the way their uploads and answers ended.
//!
//! Like a sender's window in TCP (RFC 5681): when an upload or an answer has to be ended because others need
//! what it holds, its connection may have half as many at once; each that ends well allows one more. An
//! upload's announced size is believed up to the largest that its connection has completed since.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::owner::ConnectionId;

/// A connection without transfers for so long is as good as new.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Transfers of a connection that are ended within such a time count once.
const MOMENT: Duration = Duration::from_millis(500);
/// A connection that may have so many transfers at once is not held back.
const ENOUGH: usize = 64;

/// The standing of all connections. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Standings(Arc<Mutex<All>>);

#[derive(Debug, Default)]
struct All {
    known: HashMap<ConnectionId, Standing>,
    /// Number of connections at which those are removed that are forgotten.
    sweep_at: usize,
}

#[derive(Clone, Copy, Debug)]
struct Standing {
    /// Transfers that it may have at once; `None`: any number.
    most: Option<usize>,
    /// The last time that it was halved.
    halved: Option<Instant>,
    /// Bytes of the largest upload that was completed since one was ended.
    largest: u64,
    seen: Instant,
}

impl Standings {
    /// Notes an upload of so many bytes, or an answer (0), that ended well.
    pub(super) fn completed(&self, connection: ConnectionId, bytes: u64) {
        self.change(connection, |standing| {
            standing.most = standing.most.map(|most| most + 1).filter(|most| *most < ENOUGH);
            standing.largest = standing.largest.max(bytes);
        });
    }

    /// Notes a transfer that had to be ended while the connection had so many, itself included. Several in a
    /// moment are one event.
    pub(super) fn ended(&self, connection: ConnectionId, running: usize) {
        self.change(connection, |standing| {
            standing.largest = 0;
            if standing.halved.is_some_and(|halved| halved.elapsed() < MOMENT) {
                return;
            }
            let most = standing.most.unwrap_or(running).min(running);
            standing.most = Some((most / 2).max(1));
            standing.halved = Some(Instant::now());
        });
    }

    /// Transfers that a connection may have at once.
    pub(super) fn most(&self, connection: ConnectionId) -> usize {
        self.of(connection).and_then(|standing| standing.most).unwrap_or(usize::MAX)
    }

    /// The size up to which the uploads of a connection are believed, in bytes.
    pub(super) fn largest(&self, connection: ConnectionId) -> u64 {
        self.of(connection).map_or(0, |standing| standing.largest)
    }

    fn of(&self, connection: ConnectionId) -> Option<Standing> {
        let standing = self.lock().known.get(&connection).copied();
        standing.filter(|standing| standing.seen.elapsed() < FORGOTTEN)
    }

    fn change(&self, connection: ConnectionId, change: impl FnOnce(&mut Standing)) {
        let new = Standing { most: None, halved: None, largest: 0, seen: Instant::now() };
        let mut all = self.lock();
        let standing = all.known.entry(connection).or_insert(new);
        if standing.seen.elapsed() >= FORGOTTEN {
            *standing = new;
        }
        change(standing);
        standing.seen = new.seen;
        if all.known.len() > all.sweep_at {
            all.known.retain(|_, standing| standing.seen.elapsed() < FORGOTTEN);
            all.sweep_at = 2 * all.known.len() + ENOUGH;
        }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_transfer_that_is_ended_halves_and_each_good_one_adds() {
        let standings = Standings::default();
        let [bad, good] = [(); 2].map(|()| ConnectionId::next());
        assert_eq!((standings.most(bad), standings.largest(bad)), (usize::MAX, 0));
        standings.completed(bad, 700);
        standings.completed(bad, 300);
        assert_eq!((standings.most(bad), standings.largest(bad)), (usize::MAX, 700));
        for _ in 0..5 {
            standings.ended(bad, 24);
        }
        assert_eq!((standings.most(bad), standings.largest(bad)), (12, 0));
        for _ in 0..9 {
            advance(MOMENT).await;
            standings.ended(bad, 24);
        }
        assert_eq!((standings.most(bad), standings.most(good)), (1, usize::MAX));
        for _ in 0..3 {
            standings.completed(bad, 0);
        }
        assert_eq!(standings.most(bad), 4);
        for _ in 0..ENOUGH {
            standings.completed(bad, 0);
        }
        assert_eq!(standings.most(bad), usize::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_are_forgotten() {
        let standings = Standings::default();
        for _ in 0..10 * ENOUGH {
            standings.ended(ConnectionId::next(), 1);
            advance(FORGOTTEN / 20).await;
        }
        assert!(standings.lock().known.len() <= 2 * ENOUGH, "{}", standings.lock().known.len());
    }
}
