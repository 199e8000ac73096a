//! The mailbox of the device thread, for messages that arrive while it works.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    admission::queue_slot::QueueSlot, preparing::Assignment, scheduler::task::Arrival,
    stages::phrases::TokenPhrase,
};

/// A message to the device thread.
#[derive(Debug)]
pub(crate) enum Event {
    /// A request was admitted.
    Arrived(Box<Arrival>),
    /// A vocabulary is to be prepared.
    Assigned(Box<Assignment>),
    /// The directory of text embeddings was asked for a phrase.
    WasRead { phrase: TokenPhrase, found: Option<Vec<u8>> },
}

/// Time to wait for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    No,
    For(Duration),
    Forever,
}

/// A mailbox with many senders and one receiver. Admission bounds the requests in it: one whose caller has
/// gone is withdrawn.
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
    /// Adds a message. A closed inbox returns it as the error, unless it is the answer to a question of the
    /// thread.
    pub(crate) fn push(&self, event: Event) -> Result<(), Event> {
        let mut state = self.lock();
        if state.closed && !matches!(event, Event::WasRead { .. }) {
            return Err(event);
        }
        state.events.push_back(event);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Removes and returns the request of a slot, if the thread has not seen it yet.
    pub(crate) fn withdraw(&self, slot: &Arc<QueueSlot>) -> Option<Arrival> {
        let is_wanted = |event: &Event| match event {
            Event::Arrived(request) => Arc::ptr_eq(&request.ticket.slot, slot),
            Event::Assigned(_) | Event::WasRead { .. } => false,
        };
        let mut state = self.lock();
        let index = state.events.iter().position(is_wanted)?;
        match state.events.remove(index)? {
            Event::Arrived(request) => Some(*request),
            Event::Assigned(_) | Event::WasRead { .. } => None,
        }
    }

    /// Drains the inbox, blocking according to `wait` while it is empty and open. Also returns whether it is
    /// closed.
    pub(crate) fn take(&self, wait: Wait) -> (VecDeque<Event>, bool) {
        let mut state = self.lock();
        let quiet = |state: &mut State| state.events.is_empty() && !state.closed;
        state = match wait {
            Wait::No => state,
            Wait::Forever => self.changed.wait_while(state, quiet).unwrap_or_else(PoisonError::into_inner),
            Wait::For(patience) => {
                let waited = self.changed.wait_timeout_while(state, patience, quiet);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        (std::mem::take(&mut state.events), state.closed)
    }

    /// Closes the inbox to requests. Returns those that the thread has not seen yet; preparations end.
    pub(crate) fn close(&self) -> Vec<Arrival> {
        let mut state = self.lock();
        state.closed = true;
        let (answers, asked): (VecDeque<_>, VecDeque<_>) =
            state.events.drain(..).partition(|event| matches!(event, Event::WasRead { .. }));
        state.events = answers;
        drop(state);
        self.changed.notify_all();
        let request = |event| match event {
            Event::Arrived(request) => Some(*request),
            Event::Assigned(_) | Event::WasRead { .. } => None,
        };
        asked.into_iter().filter_map(request).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves the mailbox half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
