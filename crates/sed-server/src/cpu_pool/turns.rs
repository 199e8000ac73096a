//! The order of work on pixels: by turns of the connections, and large work never on all threads.

use std::time::{Duration, Instant};

use crate::{memory::ConnectionId, usage::Usage};

/// Work that goes through more bytes than this is large. A picture of 1280 x 720 pixels for a network of 768 x
/// 768 is not; one of 1920 x 1080 is, and a message that may be unpacked to the usual limit.
const LARGE: u64 = 16 << 20;

/// The connection that some work is for, and the bytes that it goes through: an estimate, of pixels and their
/// copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) connection: ConnectionId,
    pub(crate) bytes: u64,
}

impl Load {
    fn is_large(self) -> bool {
        self.bytes > LARGE
    }
}

/// Work that waits, in the order in which it came.
#[derive(Debug)]
pub(super) struct Turns<W> {
    waiting: Vec<Waiting<W>>,
    usage: Usage,
    large_running: usize,
    most_large: usize,
}

#[derive(Debug)]
struct Waiting<W> {
    load: Load,
    arrived: Instant,
    work: W,
}

impl<W> Turns<W> {
    /// No work yet; of large work at most so much runs at the same time.
    pub(super) fn new(most_large: usize) -> Self {
        Self { waiting: Vec::new(), usage: Usage::default(), large_running: 0, most_large }
    }

    pub(super) fn push(&mut self, load: Load, work: W, now: Instant) {
        self.waiting.push(Waiting { load, arrived: now, work });
    }

    /// Reports whether any work waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Removes the next work; the caller says when it has ended. `None` where none waits, or only
    /// large work that may not begin.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Load, W)> {
        let takes_large = self.large_running < self.most_large;
        let fits = |waiting: &Waiting<W>| takes_large || !waiting.load.is_large();
        let turn = |waiting: &Waiting<W>| {
            self.usage.turn(waiting.load.connection, Duration::ZERO, waiting.arrived, now)
        };
        let waiting = self.waiting.iter().enumerate().filter(|(_, waiting)| fits(waiting));
        let (index, _) = waiting.min_by_key(|(_, waiting)| turn(waiting))?;
        let Waiting { load, work, .. } = self.waiting.remove(index);
        self.large_running += usize::from(load.is_large());
        Some((load, work))
    }

    /// Accounts for work that took so long.
    pub(super) fn end(&mut self, load: Load, took: Duration, now: Instant) {
        self.large_running -= usize::from(load.is_large());
        self.usage.add(load.connection, took, now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn small(connection: ConnectionId) -> Load {
        Load { connection, bytes: 1 }
    }

    fn large(connection: ConnectionId) -> Load {
        Load { connection, bytes: LARGE + 1 }
    }

    #[test]
    fn a_connection_that_took_long_is_behind_one_that_did_not() {
        let [slow, quick] = [(); 2].map(|()| ConnectionId::next());
        let mut turns = Turns::new(1);
        let now = Instant::now();
        for name in ["first", "second", "third"] {
            turns.push(small(slow), name, now);
        }
        let (load, work) = turns.next(now).unwrap();
        assert_eq!(work, "first");
        turns.push(small(quick), "quick", now + 10 * MS);
        turns.end(load, 100 * MS, now + 100 * MS);
        let mut order = Vec::new();
        while let Some((load, work)) = turns.next(now + 100 * MS) {
            order.push(work);
            turns.end(load, MS, now + 100 * MS);
        }
        assert_eq!(order, ["quick", "second", "third"]);
    }

    #[test]
    fn large_work_leaves_threads_to_small_work() {
        let [one, other] = [(); 2].map(|()| ConnectionId::next());
        let mut turns = Turns::new(1);
        let now = Instant::now();
        turns.push(large(one), "large", now);
        turns.push(large(one), "large too", now);
        let (first, _) = turns.next(now).unwrap();
        assert!(turns.next(now).is_none() && !turns.is_empty());
        turns.push(small(other), "small", now);
        assert_eq!(turns.next(now).unwrap().1, "small");
        turns.end(first, MS, now);
        assert_eq!(turns.next(now).unwrap().1, "large too");
        assert!(turns.is_empty());
    }

    proptest! {
        /// Whatever comes, all work gets its turn, and large work keeps to its bound.
        #[test]
        fn nothing_is_lost(steps in prop::collection::vec((0_usize..4, any::<bool>(), 0_u32..2000), 0..100)) {
            let connections = [(); 4].map(|()| ConnectionId::next());
            let mut turns = Turns::new(2);
            let (mut now, mut pushed, mut ended) = (Instant::now(), 0, 0);
            let mut running = Vec::new();
            for (index, is_large, millis) in steps {
                now += millis * MS;
                let connection = connections[index];
                turns.push(if is_large { large(connection) } else { small(connection) }, (), now);
                pushed += 1;
                running.extend(turns.next(now).map(|(load, ())| load));
                prop_assert!(turns.large_running <= 2);
                if millis > 1000 && let Some(load) = running.pop() {
                    turns.end(load, millis * MS, now);
                    ended += 1;
                }
            }
            loop {
                while let Some((load, ())) = turns.next(now) {
                    running.push(load);
                }
                let Some(load) = running.pop() else { break };
                turns.end(load, MS, now);
                ended += 1;
            }
            prop_assert_eq!((ended, turns.large_running, turns.is_empty()), (pushed, 0, true));
        }
    }
}
