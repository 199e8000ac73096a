//! Metrics one of whose labels is a name that only the running program knows.

use std::marker::PhantomData;

use metrics::{Key, SharedString, Unit, with_recorder};

use super::{
    definition::{Definition, Kind, Metric},
    handles::METADATA,
    labels::Label,
};

/// A counter of events by a name and one more label. The caller must keep the number of names small.
#[derive(Debug)]
pub struct CounterByName<A> {
    definition: Definition,
    key: &'static str,
    labels: PhantomData<fn(A)>,
}

impl<A: Label> CounterByName<A> {
    pub(super) const fn new(name: &'static str, help: &'static str, unit: Unit, key: &'static str) -> Self {
        Self { definition: Definition::new(name, Kind::Counter, unit, help), key, labels: PhantomData }
    }

    fn at(&self, name: &str, label: A) -> metrics::Counter {
        let labels = vec![
            metrics::Label::new(self.key, SharedString::from(name.to_owned())),
            metrics::Label::from_static_parts(A::KEY, label.as_str()),
        ];
        let key = Key::from_parts(self.definition.name, labels);
        with_recorder(|recorder| recorder.register_counter(&key, &METADATA))
    }

    /// Creates all series of a name, at zero.
    pub fn create(&self, name: &str) {
        for label in A::ALL {
            self.at(name, *label).increment(0);
        }
    }

    /// Adds `more` for this name and label.
    pub fn add(&self, name: &str, label: A, more: u64) {
        self.at(name, label).increment(more);
    }
}

/// A value that goes up and down, by a name. The caller must keep the number of names small.
#[derive(Debug)]
pub struct GaugeByName {
    definition: Definition,
    key: &'static str,
}

impl GaugeByName {
    pub(super) const fn new(name: &'static str, help: &'static str, unit: Unit, key: &'static str) -> Self {
        Self { definition: Definition::new(name, Kind::Gauge, unit, help), key }
    }

    /// Sets it for this name.
    pub fn set(&self, name: &str, value: f64) {
        let label = metrics::Label::new(self.key, SharedString::from(name.to_owned()));
        let key = Key::from_parts(self.definition.name, vec![label]);
        with_recorder(|recorder| recorder.register_gauge(&key, &METADATA)).set(value);
    }
}

impl Metric for GaugeByName {
    fn definition(&self) -> &Definition {
        &self.definition
    }

    fn labels(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        vec![(self.key, Vec::new())]
    }

    fn register(&self) {
        self.definition.describe();
    }
}

impl<A: Label> Metric for CounterByName<A> {
    fn definition(&self) -> &Definition {
        &self.definition
    }

    fn labels(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        vec![(self.key, Vec::new()), (A::KEY, A::ALL.iter().map(|value| value.as_str()).collect())]
    }

    fn register(&self) {
        self.definition.describe();
    }
}
