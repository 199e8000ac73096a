//! Tickets for requests: they bound a run, and decide which requests count.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// Length of a run.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Requests that are due in this time from the beginning do not count.
    pub warm_up: Duration,
    /// The end of the run.
    pub end: End,
}

/// The end of a run.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// After this time, counted from the end of the warm-up.
    After(Duration),
    /// After this number of requests that count.
    Requests(u64),
}

/// Issues a numbered ticket for every request until the run is over.
#[derive(Debug)]
pub(crate) struct Tickets {
    begin: Instant,
    bounds: Bounds,
    given: AtomicU64,
    counted: AtomicU64,
}

/// The number of the first request of the warm-up: those that count are 0, 1, 2, ..., so that they are the
/// same requests in every run, and those that the model alone gets.
const WARM_UP: u64 = 1 << 63;

/// The right to send one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Its number, by which its request is drawn: from 0, or from [`WARM_UP`] in the warm-up.
    pub(crate) number: u64,
    /// True for a measured request, false in the warm-up.
    pub(crate) counts: bool,
}

impl Tickets {
    pub(crate) fn new(begin: Instant, bounds: Bounds) -> Self {
        Self { begin, bounds, given: AtomicU64::new(0), counted: AtomicU64::new(0) }
    }

    /// Time at which the measurement begins.
    pub(crate) fn window_begin(&self) -> Instant {
        self.begin + self.bounds.warm_up
    }

    /// Time at which the measurement ends; `None` where a number of requests ends it.
    pub(crate) fn window_end(&self) -> Option<Instant> {
        match self.bounds.end {
            End::After(time) => Some(self.window_begin() + time),
            End::Requests(_) => None,
        }
    }

    /// Number of tickets issued.
    pub(crate) fn given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }

    /// Issues a ticket for a request that is due at `due`; `None` when the run is over.
    pub(crate) fn take(&self, due: Instant) -> Option<Ticket> {
        let counts = due >= self.window_begin();
        if self.window_end().is_some_and(|end| due >= end) {
            return None;
        }
        let number =
            if counts { self.counted.fetch_add(1, Ordering::Relaxed) } else { WARM_UP + self.given() };
        if counts && matches!(self.bounds.end, End::Requests(most) if number >= most) {
            return None;
        }
        self.given.fetch_add(1, Ordering::Relaxed);
        Some(Ticket { number, counts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(end: End) -> Vec<Option<Ticket>> {
        let begin = Instant::now();
        let warm_up = Duration::from_secs(1);
        let tickets = Tickets::new(begin, Bounds { warm_up, end });
        let dues = [0.0, 0.9, 1.0, 1.5, 2.9, 3.0, 9.0];
        dues.map(|due| tickets.take(begin + Duration::from_secs_f64(due))).to_vec()
    }

    #[test]
    fn only_requests_in_the_window_count() {
        let counts = |tickets: Vec<Option<Ticket>>| -> Vec<Option<bool>> {
            tickets.into_iter().map(|ticket| ticket.map(|ticket| ticket.counts)).collect()
        };
        let [no, yes] = [Some(false), Some(true)];
        assert_eq!(counts(taken(End::After(Duration::from_secs(2)))), [no, no, yes, yes, yes, None, None]);
        assert_eq!(counts(taken(End::Requests(2))), [no, no, yes, yes, None, None, None]);
        let numbers = taken(End::Requests(9)).into_iter().flatten().map(|ticket| ticket.number);
        assert!(numbers.eq([WARM_UP, WARM_UP + 1].into_iter().chain(0..5)));
    }
}
