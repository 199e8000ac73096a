//! Every metric of the server, defined once: name, kind, unit, meaning, labels with all their values,
//! buckets.
//!
//! Code records through the handles of [`inventory`], never through a name:
//! `metrics::BATCH_IMAGES.record(stage, 3)`. Without an installed recorder, recording does nothing. The
//! program that installs one sets its buckets to [`histogram_buckets`], calls [`register_all`] once, and
//! passes the rendered text through [`exposed`]. `METRICS.md` beside this crate's manifest is generated from
//! the same definitions.

mod buckets;
mod by_name;
mod definition;
#[cfg(test)]
mod document;
mod handles;
mod inventory;
mod labels;
mod share;
#[cfg(test)]
mod tests;

pub use by_name::{CounterByName, GaugeByName};
pub use definition::{Definition, Kind, Metric};
pub use handles::{Counter, Gauge, Histogram, Info, SecondsTotal};
pub use inventory::*;
pub use labels::*;
pub(crate) use share::GaugeShare;

/// The definitions of all metrics, in the order of `METRICS.md`.
pub fn definitions() -> impl Iterator<Item = &'static Definition> {
    ALL.iter().map(|metric| metric.definition())
}

/// Describes all metrics to the recorder, and creates each with every combination of its labels, at zero: a
/// series that appears with its first event has lost that event for `rate()`. The series of an [`Info`] begin
/// when it is set, those of a [`CounterByName`] or a [`GaugeByName`]
/// when a name is known.
pub fn register_all() {
    for metric in ALL {
        metric.register();
    }
}

/// Name and bucket bounds of every histogram. A recorder that lacks them makes summaries, which cannot be
/// added up over replicas.
pub fn histogram_buckets() -> impl Iterator<Item = (&'static str, &'static [f64])> {
    definitions().filter(|metric| metric.kind == Kind::Histogram).map(|metric| (metric.name, metric.buckets))
}

/// Returns a rendered text exposition with the true types: a [`SecondsTotal`], which the recorder holds as a
/// gauge because its counters are whole numbers, becomes a counter.
pub fn exposed(mut rendered: String) -> String {
    for metric in ALL.iter().filter(|metric| metric.recorded_as_gauge()) {
        let name = metric.definition().name;
        rendered = rendered.replace(&format!("# TYPE {name} gauge\n"), &format!("# TYPE {name} counter\n"));
    }
    rendered
}
