//! The definition of a metric.

use metrics::Unit;

/// The kinds of metrics that Prometheus knows and this server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values in buckets.
    Histogram,
}

impl Kind {
    /// The word of the text exposition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Everything that there is to know about one metric.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// With the prefix `sed_`; ends in the unit and, if it is a counter, in `_total`.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// Unit of the values: seconds, bytes, or a count.
    pub unit: Unit,
    /// Meaning of the metric, in one or two sentences.
    pub help: &'static str,
    /// Upper bounds of the buckets, rising; empty unless it is a histogram.
    pub buckets: &'static [f64],
}

impl Definition {
    pub(super) const fn new(name: &'static str, kind: Kind, unit: Unit, help: &'static str) -> Self {
        Self { name, kind, unit, help, buckets: &[] }
    }

    /// The help without the spaces that a doc comment begins its lines with.
    pub fn help_line(&self) -> String {
        self.help.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Describes the metric to the recorder.
    pub(super) fn describe(&self) {
        let (name, unit, help) = (self.name.into(), Some(self.unit), self.help_line().into());
        metrics::with_recorder(|recorder| match self.kind {
            Kind::Counter => recorder.describe_counter(name, unit, help),
            Kind::Gauge => recorder.describe_gauge(name, unit, help),
            Kind::Histogram => recorder.describe_histogram(name, unit, help),
        });
    }
}

/// A metric of any kind, as the inventory lists it.
pub trait Metric: Sync {
    /// The definition of the metric.
    fn definition(&self) -> &Definition;

    /// Its label keys, each with all values; a label whose values are not known beforehand has none.
    fn labels(&self) -> Vec<(&'static str, Vec<&'static str>)>;

    /// Describes it to the recorder and creates all its series.
    fn register(&self);

    /// Reports whether the recorder holds it as a gauge though it is a counter.
    fn recorded_as_gauge(&self) -> bool {
        false
    }
}
