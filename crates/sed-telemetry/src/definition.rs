//! The definition of a family of metrics.

use metrics::{Key, Unit};

use crate::labels::LabelValues;

/// The kinds of metrics that Prometheus knows and this program has.
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

/// Everything that there is to know about one family.
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
    /// Keys of the labels whose values only the running program knows.
    pub(crate) free: &'static [&'static str],
    /// The labels behind these, with their values.
    pub(crate) fixed: fn() -> Vec<LabelValues>,
}

impl Definition {
    pub(crate) const fn new(name: &'static str, kind: Kind, unit: Unit, help: &'static str) -> Self {
        Self { name, kind, unit, help, buckets: &[], free: &[], fixed: Vec::new }
    }

    /// The help without the spaces that a doc comment begins its lines with.
    pub fn help_line(&self) -> String {
        self.help.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Its label keys, each with all values; a label whose values are not known beforehand has none.
    pub fn labels(&self) -> Vec<LabelValues> {
        self.free.iter().map(|key| (*key, Vec::new())).chain((self.fixed)()).collect()
    }

    /// The keys of all series, the values of the last label next to each other; none if a label is free.
    pub(crate) fn series(&self) -> Vec<Key> {
        let mut combinations = vec![Vec::new()];
        for (key, values) in self.labels() {
            let extended = |labels: Vec<metrics::Label>| {
                let more =
                    |value| [labels.clone(), vec![metrics::Label::from_static_parts(key, value)]].concat();
                values.iter().copied().map(more).collect::<Vec<_>>()
            };
            combinations = combinations.into_iter().flat_map(extended).collect();
        }
        combinations.into_iter().map(|labels| Key::from_parts(self.name, labels)).collect()
    }

    /// Reports whether the recorder holds it as a gauge though it is a counter: the recorder's counters are
    /// whole numbers, and seconds are not.
    pub(crate) fn is_sum_of_seconds(&self) -> bool {
        self.kind == Kind::Counter && self.unit == Unit::Seconds
    }
}
