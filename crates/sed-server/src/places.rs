//! Places for the requests that are worked on at the same time, those of streams included. A request takes
//! one when it is complete, and releases it when its answer is sent.
//!
//! Requests that wait for a place get it by turns of their connections: a free place goes to the connection
//! that holds the fewest, and among those to the request that came first. The last few are kept for
//! connections that hold none. So a connection that sends many requests at once, or does not read its
//! answers, delays its own, not those of others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sed_engine::metrics::{CONCURRENT_REQUESTS, CONCURRENT_REQUESTS_CAPACITY};
use sed_proto::v1::ErrorReason;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tonic::Status;

use crate::{
    memory::{ConnectionId, Transfers},
    status::{self, Failure},
};

/// Time that a call waits for a place: as long as it would be told to wait for its next try.
const PATIENCE: Duration = Duration::from_millis(500);
/// The part of the places that is kept for connections without one: a quarter, but no more than four.
const KEPT_PART: usize = 4;
const MOST_KEPT: usize = 4;

/// A fixed number of places. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// Places that each connection holds; none of those that hold no place.
    held: HashMap<ConnectionId, usize>,
    /// Requests that wait, in the order in which they came.
    waiting: Vec<Waiter>,
    /// Number of the next request that waits.
    next: u64,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    connection: ConnectionId,
    place: oneshot::Sender<Place>,
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Arc<Shared>,
    connection: ConnectionId,
}

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        CONCURRENT_REQUESTS_CAPACITY.set(most as f64);
        Self { shared: Arc::new(Shared { most, state: Mutex::default() }) }
    }

    /// Acquires a place for a call, or returns a refusal if none becomes free soon.
    pub(crate) async fn take(
        &self,
        connection: ConnectionId,
        transfers: &Transfers,
    ) -> Result<Place, Status> {
        let place = self.wait_until(Instant::now() + PATIENCE, connection, transfers).await;
        place.ok_or_else(|| {
            let most = self.shared.most;
            let message = format!("the server works on {most} requests already; retry in a moment");
            let failure = Failure::new(ErrorReason::QueueFull, message).quota("concurrent requests", most);
            failure.retry_after(PATIENCE).into_status()
        })
    }

    /// Waits for a place until the deadline of a request.
    pub(crate) async fn wait(
        &self,
        deadline: Instant,
        connection: ConnectionId,
        transfers: &Transfers,
    ) -> Result<Place, Status> {
        let place = self.wait_until(deadline, connection, transfers).await;
        place.ok_or_else(status::deadline_exceeded)
    }

    async fn wait_until(
        &self,
        end: Instant,
        connection: ConnectionId,
        transfers: &Transfers,
    ) -> Option<Place> {
        let (place, waiting) = {
            let mut state = self.shared.lock();
            if state.taken < self.shared.most_for(&state, connection) {
                return Some(Place::new(&self.shared, &mut state, connection));
            }
            let (sender, place) = oneshot::channel();
            let number = state.next;
            state.next += 1;
            state.waiting.push(Waiter { number, connection, place: sender });
            (place, Waiting { shared: &self.shared, number })
        };
        transfers.end_slowest_answer(); // it holds a place
        let place = timeout_at(end, place).await;
        drop(waiting);
        place.ok()?.ok()
    }
}

/// A request's entry among those that wait, until it is dropped.
struct Waiting<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.lock().waiting.retain(|waiter| waiter.number != self.number);
    }
}

impl Place {
    fn new(shared: &Arc<Shared>, state: &mut State, connection: ConnectionId) -> Self {
        state.taken += 1;
        *state.held.entry(connection).or_default() += 1;
        CONCURRENT_REQUESTS.set(state.taken as f64);
        Self { shared: Arc::clone(shared), connection }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.release(self.connection);
        let Some(next) = state.next_waiter(&self.shared) else { return };
        let place = Self::new(&self.shared, &mut state, next.connection);
        drop(state);
        // One whose request has just gone passes on to the next.
        drop(next.place.send(place));
    }
}

impl State {
    fn release(&mut self, connection: ConnectionId) {
        self.taken -= 1;
        if let Some(held) = self.held.get_mut(&connection) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&connection);
            }
        }
        CONCURRENT_REQUESTS.set(self.taken as f64);
    }

    fn held_by(&self, connection: ConnectionId) -> usize {
        self.held.get(&connection).copied().unwrap_or(0)
    }

    fn next_waiter(&mut self, shared: &Shared) -> Option<Waiter> {
        let waiters = self.waiting.iter().enumerate();
        let (index, next) = waiters.min_by_key(|(_, waiter)| self.held_by(waiter.connection))?;
        (self.taken < shared.most_for(self, next.connection)).then(|| self.waiting.remove(index))
    }
}

impl Shared {
    /// The places of which a connection may take one.
    fn most_for(&self, state: &State, connection: ConnectionId) -> usize {
        let kept = if state.held_by(connection) > 0 { (self.most / KEPT_PART).min(MOST_KEPT) } else { 0 };
        self.most - kept
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfers() -> Transfers {
        Transfers::new(4, Duration::from_secs(10))
    }

    async fn take(places: &Places, connection: ConnectionId) -> Result<Place, Status> {
        places.take(connection, &transfers()).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_for_a_place_for_a_moment() {
        let places = Places::new(1);
        let connection = ConnectionId::next();
        let first = take(&places, connection).await.unwrap();
        let begun = Instant::now();
        take(&places, connection).await.unwrap_err();
        assert_eq!(begun.elapsed(), PATIENCE);
        let (waited, ()) = tokio::join!(take(&places, connection), async {
            tokio::time::sleep(PATIENCE / 2).await;
            drop(first);
        });
        drop(waited.unwrap());
        take(&places, connection).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn connections_take_turns() {
        let places = Places::new(2);
        let (busy, quiet) = (ConnectionId::next(), ConnectionId::next());
        let first = take(&places, busy).await.unwrap();
        let second = take(&places, busy).await.unwrap();
        let order = Mutex::new(Vec::new());
        let one = async |connection, name| {
            let place = take(&places, connection).await.unwrap();
            order.lock().unwrap().push(name);
            tokio::time::sleep(PATIENCE / 10).await;
            drop(place);
        };
        tokio::join!(one(busy, "busy"), one(busy, "busy too"), one(quiet, "quiet"), async { drop(first) });
        assert_eq!(*order.lock().unwrap(), ["quiet", "busy", "busy too"]);
        drop(second);
        assert!(places.shared.lock().held.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_place_is_for_a_connection_without_one() {
        let places = Places::new(4);
        let (busy, quiet) = (ConnectionId::next(), ConnectionId::next());
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(take(&places, busy).await.unwrap());
        }
        take(&places, busy).await.unwrap_err();
        let begun = Instant::now();
        let last = take(&places, quiet).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
        drop(held.pop()); // now the last one that is free
        take(&places, busy).await.unwrap_err();
        drop(last);
        take(&places, busy).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_passes_requests_that_have_gone() {
        let places = Places::new(1);
        let connection = ConnectionId::next();
        let first = take(&places, connection).await.unwrap();
        let [mut gone, mut stays] = [(); 2].map(|()| Box::pin(take(&places, connection)));
        for waiting in [&mut gone, &mut stays] {
            timeout_at(Instant::now(), waiting.as_mut()).await.unwrap_err();
        }
        drop(first); // to the one that has not looked yet
        drop(gone);
        stays.await.unwrap();
    }
}
