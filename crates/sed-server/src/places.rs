//! Places for the requests that are worked on at the same time, those of streams included. A request takes
//! one when it is complete, and releases it when its answer is sent.
//!
//! Requests that wait for a place get it in the order in which they came, but those of a connection that held
//! places for longer lately are put back (see [`Usage`]). The last few are kept for connections that
//! hold none, and one whose transfers had to be ended for others may hold fewer. So a connection that sends
//! many requests at once, or does not read its answers, delays its own rather than those of others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sed_proto::v1::ErrorReason;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout_at},
};
use tonic::Status;

use crate::{
    memory::{ConnectionId, Transfers},
    metrics::ServerMetrics,
    status::{self, Failure},
    usage::Usage,
};

/// Time that a call waits for a place: as long as it would be told to wait for its next try.
const PATIENCE: Duration = Duration::from_millis(500);
/// Interval at which a call that waits looks for an answer that its client does not read.
const AGAIN: Duration = Duration::from_millis(50);
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
    transfers: Transfers,
    state: Mutex<State>,
    metrics: Arc<ServerMetrics>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// When each place was taken that a connection holds; none of those that hold no place.
    held: HashMap<ConnectionId, Vec<Instant>>,
    usage: Usage,
    /// Requests that wait, in the order in which they came.
    waiting: Vec<Waiter>,
    /// Number of the next request that waits.
    next: u64,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    connection: ConnectionId,
    arrived: Instant,
    place: oneshot::Sender<Place>,
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Arc<Shared>,
    connection: ConnectionId,
    since: Instant,
}

impl Places {
    /// So many places. Answers among `transfers` hold them.
    pub(crate) fn new(most: usize, transfers: Transfers, metrics: Arc<ServerMetrics>) -> Self {
        metrics.concurrent_requests_capacity.set(most as f64);
        Self { shared: Arc::new(Shared { most, transfers, state: Mutex::default(), metrics }) }
    }

    /// Acquires a place for a call, or returns a refusal if none becomes free soon.
    pub(crate) async fn take(&self, connection: ConnectionId) -> Result<Place, Status> {
        let place = self.wait_until(Instant::now() + PATIENCE, connection).await;
        place.ok_or_else(|| {
            let own = self.shared.transfers.most_of(connection);
            let most = self.shared.most.min(own);
            let message = if own < self.shared.most {
                format!(
                    "this connection may have {own} requests at once, since one that it did not send or read fast \
                     enough held up others; retry in a moment"
                )
            } else {
                format!("the server works on {most} requests already; retry in a moment")
            };
            let failure = Failure::new(ErrorReason::QueueFull, message).quota("concurrent requests", most);
            failure.retry_after(PATIENCE).into_status()
        })
    }

    /// Waits for a place until the deadline of a request.
    pub(crate) async fn wait(&self, deadline: Instant, connection: ConnectionId) -> Result<Place, Status> {
        let place = self.wait_until(deadline, connection).await;
        place.ok_or_else(status::deadline_exceeded)
    }

    async fn wait_until(&self, end: Instant, connection: ConnectionId) -> Option<Place> {
        let (place, waiting) = {
            let mut state = self.shared.lock();
            if self.shared.may_take(&state, connection) {
                return Some(Place::new(&self.shared, &mut state, connection));
            }
            let (sender, place) = oneshot::channel();
            let number = state.next;
            state.next += 1;
            state.waiting.push(Waiter { number, connection, arrived: Instant::now(), place: sender });
            (place, Waiting { shared: &self.shared, number })
        };
        let make_room = async {
            loop {
                self.shared.transfers.end_slowest_answer(); // it holds a place
                sleep(AGAIN).await;
                self.shared.serve(); // its connection may be allowed more by now
            }
        };
        let place = tokio::select! {
            biased;
            place = timeout_at(end, place) => place,
            () = make_room => return None, // never
        };
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
        let since = Instant::now();
        state.taken += 1;
        state.held.entry(connection).or_default().push(since);
        shared.metrics.concurrent_requests.set(state.taken as f64);
        Self { shared: Arc::clone(shared), connection, since }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.lock().release(self);
        self.shared.serve();
    }
}

impl State {
    fn release(&mut self, place: &Place) {
        self.taken -= 1;
        if let Some(held) = self.held.get_mut(&place.connection) {
            if let Some(index) = held.iter().position(|since| *since == place.since) {
                held.swap_remove(index);
            }
            if held.is_empty() {
                self.held.remove(&place.connection);
            }
        }
        self.usage.add(place.connection, place.since.elapsed(), Instant::now().into_std());
        place.shared.metrics.concurrent_requests.set(self.taken as f64);
    }

    fn held_by(&self, connection: ConnectionId) -> usize {
        self.held.get(&connection).map_or(0, Vec::len)
    }

