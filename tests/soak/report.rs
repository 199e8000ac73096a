//! The figures of a run.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::{
    LoadArgs,
    tally::Tally,
    watch::{Sample, Trend},
};

/// A run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    minutes: f64,
    clients: usize,
    seed: u64,
    /// Calls and requests on streams under load.
    requests: u64,
    requests_per_second: f64,
    /// Answers that were equal to their reference.
    compared: u64,
    /// Calls that were given up, and those of them that the server counted.
    given_up: u64,
    heard_of: u64,
    /// Calls that an old connection did not take; they were sent again.
    not_taken: u64,
    acts: BTreeMap<&'static str, u64>,
    /// Calls by method and code.
    calls: BTreeMap<&'static str, BTreeMap<String, u64>>,
    on_streams: BTreeMap<String, u64>,
    reasons: BTreeMap<&'static str, u64>,
    pub(crate) trend: Option<Trend>,
    pub(crate) samples: Vec<Sample>,
    /// Number of things that were wrong, and the first of them.
    violated: u64,
    pub(crate) violations: Vec<String>,
}

impl Report {
    pub(crate) fn new(
        args: &LoadArgs,
        tally: &Tally,
        samples: Vec<Sample>,
        trend: Option<Trend>,
        requests: u64,
        heard_of: u64,
    ) -> Self {
        let calls = tally.methods.iter().map(|(method, account)| (*method, account.answered.clone()));
        let rate = match (samples.first(), samples.last()) {
            (Some(first), Some(last)) if last.seconds > first.seconds => {
                (last.requests - first.requests) as f64 / (last.seconds - first.seconds)
            }
            _ => 0.0,
        };
        Self {
            minutes: args.minutes,
            clients: args.clients,
            seed: args.seed,
            requests,
            requests_per_second: rate,
            compared: tally.compared,
            given_up: tally.methods.values().map(|account| account.given_up).sum(),
            heard_of,
            not_taken: tally.not_taken,
            acts: tally.acts.clone(),
            calls: calls.collect(),
            on_streams: tally.streamed.answered.clone(),
            reasons: tally.reasons.clone(),
            trend,
            samples,
            violated: tally.violated,
            violations: tally.violations.clone(),
        }
    }

    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap()
    }

    /// The figures as text.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from("\n");
        let mut row = |name: &str, value: String| writeln!(text, "{name:32} {value}").unwrap();
        let list = |counts: &BTreeMap<String, u64>| {
            let shown = counts.iter().map(|(name, count)| format!("{name} {count}"));
            shown.collect::<Vec<_>>().join(", ")
        };
        row("requests under load", format!("{}, {:.1}/s", self.requests, self.requests_per_second));
        row("answers equal to a reference", format!("{} compared", self.compared));
        row("calls given up", format!("{}, of which the server counted {}", self.given_up, self.heard_of));
        row("calls that were sent again", format!("{}, which old connections did not take", self.not_taken));
        for (method, codes) in &self.calls {
            row(method, list(codes));
        }
        row("requests on streams", list(&self.on_streams));
        for (reason, count) in &self.reasons {
            row(&format!("  {reason}"), count.to_string());
        }
        for (act, count) in &self.acts {
            row(&format!("act: {act}"), count.to_string());
        }
        if let Some(trend) = &self.trend {
            let Trend { seconds, allocated, resident, descriptors, threads, .. } = trend;
            row("second half", format!("{seconds:.0} s"));
            row("  allocated", allocated.to_string());
            row("  resident", resident.to_string());
            row("  descriptors", format!("{} to {}", descriptors.0, descriptors.1));
            row("  threads", format!("{} to {}", threads.0, threads.1));
        }
        match self.violated {
            0 => writeln!(text, "\nall accounts are even").unwrap(),
            count => {
                writeln!(text, "\nviolations: {count}").unwrap();
                self.violations.iter().for_each(|violation| writeln!(text, "  {violation}").unwrap());
            }
        }
        text
    }
}
