//! The order of work on pixels: by the time that threads spent for each connection, and large work never on
//! all threads.

use std::time::Duration;

use crate::{clocks::Clocks, memory::ConnectionId};

/// Work that goes through more bytes than this is large: a picture of 1920 x 1080 is not, decoded some 10
/// ms.
const LARGE: u64 = 16 << 20;

/// The connection that some work is for, and the bytes that it goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) connection: ConnectionId,
    /// An estimate, of pixels and their copies. Words count for more: see [`Load::of_words`].
    pub(crate) bytes: u64,
}

impl Load {
    /// The load of words of so many bytes: a tokenizer needs some sixteen times as long for each.
    pub(crate) fn of_words(connection: ConnectionId, bytes: usize) -> Self {
        Self { connection, bytes: 16 * bytes as u64 }
    }

    fn is_large(self) -> bool {
        self.bytes > LARGE
    }
}

/// Work that waits, in the order in which it is to begin.
#[derive(Debug)]
pub(super) struct Turns<W> {
    waiting: Vec<Waiting<W>>,
    clocks: Clocks,
    large_running: usize,
    most_large: usize,
}

#[derive(Debug)]
struct Waiting<W> {
    load: Load,
    work: W,
}

/// Work whose turn has come.
#[derive(Debug)]
pub(super) struct Turn<W> {
    pub(super) work: W,
    load: Load,
    begin: Duration,
}

/// The account of work that was taken, for [`Turns::end`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    load: Load,
    begin: Duration,
}

impl<W> Turn<W> {
    pub(super) fn split(self) -> (W, Account) {
        (self.work, Account { load: self.load, begin: self.begin })
    }
}

impl<W> Turns<W> {
    /// No work yet; of large work at most so much runs at the same time.
    pub(super) fn new(most_large: usize) -> Self {
        Self { waiting: Vec::new(), clocks: Clocks::default(), large_running: 0, most_large }
    }

    pub(super) fn push(&mut self, load: Load, work: W) {
        self.waiting.push(Waiting { load, work });
    }

    /// Removes the next work; the caller says when it has ended. `None` where none waits, or only
    /// large work that may not begin.
    pub(super) fn next(&mut self, may_be_large: bool) -> Option<Turn<W>> {
        let takes_large = may_be_large && self.large_running < self.most_large;
        let fits = |waiting: &Waiting<W>| takes_large || !waiting.load.is_large();
        let waiting = self.waiting.iter().enumerate().filter(|(_, waiting)| fits(waiting));
        let (index, _) = waiting.min_by_key(|(_, waiting)| self.clocks.of(waiting.load.connection))?;
        let Waiting { load, work } = self.waiting.remove(index); // the others stay in the order in which they came
        self.large_running += usize::from(load.is_large());
        Some(Turn { work, load, begin: self.clocks.begin(load.connection) })
    }

    /// Accounts for work that took so long.
    pub(super) fn end(&mut self, Account { load, begin }: Account, took: Duration) {
        self.large_running -= usize::from(load.is_large());
        self.clocks.end(load.connection, begin, took);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

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
        for name in ["first", "second", "third"] {
            turns.push(small(slow), name);
        }
        let (work, account) = turns.next(true).unwrap().split();
        assert_eq!(work, "first");
        turns.push(small(quick), "quick");
        turns.push(small(quick), "quick again");
        turns.end(account, SECOND);
        let mut order = Vec::new();
        while let Some(turn) = turns.next(true) {
            let (work, account) = turn.split();
            order.push(work);
            turns.end(account, SECOND / 10);
        }
        assert_eq!(order, ["quick", "quick again", "second", "third"]);
    }

    #[test]
    fn large_work_leaves_threads_to_small_work() {
        let [one, other] = [(); 2].map(|()| ConnectionId::next());
        let mut turns = Turns::new(1);
        turns.push(large(one), "large");
        turns.push(large(one), "large too");
        let (_, first) = turns.next(true).unwrap().split();
        assert!(turns.next(true).is_none());
        turns.push(small(other), "small");
        assert_eq!(turns.next(true).unwrap().work, "small");
        turns.end(first, SECOND);
        assert!(turns.next(false).is_none());
        assert_eq!(turns.next(true).unwrap().work, "large too");
    }

    proptest! {
        /// Whatever comes, all work gets its turn, and large work keeps to its bound.
        #[test]
        fn nothing_is_lost(steps in prop::collection::vec((0_usize..4, any::<bool>(), 0_u32..2000), 0..100)) {
            let connections = [(); 4].map(|()| ConnectionId::next());
            let mut turns = Turns::new(2);
            let (mut pushed, mut running, mut ended) = (0, Vec::new(), 0);
            for (index, is_large, millis) in steps {
                let connection = connections[index];
                turns.push(if is_large { large(connection) } else { small(connection) }, ());
                pushed += 1;
                if let Some(turn) = turns.next(millis % 2 == 0) {
                    running.push(turn.split().1);
                }
                prop_assert!(turns.large_running <= 2);
                if millis > 1000 && let Some(account) = running.pop() {
                    turns.end(account, Duration::from_millis(u64::from(millis)));
                    ended += 1;
                }
            }
            loop {
                while let Some(turn) = turns.next(true) {
                    running.push(turn.split().1);
                }
                let Some(account) = running.pop() else { break };
                turns.end(account, SECOND);
                ended += 1;
            }
            prop_assert_eq!((ended, turns.large_running, turns.waiting.len()), (pushed, 0, 0));
        }
    }
}
