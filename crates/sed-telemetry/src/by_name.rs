//! Families one of whose labels has values that only the running program knows.

use std::marker::PhantomData;

use metrics::{Key, SharedString, Unit};

use crate::{
    definition::{Definition, Kind},
    labels::Label,
    telemetry::Telemetry,
};

/// A counter of events by a name and one more label. The caller must keep the number of names small.
#[derive(Debug)]
pub struct CounterByName<A> {
    telemetry: Telemetry,
    definition: &'static Definition,
    labels: PhantomData<fn(A)>,
}

/// A value that goes up and down, by a name. The caller must keep the number of names small.
#[derive(Debug)]
pub struct GaugeByName {
    telemetry: Telemetry,
    definition: &'static Definition,
}

/// A gauge that is always 1 and carries information in its labels, whose values are free but few: set it
/// once.
#[derive(Debug)]
pub struct Info<const N: usize> {
    telemetry: Telemetry,
    definition: &'static Definition,
}

impl<A: Label> CounterByName<A> {
    /// Its definition; `key` is the name's.
    pub const fn define(
        name: &'static str,
        help: &'static str,
        unit: Unit,
        key: &'static [&'static str; 1],
    ) -> Definition {
        let fixed = <A as crate::Labels>::keys;
        Definition { free: key, fixed, ..Definition::new(name, Kind::Counter, unit, help) }
    }

    /// The family of this definition.
    pub fn new(telemetry: &Telemetry, definition: &'static Definition) -> Self {
        Self { telemetry: telemetry.clone(), definition, labels: PhantomData }
    }

    /// Creates all series of a name, at zero.
    pub fn create(&self, name: &str) {
        A::ALL.iter().for_each(|label| self.add(name, *label, 0));
    }

    /// Adds `more` for this name and label.
    pub fn add(&self, name: &str, label: A, more: u64) {
        let last = metrics::Label::from_static_parts(A::KEY, label.as_str());
        self.telemetry.counter(&key(self.definition, [name], Some(last))).increment(more);
    }
}

impl GaugeByName {
    /// Its definition; `key` is the name's.
    pub const fn define(
        name: &'static str,
        help: &'static str,
        unit: Unit,
        key: &'static [&'static str; 1],
    ) -> Definition {
        Definition { free: key, ..Definition::new(name, Kind::Gauge, unit, help) }
    }

    /// The family of this definition.
    pub fn new(telemetry: &Telemetry, definition: &'static Definition) -> Self {
        Self { telemetry: telemetry.clone(), definition }
    }

    /// Sets it for this name.
    pub fn set(&self, name: &str, value: f64) {
        self.telemetry.gauge(&key(self.definition, [name], None)).set(value);
    }
}

impl<const N: usize> Info<N> {
    /// Its definition.
    pub const fn define(
        name: &'static str,
        help: &'static str,
        keys: &'static [&'static str; N],
    ) -> Definition {
        Definition { free: keys, ..Definition::new(name, Kind::Gauge, Unit::Count, help) }
    }

    /// The family of this definition.
    pub fn new(telemetry: &Telemetry, definition: &'static Definition) -> Self {
        Self { telemetry: telemetry.clone(), definition }
    }

    /// Sets the label values: one for each label key, in their order.
    pub fn set(&self, values: [&str; N]) {
        self.telemetry.gauge(&key(self.definition, values, None)).set(1.0);
    }
}

/// The key of the series with these values of the free labels, and one more label.
fn key<const N: usize>(definition: &Definition, values: [&str; N], last: Option<metrics::Label>) -> Key {
    let value = |value: &str| SharedString::from(value.to_owned());
    let free = definition.free.iter().zip(values).map(|(key, text)| metrics::Label::new(*key, value(text)));
    Key::from_parts(definition.name, free.chain(last).collect::<Vec<_>>())
}
