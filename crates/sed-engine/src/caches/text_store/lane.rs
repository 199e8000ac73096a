//! A queue of calls on the directory with a thread that makes them one after another. A call that hangs keeps
//! its thread, and another thread goes on with the queue.

use std::{
    collections::VecDeque,
    sync::mpsc,
    time::{Duration, Instant},
};

/// Threads of one lane that may hang in a call at the same time; with so many, the lane waits for one of
/// them.
const MOST_STUCK: usize = 4;

/// A lane for calls of type `C`.
#[derive(Debug)]
pub(super) struct Lane<C> {
    queue: VecDeque<C>,
    /// The thread that makes the calls, if there is one.
    thread: Option<mpsc::Sender<C>>,
    /// The beginning of the call that it makes.
    busy_since: Option<Instant>,
    /// Distinguishes the thread from those before it, which hang.
    generation: u64,
    stuck: usize,
    /// A call that takes longer hangs.
    patience: Duration,
}

impl<C: Send + 'static> Lane<C> {
    pub(super) fn new(patience: Duration) -> Self {
        Self { queue: VecDeque::new(), thread: None, busy_since: None, generation: 0, stuck: 0, patience }
    }

    pub(super) fn push(&mut self, call: C) {
        self.queue.push_back(call);
    }

    /// The call that comes next.
    pub(super) fn next(&self) -> Option<&C> {
        self.queue.front()
    }

    /// Hands the next call to the thread if it is free; reports whether it did. `start` starts a thread that
    /// makes the calls it receives and reports the end of each with the generation.
    pub(super) fn advance(&mut self, start: impl Fn(u64, mpsc::Receiver<C>) -> std::io::Result<()>) -> bool {
        if self.busy_since.is_some() || self.queue.is_empty() || self.stuck >= MOST_STUCK {
            return false;
        }
        let thread = match self.thread.take() {
            Some(thread) => thread,
            None => {
                let (sender, calls) = mpsc::channel();
                if let Err(error) = start(self.generation, calls) {
                    tracing::error!(%error, "no thread for the directory of text embeddings");
                    return false;
                }
                sender
            }
        };
        let Some(call) = self.queue.pop_front() else { return false };
        // The thread ends when its lane lets go of it; after a panic it is replaced once the call's time is
        // over.
        let _ = thread.send(call);
        (self.busy_since, self.thread) = (Some(Instant::now()), Some(thread));
        true
    }

    /// A call has ended. Reports whether it did so in time.
    pub(super) fn ended(&mut self, generation: u64) -> bool {
        let in_time = generation == self.generation;
        if in_time {
            self.busy_since = None;
        } else {
            self.stuck = self.stuck.saturating_sub(1);
        }
        in_time
    }

    /// The time after which the running call hangs.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.busy_since.map(|since| since + self.patience)
    }

    /// Abandons a thread whose call hangs; returns false if none does.
    pub(super) fn abandon_if_stuck(&mut self) -> bool {
        let hangs = self.deadline().is_some_and(|deadline| deadline <= Instant::now());
        if hangs {
            (self.thread, self.busy_since) = (None, None);
            self.generation += 1;
            self.stuck += 1;
        }
        hangs
    }

    /// Removes the calls that have not begun.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = C> {
        self.queue.drain(..)
    }

    /// Reports whether no call runs or waits.
    pub(super) fn is_idle(&self) -> bool {
        self.busy_since.is_none() && self.queue.is_empty()
    }

    /// Reports whether calls wait although none can be made.
    pub(super) fn is_blocked(&self) -> bool {
        self.busy_since.is_none() && !self.queue.is_empty()
    }
}
