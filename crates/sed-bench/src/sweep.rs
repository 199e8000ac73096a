//! Rising load, until the server is saturated.

use serde::Serialize;

use crate::{
    knee::{Step, Verdict, judge},
    run::{Bounds, Pace, Plan, drive},
    sample::Call,
    stop::Stop,
    tally::{LoadResult, SoFar, Tally},
};

/// One step, measured.
#[derive(Clone, Debug, Serialize)]
pub struct StepResult {
    /// The pace of the requests.
    #[serde(skip)]
    pub pace: Pace,
    /// Clients, or requests a second.
    pub load: f64,
    /// The figures.
    pub result: LoadResult,
}

/// Measures one pace after the other, until the sweep is over ([`Verdict::over`]) or `stop` is set, and
/// returns the steps and where the knee is.
pub async fn sweep<C: Call>(
    call: &C,
    paces: Vec<Pace>,
    (bounds, seed): (Bounds, u64),
    stop: &Stop,
    progress: &dyn Fn(Pace, SoFar),
) -> (Vec<StepResult>, Verdict) {
    let mut steps: Vec<StepResult> = Vec::new();
    let mut verdict = Verdict { knee: None, over: false };
    for pace in paces {
        let mut tally = Tally::default();
        drive(call, &Plan { pace, bounds, seed }, stop, &mut tally, progress).await;
        steps.push(step(pace, tally.result(stop.is_set())));
        verdict = judge(&steps.iter().map(outline).collect::<Vec<_>>());
        if verdict.over || stop.is_set() {
            break;
        }
    }
    (steps, verdict)
}

fn step(pace: Pace, result: LoadResult) -> StepResult {
    let load = match pace {
        Pace::Closed { clients } => clients as f64,
        Pace::Open { rate, .. } => rate,
    };
    StepResult { pace, load, result }
}

fn outline(step: &StepResult) -> Step {
    Step { throughput: step.result.throughput, latency: step.result.latency_ms.p50 }
}
