//! The closed loop: every client sends its next request when its last is answered.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use super::tickets::Tickets;
use crate::{
    sample::{Call, Outcome, Sample},
    stop::Stop,
};

/// Pause of a client after a failed request, so that a server that refuses everything at once is not flooded.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(20);

/// Runs `clients` clients until the tickets are used up.
pub(super) async fn run<C: Call>(
    call: &C,
    clients: usize,
    tickets: &Arc<Tickets>,
    samples: &mpsc::Sender<Sample>,
    stop: &Stop,
) {
    let mut running = JoinSet::new();
    for _ in 0..clients {
        let client = one(call.clone(), Arc::clone(tickets), samples.clone(), stop.clone());
        running.spawn(client);
    }
    while running.join_next().await.is_some() {}
}

async fn one<C: Call>(call: C, tickets: Arc<Tickets>, samples: mpsc::Sender<Sample>, stop: Stop) {
    while !stop.is_set() {
        let sent = Instant::now();
        let Some(ticket) = tickets.take(sent) else { return };
        let outcome = tokio::select! {
            ended = call.call(ticket.number) => Outcome::from(ended),
            () = stop.wait() => Outcome::Abandoned,
        };
        let pause = matches!(outcome, Outcome::Failed(_));
        let sample = Sample { counts: ticket.counts, due: sent, sent, done: Instant::now(), outcome };
        if samples.send(sample).await.is_err() {
            return;
        }
        if pause {
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        }
    }
}
