//! Sends requests as a plan says, and counts their outcomes.

mod arrivals;
mod closed;
mod open;
#[cfg(test)]
mod tests;
mod tickets;

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};

use arrivals::Arrivals;
use tickets::Tickets;

use crate::{
    sample::Call,
    stop::Stop,
    tally::{SoFar, Tally},
};

pub use tickets::{Bounds, End};

/// Capacity of the channel of samples to the tally.
const SAMPLES: usize = 1024;
/// Time between reports of the progress.
const REFRESH: Duration = Duration::from_millis(250);

/// The event that makes the next request due.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "loop", rename_all = "snake_case")]
pub enum Pace {
    /// The answer to the previous request of the same client.
    Closed {
        /// Clients, each with one request at a time.
        clients: usize,
    },
    /// The clock, at random times.
    Open {
        /// Requests a second in the mean.
        rate: f64,
        /// Requests that may be outstanding; one that is due beyond them is dropped.
        #[serde(rename = "max_outstanding")]
        most: usize,
    },
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// When requests are due.
    pub pace: Pace,
    /// The length of the run.
    pub bounds: Bounds,
    /// Seed of the arrivals of an open loop.
    pub seed: u64,
}

/// Carries out a plan and adds the outcomes to `tally`. When `stop` is set, it ends early and abandons the
/// outstanding requests.
pub async fn drive<C: Call>(
    call: &C,
    plan: &Plan,
    stop: &Stop,
    tally: &mut Tally,
    progress: &dyn Fn(Pace, SoFar),
) {
    let tickets = Arc::new(Tickets::new(Instant::now(), plan.bounds));
    tally.open(tickets.window_begin(), tickets.window_end());
    let (sender, mut receiver) = mpsc::channel(SAMPLES);
    let sending = async {
        match plan.pace {
            Pace::Closed { clients } => closed::run(call, clients, &tickets, &sender, stop).await,
            Pace::Open { rate, most } => {
                let arrivals = Arrivals::new(rate, plan.seed);
                open::run(call, arrivals, most, &tickets, &sender, stop).await;
            }
        }
        // The receiver learns that no more will come.
        drop(sender);
    };
    let counting = async {
        let mut refresh = tokio::time::interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                sample = receiver.recv() => match sample {
                    Some(sample) => tally.add(sample),
                    None => break,
                },
                now = refresh.tick() => {
                    if let Some(so_far) = tally.so_far(now, tickets.given()) {
                        progress(plan.pace, so_far);
                    }
                }
            }
        }
    };
    tokio::join!(sending, counting);
    tally.close(Instant::now());
}
