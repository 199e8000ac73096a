//! Sends requests as a plan says, and counts their outcomes.

mod arrivals;
mod closed;
mod open;
mod sample;
mod stop;
#[cfg(test)]
mod tests;
mod tickets;

use std::{sync::Arc, time::Duration};

use indicatif::ProgressBar;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};

use super::tally::Tally;
use arrivals::Arrivals;
use tickets::Tickets;

pub(crate) use sample::{Answer, Call, Failure, Outcome, Sample};
pub(crate) use stop::Stop;
pub(crate) use tickets::{Bounds, End};

/// Capacity of the channel of samples to the tally.
const SAMPLES: usize = 1024;
/// Time between updates of the line on the terminal.
const REFRESH: Duration = Duration::from_millis(250);

/// The event that makes the next request due.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
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
        most: usize,
    },
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) pace: Pace,
    pub(crate) bounds: Bounds,
    /// Seed of the arrivals of an open loop.
    pub(crate) seed: u64,
}

/// Carries out a plan and adds the outcomes to `tally`. When `stop` is set, it ends early and abandons the
/// outstanding requests.
pub(crate) async fn drive<C: Call>(
    call: &C,
    plan: &Plan,
    stop: &Stop,
    tally: &mut Tally,
    line: &ProgressBar,
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
                    line.set_message(format!("{}: {}", plan.pace, tally.so_far(now, tickets.given())));
                }
            }
        }
    };
    tokio::join!(sending, counting);
    tally.close(Instant::now());
}

impl From<Result<Box<Answer>, Failure>> for Outcome {
    fn from(ended: Result<Box<Answer>, Failure>) -> Self {
        match ended {
            Ok(answer) => Self::Answered(answer),
            Err(failure) => Self::Failed(failure),
        }
    }
}
