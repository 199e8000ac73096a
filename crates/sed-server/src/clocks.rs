//! Fair shares of what connections use in turns: places, threads.
//!
//! Fair queueing by start times (P. Goyal, H. M. Vin, H. Cheng, "Start-time Fair Queueing", SIGCOMM 1996):
//! a connection's clock advances by the time for which it uses something, and the one whose clock is behind
//! goes first. A connection that was idle gets no credit for that: no clock is behind that of the use that
//! began last. So one that uses much delays its own requests, not those of others, for longer than one use
//! takes.

use std::{collections::HashMap, time::Duration};

use crate::memory::ConnectionId;

/// The clocks of all connections.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    /// Those that are ahead of `now`; that of any other connection is `now`.
    ahead: HashMap<ConnectionId, Duration>,
    /// The clock of the use that began last.
    now: Duration,
}

impl Clocks {
    /// The clock of a connection.
    pub(crate) fn of(&self, connection: ConnectionId) -> Duration {
        self.ahead.get(&connection).map_or(self.now, |clock| self.now.max(*clock))
    }

    /// Notes that a connection begins to use something, and returns its clock.
    pub(crate) fn begin(&mut self, connection: ConnectionId) -> Duration {
        self.now = self.of(connection);
        self.now
    }

    /// Notes that a use which began at `begin` of the connection's clock has ended after such a time.
    pub(crate) fn end(&mut self, connection: ConnectionId, begin: Duration, used: Duration) {
        // Several uses may have begun at the same time of the clock.
        let clock = self.ahead.get(&connection).copied().unwrap_or(begin) + used;
        self.ahead.insert(connection, clock);
        let now = self.now;
        self.ahead.retain(|_, clock| *clock > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_used_more_is_behind_and_idleness_is_no_credit() {
        let [busy, idle] = [(); 2].map(|()| ConnectionId::next());
        let mut clocks = Clocks::default();
        for _ in 0..10 {
            let begin = clocks.begin(busy);
            clocks.end(busy, begin, SECOND);
        }
        assert_eq!((clocks.of(busy), clocks.of(idle)), (10 * SECOND, 9 * SECOND));
        let begin = clocks.begin(idle);
        clocks.end(idle, begin, 5 * SECOND);
        assert_eq!(clocks.of(idle), 14 * SECOND);
        clocks.begin(busy);
        clocks.begin(idle);
        clocks.end(busy, SECOND, SECOND);
        assert!(clocks.ahead.is_empty(), "clocks that are not ahead are forgotten");
    }

    #[test]
    fn uses_at_the_same_time_add_up() {
        let connection = ConnectionId::next();
        let mut clocks = Clocks::default();
        let begins = [(); 3].map(|()| clocks.begin(connection));
        begins.iter().for_each(|begin| clocks.end(connection, *begin, SECOND));
        assert_eq!(clocks.of(connection), 3 * SECOND);
    }
}
