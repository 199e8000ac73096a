//! The order in which connections are served with what they share: places, threads.
//!
//! First come, first served, but a connection that used more lately is served as if it had come later, up to
//! [`MOST_DELAY`]. So one that uses much delays its own requests rather than those of others, and new
//! connections cannot keep one from its turn.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::memory::ConnectionId;

/// Time in which a use fades to a third (1 / e) of its weight.
const FADES: Duration = Duration::from_secs(1);
/// The most by which a connection is put back.
const MOST_DELAY: Duration = Duration::from_secs(1);
/// A use that has faded to less is forgotten.
const FORGOTTEN: Duration = Duration::from_millis(1);

/// The use of something by connections in the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    recent: HashMap<ConnectionId, Recent>,
    /// Number of entries at which those are removed that have faded.
    sweep_at: usize,
}

/// Time of use, faded to a moment.
#[derive(Clone, Copy, Debug)]
struct Recent {
    used: Duration,
    at: Instant,
}

impl Recent {
    fn faded(self, now: Instant) -> Duration {
        let age = now.saturating_duration_since(self.at).as_secs_f64();
        self.used.mul_f64((-age / FADES.as_secs_f64()).exp())
    }
}

impl Usage {
    /// Adds a use that ends now.
    pub(crate) fn add(&mut self, connection: ConnectionId, used: Duration, now: Instant) {
        let before = self.recent.get(&connection).map_or(Duration::ZERO, |recent| recent.faded(now));
        self.recent.insert(connection, Recent { used: before + used, at: now });
        if self.recent.len() > self.sweep_at {
            self.recent.retain(|_, recent| recent.faded(now) >= FORGOTTEN);
            self.sweep_at = 2 * self.recent.len() + 64;
        }
    }

    /// The turn of a request that came at `arrived`: the earlier, the sooner. `running` is the time of uses
    /// that have not ended.
    pub(crate) fn turn(
        &self,
        connection: ConnectionId,
        running: Duration,
        arrived: Instant,
        now: Instant,
    ) -> Instant {
        let ended = self.recent.get(&connection).map_or(Duration::ZERO, |recent| recent.faded(now));
        arrived + (ended + running).min(MOST_DELAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_connection_that_used_much_is_put_back_but_not_for_ever() {
        let [busy, new] = [(); 2].map(|()| ConnectionId::next());
        let begin = Instant::now();
        let mut usage = Usage::default();
        usage.add(busy, 100 * MS, begin);
        let turn = |usage: &Usage, connection, arrived: Duration| {
            usage.turn(connection, Duration::ZERO, begin + arrived, begin)
        };
        assert!(turn(&usage, busy, Duration::ZERO) > turn(&usage, new, 99 * MS));
        assert!(turn(&usage, busy, Duration::ZERO) < turn(&usage, new, 101 * MS));
        usage.add(busy, Duration::from_secs(10), begin);
        assert!(turn(&usage, busy, Duration::ZERO) < turn(&usage, new, MOST_DELAY + MS));
        let running = usage.turn(new, 50 * MS, begin, begin);
        assert_eq!(running, begin + 50 * MS);
    }

    #[test]
    fn uses_fade_and_are_forgotten() {
        let connection = ConnectionId::next();
        let begin = Instant::now();
        let mut usage = Usage::default();
        usage.add(connection, 100 * MS, begin);
        let later = begin + FADES;
        let put_back = usage.turn(connection, Duration::ZERO, later, later) - later;
        assert!((36 * MS..37 * MS).contains(&put_back), "{put_back:?}");
        for number in 0..1000 {
            usage.add(ConnectionId::next(), MS, begin + number * 100 * MS);
        }
        assert!(usage.recent.len() < 200, "{}", usage.recent.len());
    }
}
