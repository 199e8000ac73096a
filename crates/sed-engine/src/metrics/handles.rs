//! Handles that code records with: definitions with the types of their labels.

use std::{marker::PhantomData, time::Duration};

use metrics::{IntoF64, Key, Level, Metadata, SharedString, Unit, with_recorder};

use super::{
    definition::{Definition, Kind, Metric},
    labels::{Label, Labels},
};

pub(super) static METADATA: Metadata<'_> = Metadata::new("sed_serve", Level::INFO, None);

/// Counts events. `L` is one label, two of them, or `()`.
#[derive(Debug)]
pub struct Counter<L = ()> {
    definition: Definition,
    labels: PhantomData<fn(L)>,
}

/// A value that goes up and down. `L` as with [`Counter`].
#[derive(Debug)]
pub struct Gauge<L = ()> {
    definition: Definition,
    labels: PhantomData<fn(L)>,
}

/// Values in buckets. `L` as with [`Counter`].
#[derive(Debug)]
pub struct Histogram<L = ()> {
    definition: Definition,
    labels: PhantomData<fn(L)>,
}

impl<L: Labels> Counter<L> {
    pub(super) const fn new(name: &'static str, help: &'static str, unit: Unit) -> Self {
        Self { definition: Definition::new(name, Kind::Counter, unit, help), labels: PhantomData }
    }

    fn at(&self, labels: L) -> metrics::Counter {
        with_recorder(|recorder| recorder.register_counter(&key(&self.definition, labels), &METADATA))
    }
}

impl Counter<()> {
    /// Adds `more`.
    pub fn add(&self, more: u64) {
        self.at(()).increment(more);
    }
}

impl<A: Label> Counter<A> {
    /// Adds `more` for this label.
    pub fn add(&self, label: A, more: u64) {
        self.at(label).increment(more);
    }
}

impl<A: Label, B: Label> Counter<(A, B)> {
    /// Adds `more` for these labels.
    pub fn add(&self, first: A, second: B, more: u64) {
        self.at((first, second)).increment(more);
    }
}

impl<L: Labels> Gauge<L> {
    pub(super) const fn new(name: &'static str, help: &'static str, unit: Unit) -> Self {
        Self { definition: Definition::new(name, Kind::Gauge, unit, help), labels: PhantomData }
    }

    fn at(&self, labels: L) -> metrics::Gauge {
        with_recorder(|recorder| recorder.register_gauge(&key(&self.definition, labels), &METADATA))
    }
}

impl Gauge<()> {
    /// Sets it.
    pub fn set(&self, value: impl IntoF64) {
        self.at(()).set(value);
    }

    /// Adds `more`, which may be negative.
    pub fn add(&self, more: f64) {
        self.at(()).increment(more);
    }
}

impl<A: Label> Gauge<A> {
    /// Sets it for this label.
    pub fn set(&self, label: A, value: impl IntoF64) {
        self.at(label).set(value);
    }

    /// Adds `more`, which may be negative, for this label.
    pub fn add(&self, label: A, more: f64) {
        self.at(label).increment(more);
    }
}

impl<L: Labels> Histogram<L> {
    pub(super) const fn new(
        name: &'static str,
        help: &'static str,
        unit: Unit,
        buckets: &'static [f64],
    ) -> Self {
        let definition = Definition { buckets, ..Definition::new(name, Kind::Histogram, unit, help) };
        Self { definition, labels: PhantomData }
    }

    fn at(&self, labels: L) -> metrics::Histogram {
        with_recorder(|recorder| recorder.register_histogram(&key(&self.definition, labels), &METADATA))
    }
}

impl Histogram<()> {
    /// Records one value; a [`Duration`] counts in seconds.
    pub fn record(&self, value: impl IntoF64) {
        self.at(()).record(value);
    }
}

impl<A: Label> Histogram<A> {
    /// Records one value for this label; a [`Duration`] counts in seconds.
    pub fn record(&self, label: A, value: impl IntoF64) {
        self.at(label).record(value);
    }
}

impl<A: Label, B: Label> Histogram<(A, B)> {
    /// Records one value for these labels; a [`Duration`] counts in seconds.
    pub fn record(&self, first: A, second: B, value: impl IntoF64) {
        self.at((first, second)).record(value);
    }
}

/// A counter of seconds. The recorder's counters are whole numbers, so it is recorded as a gauge and exposed
/// as a counter (see [`super::exposed`]).
#[derive(Debug)]
pub struct SecondsTotal {
    sum: Gauge,
    definition: Definition,
}

impl SecondsTotal {
    pub(super) const fn new(name: &'static str, help: &'static str) -> Self {
        let definition = Definition::new(name, Kind::Counter, Unit::Seconds, help);
        Self { sum: Gauge::new(name, help, Unit::Seconds), definition }
    }

    /// Adds a time.
    pub fn add(&self, more: Duration) {
        self.sum.add(more.as_secs_f64());
    }
}

/// A gauge that is always 1 and carries information in its labels, whose values are free but few: set it
/// once.
#[derive(Debug)]
pub struct Info<const N: usize> {
    definition: Definition,
    keys: [&'static str; N],
}

impl<const N: usize> Info<N> {
    pub(super) const fn new(name: &'static str, help: &'static str, keys: [&'static str; N]) -> Self {
        Self { definition: Definition::new(name, Kind::Gauge, Unit::Count, help), keys }
    }

    /// Sets the label values: one for each label key, in their order.
    pub fn set(&self, values: [&str; N]) {
        let pairs = self.keys.into_iter().zip(values);
        let labels: Vec<_> = pairs
            .map(|(key, value)| metrics::Label::new(key, SharedString::from(value.to_owned())))
            .collect();
        let key = Key::from_parts(self.definition.name, labels);
        with_recorder(|recorder| recorder.register_gauge(&key, &METADATA)).set(1.0);
    }
}

fn key<L: Labels>(definition: &Definition, labels: L) -> Key {
    let pairs = labels.pairs();
    let labels: Vec<_> =
        pairs.into_iter().map(|(key, value)| metrics::Label::from_static_parts(key, value)).collect();
    Key::from_parts(definition.name, labels)
}

impl<L: Labels> Metric for Counter<L> {
    fn definition(&self) -> &Definition {
        &self.definition
    }

    fn labels(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        L::keys()
    }

    fn register(&self) {
        self.definition.describe();
        for labels in L::combinations() {
            self.at(labels).increment(0);
        }
    }
}

impl<L: Labels> Metric for Gauge<L> {
    fn definition(&self) -> &Definition {
        &self.definition
    }

    fn labels(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        L::keys()
    }

    fn register(&self) {
        self.definition.describe();
        for labels in L::combinations() {
            self.at(labels).increment(0.0); // not `set`: what is known already stays
        }
    }
}

impl<L: Labels> Metric for Histogram<L> {
    fn definition(&self) -> &Definition {
        &self.definition
    }

    fn labels(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        L::keys()
    }

    fn register(&self) {
        self.definition.describe();
        for labels in L::combinations() {
            drop(self.at(labels)); // a histogram exists, empty, once it has been asked for
        }
    }
}

impl Metric for SecondsTotal {
    fn definition(&self) -> &Definition {
        &self.definition
    }

    fn labels(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        Vec::new()
    }

    fn register(&self) {
        self.sum.register();
    }

    fn recorded_as_gauge(&self) -> bool {
        true
    }
}

impl<const N: usize> Metric for Info<N> {
    fn definition(&self) -> &Definition {
        &self.definition
    }

    fn labels(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        self.keys.map(|key| (key, Vec::new())).to_vec()
    }

    fn register(&self) {
        self.definition.describe();
    }
}
