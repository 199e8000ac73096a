//! Runs against a simulated server, on a simulated clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Mutex, time::Instant};

use super::*;
use crate::{
    sample::{Answer, Failure},
    tally::LoadResult,
};

const SERVICE: Duration = Duration::from_millis(1);
const STALL: Duration = Duration::from_secs(1);

/// A server that answers one request after the other, and stalls once for a second.
#[derive(Clone)]
struct OneAfterTheOther {
    begin: Instant,
    stalled: Arc<Mutex<bool>>,
    waiting: Arc<AtomicUsize>,
    most_waiting: Arc<AtomicUsize>,
    /// The last of every `fails_every` requests fails.
    fails_every: u64,
}

impl OneAfterTheOther {
    fn new(fails_every: u64) -> Self {
        Self {
            begin: Instant::now(),
            stalled: Arc::default(),
            waiting: Arc::default(),
            most_waiting: Arc::default(),
            fails_every,
        }
    }
}

impl Call for OneAfterTheOther {
    async fn call(&self, number: u64) -> Result<Box<Answer>, Failure> {
        let waiting = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_waiting.fetch_max(waiting, Ordering::SeqCst);
        let mut stalled = self.stalled.lock().await;
        if !*stalled && self.begin.elapsed() > Duration::from_secs(5) {
            *stalled = true;
            tokio::time::sleep(STALL).await;
        }
        tokio::time::sleep(SERVICE).await;
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        if number % self.fails_every == self.fails_every - 1 {
            return Err(Failure { code: "ResourceExhausted".into(), reason: "QUEUE_FULL".into() });
        }
        Ok(Box::new(Answer { server: SERVICE, ..Answer::default() }))
    }
}

async fn measured(call: &OneAfterTheOther, pace: Pace, end: End, stop: &Stop) -> LoadResult {
    let plan = Plan { pace, bounds: Bounds { warm_up: Duration::from_secs(1), end }, seed: 11 };
    let mut tally = Tally::default();
    drive(call, &plan, stop, &mut tally, &|_, _| {}).await;
    tally.result(stop.is_set())
}

const TEN_SECONDS: End = End::After(Duration::from_secs(10));

#[tokio::test(start_paused = true)]
async fn a_stall_shows_in_the_percentiles_of_an_open_loop() {
    let (_set, stop) = Stop::pair();
    let server = OneAfterTheOther::new(u64::MAX);
    let open = measured(&server, Pace::Open { rate: 100.0, most: 1000 }, TEN_SECONDS, &stop).await;
    assert_eq!(open.counts.succeeded, open.counts.attempted);
    // A tenth of the requests were due during the stall and waited for half a second in the mean.
    assert!(open.latency_ms.p95 > 300.0, "{:?}", open.latency_ms);
    assert!(open.latency_ms.p99 > 800.0, "{:?}", open.latency_ms);
    assert!(open.latency_ms.p50 < 10.0, "{:?}", open.latency_ms);

    // Without the correction, one client in one closed loop hardly notices.
    let server = OneAfterTheOther::new(u64::MAX);
    let closed = measured(&server, Pace::Closed { clients: 1 }, TEN_SECONDS, &stop).await;
    assert!(closed.latency_ms.p99_9 < 10.0 && closed.latency_ms.max > 900.0, "{:?}", closed.latency_ms);
}

#[tokio::test(start_paused = true)]
async fn what_exceeds_the_bound_is_dropped_and_counted() {
    let (_set, stop) = Stop::pair();
    let server = OneAfterTheOther::new(u64::MAX);
    let result = measured(&server, Pace::Open { rate: 100.0, most: 20 }, TEN_SECONDS, &stop).await;
    let counts = result.counts;
    assert_eq!(server.most_waiting.load(Ordering::SeqCst), 20);
    // Of about 100 that are due during the stall, 20 may wait.
    assert!((40..140).contains(&counts.dropped), "{counts:?}");
    assert_eq!(counts.attempted, counts.succeeded + counts.dropped);
}

#[tokio::test(start_paused = true)]
async fn a_closed_loop_keeps_its_clients_busy_and_counts_failures() {
    let (_set, stop) = Stop::pair();
    let server = OneAfterTheOther::new(10);
    let result = measured(&server, Pace::Closed { clients: 4 }, End::Requests(200), &stop).await;
    let counts = result.counts;
    assert_eq!(server.most_waiting.load(Ordering::SeqCst), 4);
    assert_eq!((counts.attempted, counts.dropped, counts.abandoned), (200, 0, 0));
    assert_eq!(counts.failed, 20);
    assert_eq!(result.errors.len(), 1);
    assert_eq!((result.errors[0].reason.as_str(), result.errors[0].count), ("QUEUE_FULL", 20));
    // One request a millisecond at most, less the pauses behind failures.
    assert!((100.0..1000.0).contains(&result.throughput), "{}", result.throughput);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_ended_early_gives_what_it_has() {
    let (set, stop) = Stop::pair();
    let server = OneAfterTheOther::new(u64::MAX);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(5500)).await; // amid the stall
        set.send(true).unwrap();
        std::future::pending::<()>().await;
    });
    let result = measured(&server, Pace::Closed { clients: 3 }, TEN_SECONDS, &stop).await;
    assert!(result.interrupted);
    assert_eq!(result.counts.abandoned, 3);
    assert_eq!(result.counts.attempted, result.counts.succeeded + 3);
    assert!((result.seconds - 4.5).abs() < 0.1, "{}", result.seconds);
}