    fn next_waiter(&mut self, shared: &Shared) -> Option<Waiter> {
        let now = Instant::now();
        let turn = |waiter: &Waiter| {
            let held = self.held.get(&waiter.connection).into_iter().flatten();
            let running = held.map(|since| now - *since).sum();
            self.usage.turn(waiter.connection, running, waiter.arrived.into_std(), now.into_std())
        };
        let waiters = self.waiting.iter().enumerate();
        let fitting = waiters.filter(|(_, waiter)| shared.may_take(self, waiter.connection));
        let (index, _) = fitting.min_by_key(|(_, waiter)| turn(waiter))?;
        Some(self.waiting.remove(index))
    }
}

impl Shared {
    /// Hands free places to those that wait for one.
    fn serve(self: &Arc<Self>) {
        loop {
            let mut state = self.lock();
            let Some(next) = state.next_waiter(self) else { return };
            let place = Place::new(self, &mut state, next.connection);
            drop(state);
            // That of a request which has just gone is dropped here, and passed on to the next.
            drop(next.place.send(place));
        }
    }

    /// Reports whether a place is free that a connection may take.
    fn may_take(&self, state: &State, connection: ConnectionId) -> bool {
        let held = state.held_by(connection);
        let kept = if held > 0 { (self.most / KEPT_PART).min(MOST_KEPT) } else { 0 };
        state.taken < self.most - kept && held < self.transfers.most_of(connection)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics;

    fn places(most: usize) -> Places {
        let metrics = metrics::off();
        Places::new(most, Transfers::new(4, Duration::from_secs(10), Arc::clone(&metrics)), metrics)
    }

    /// Acquires a place, notes its turn, and holds it for a moment.
    async fn visit(
        places: &Places,
        order: &Mutex<Vec<&'static str>>,
        connection: ConnectionId,
        name: &'static str,
    ) {
        let place = places.take(connection).await.unwrap();
        order.lock().unwrap().push(name);
        tokio::time::sleep(PATIENCE / 10).await;
        drop(place);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_for_a_place_for_a_moment() {
        let places = places(1);
        let connection = ConnectionId::next();
        let first = places.take(connection).await.unwrap();
        let begun = Instant::now();
        places.take(connection).await.unwrap_err();
        assert_eq!(begun.elapsed(), PATIENCE);
        let (waited, ()) = tokio::join!(places.take(connection), async {
            tokio::time::sleep(PATIENCE / 2).await;
            drop(first);
        });
        drop(waited.unwrap());
        places.take(connection).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn connections_take_turns() {
        let places = places(2);
        let (busy, quiet) = (ConnectionId::next(), ConnectionId::next());
        let first = places.take(busy).await.unwrap();
        let second = places.take(busy).await.unwrap();
        let order = Mutex::new(Vec::new());
        let one = |connection, name| visit(&places, &order, connection, name);
        let release = async |place| {
            tokio::time::sleep(PATIENCE / 10).await;
            drop(place);
        };
        tokio::join!(one(busy, "busy"), one(busy, "busy too"), one(quiet, "quiet"), release(first));
        assert_eq!(*order.lock().unwrap(), ["quiet", "busy", "busy too"]);
        drop(second);
        assert!(places.shared.lock().held.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_held_a_place_for_long_is_behind_others() {
        let places = places(1);
        let (slow, quick) = (ConnectionId::next(), ConnectionId::next());
        let held = places.take(slow).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let order = Mutex::new(Vec::new());
        let one = |connection, name| visit(&places, &order, connection, name);
        tokio::join!(one(slow, "slow"), one(quick, "quick"), one(quick, "quick again"), async { drop(held) });
        assert_eq!(*order.lock().unwrap(), ["quick", "quick again", "slow"]);
    }

    #[tokio::test(start_paused = true)]
    async fn new_connections_do_not_starve_one_that_stays() {
        let places = places(1);
        for _ in 0..12 {
            let places = places.clone();
            tokio::spawn(async move {
                loop {
                    let place = places.take(ConnectionId::next()).await;
                    tokio::time::sleep(Duration::from_millis(15)).await;
                    drop(place);
                }
            });
        }
        let steady = ConnectionId::next();
        for _ in 0..20 {
            let place = places.take(steady).await.unwrap();
            tokio::time::sleep(Duration::from_millis(15)).await;
            drop(place);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_place_is_for_a_connection_without_one() {
        let places = places(4);
        let (busy, quiet) = (ConnectionId::next(), ConnectionId::next());
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(places.take(busy).await.unwrap());
        }
        places.take(busy).await.unwrap_err();
        let begun = Instant::now();
        let last = places.take(quiet).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
        drop(held.pop()); // now the last one that is free
        places.take(busy).await.unwrap_err();
        drop(last);
        places.take(busy).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_passes_requests_that_have_gone() {
        let places = places(1);
        let connection = ConnectionId::next();
        let first = places.take(connection).await.unwrap();
        let [mut gone, mut stays] = [(); 2].map(|()| Box::pin(places.take(connection)));
        for waiting in [&mut gone, &mut stays] {
            timeout_at(Instant::now(), waiting.as_mut()).await.unwrap_err();
        }
        drop(first); // to the one that has not looked yet
        drop(gone);
        stays.await.unwrap();
    }
}
