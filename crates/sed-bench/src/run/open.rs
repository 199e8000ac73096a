//! The open loop: requests are sent when they are due, whether or not earlier ones are answered.

use std::sync::Arc;

use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use super::{arrivals::Arrivals, tickets::Tickets};
use crate::{
    sample::{Call, Outcome, Sample},
    stop::Stop,
};

/// Sends requests at the times of `arrivals` until the tickets are used up, and waits for their answers. A
/// request that is due while `most` are outstanding is not sent and counts as dropped.
pub(super) async fn run<C: Call>(
    call: &C,
    mut arrivals: Arrivals,
    most: usize,
    tickets: &Arc<Tickets>,
    samples: &mpsc::Sender<Sample>,
    stop: &Stop,
) {
    let begin = Instant::now();
    let mut outstanding = JoinSet::new();
    loop {
        let due = begin + arrivals.next_due();
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = stop.wait() => break,
        }
        while outstanding.try_join_next().is_some() {}
        let Some(ticket) = tickets.take(due) else { break };
        if outstanding.len() >= most {
            let now = Instant::now();
            let outcome = Outcome::Dropped;
            let dropped = Sample { counts: ticket.counts, due, sent: now, done: now, outcome };
            if samples.send(dropped).await.is_err() {
                break;
            }
            continue;
        }
        let (call, samples, stop) = (call.clone(), samples.clone(), stop.clone());
        outstanding.spawn(async move {
            let sent = Instant::now();
            let outcome = tokio::select! {
                ended = call.call(ticket.number) => Outcome::from(ended),
                () = stop.wait() => Outcome::Abandoned,
            };
            let sample = Sample { counts: ticket.counts, due, sent, done: Instant::now(), outcome };
            // The receiver lives until all requests have ended.
            let _ = samples.send(sample).await;
        });
    }
    while outstanding.join_next().await.is_some() {}
}
