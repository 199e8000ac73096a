//! What the device thread is told while it works.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{phrases::TokenPhrase, ticket::Ticket};

/// News for the device thread.
#[derive(Debug)]
pub(crate) enum Event {
    /// A request has been let in.
    Arrived(Box<Ticket>),
    /// The directory of text embeddings was asked for a phrase.
    WasRead { phrase: TokenPhrase, found: Option<Vec<u8>> },
}

/// A mailbox that many fill and one thread empties. What is in it is bounded by admission.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Event>,
    closed: bool,
}

impl Inbox {
    /// Leaves news; gives a request back when nobody comes for it any more.
    pub(crate) fn push(&self, event: Event) -> Result<(), Event> {
        let mut state = self.lock();
        if state.closed && matches!(event, Event::Arrived(_)) {
            return Err(event);
        }
        state.events.push_back(event);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Takes all news, waiting for some if `wait` says so; for ever if it says `None` within.
    pub(crate) fn take(&self, wait: Option<Option<Duration>>) -> (VecDeque<Event>, bool) {
        let mut state = self.lock();
        let quiet = |state: &mut State| state.events.is_empty() && !state.closed;
        state = match wait {
            None => state,
            Some(None) => self.changed.wait_while(state, quiet).unwrap_or_else(PoisonError::into_inner),
            Some(Some(patience)) => {
                let waited = self.changed.wait_timeout_while(state, patience, quiet);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        (std::mem::take(&mut state.events), state.closed)
    }

    /// Takes no more requests, and hands out those that the thread has not seen yet.
    pub(crate) fn close(&self) -> Vec<Ticket> {
        let mut state = self.lock();
        state.closed = true;
        let (requests, others): (VecDeque<_>, VecDeque<_>) =
            state.events.drain(..).partition(|event| matches!(event, Event::Arrived(_)));
        state.events = others;
        drop(state);
        self.changed.notify_all();
        let ticket = |event| match event {
            Event::Arrived(ticket) => Some(*ticket),
            Event::WasRead { .. } => None,
        };
        requests.into_iter().filter_map(ticket).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves the mailbox half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
