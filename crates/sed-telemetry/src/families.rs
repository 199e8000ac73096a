//! Families whose labels have a known set of values: they hold the handles of all their series.

use std::{marker::PhantomData, time::Duration};

use metrics::{IntoF64, Unit};

use crate::{
    definition::{Definition, Kind},
    labels::{Label, Labels},
    share::GaugeShare,
    telemetry::Telemetry,
};

/// Counts events. `L` is one label, two of them, or `()`.
#[derive(Clone, Debug)]
pub struct Counter<L = ()> {
    /// In the order of [`Labels::index`].
    series: Box<[metrics::Counter]>,
    labels: PhantomData<fn(L)>,
}

/// A value that goes up and down. `L` as with [`Counter`].
#[derive(Clone, Debug)]
pub struct Gauge<L = ()> {
    series: Box<[metrics::Gauge]>,
    labels: PhantomData<fn(L)>,
}

/// Values in buckets. `L` as with [`Counter`].
#[derive(Clone, Debug)]
pub struct Histogram<L = ()> {
    series: Box<[metrics::Histogram]>,
    labels: PhantomData<fn(L)>,
}

/// A counter of seconds. It is recorded as a gauge and exposed as a counter.
#[derive(Debug)]
pub struct SecondsTotal(metrics::Gauge);

impl<L: Labels> Counter<L> {
    /// Its definition.
    pub const fn define(name: &'static str, help: &'static str, unit: Unit) -> Definition {
        Definition { fixed: L::keys, ..Definition::new(name, Kind::Counter, unit, help) }
    }

    /// The family of this definition.
    pub fn new(telemetry: &Telemetry, definition: &'static Definition) -> Self {
        let series = definition.series().iter().map(|key| telemetry.counter(key)).collect();
        Self { series, labels: PhantomData }
    }
}

impl Counter<()> {
    /// Adds `more`.
    pub fn add(&self, more: u64) {
        self.series[0].increment(more);
    }
}

impl<A: Label> Counter<A> {
    /// Adds `more` for this label.
    pub fn add(&self, label: A, more: u64) {
        self.series[label.index()].increment(more);
    }
}

impl<A: Label, B: Label> Counter<(A, B)> {
    /// Adds `more` for these labels.
    pub fn add(&self, first: A, second: B, more: u64) {
        self.series[(first, second).index()].increment(more);
    }
}

impl<L: Labels> Gauge<L> {
    /// Its definition.
    pub const fn define(name: &'static str, help: &'static str, unit: Unit) -> Definition {
        Definition { fixed: L::keys, ..Definition::new(name, Kind::Gauge, unit, help) }
    }

    /// The family of this definition.
    pub fn new(telemetry: &Telemetry, definition: &'static Definition) -> Self {
        let series = definition.series().iter().map(|key| telemetry.gauge(key)).collect();
        Self { series, labels: PhantomData }
    }
}

impl Gauge<()> {
    /// Sets it.
    pub fn set(&self, value: impl IntoF64) {
        self.series[0].set(value);
    }

    /// A part of it.
    pub fn share(&self, value: f64) -> GaugeShare {
        GaugeShare::new(&self.series[0], value)
    }
}

impl<A: Label> Gauge<A> {
    /// Sets it for this label.
    pub fn set(&self, label: A, value: impl IntoF64) {
        self.series[label.index()].set(value);
    }

    /// A part of it for this label.
    pub fn share(&self, label: A, value: f64) -> GaugeShare {
        GaugeShare::new(&self.series[label.index()], value)
    }
}

impl<L: Labels> Histogram<L> {
    /// Its definition.
    pub const fn define(
        name: &'static str,
        help: &'static str,
        unit: Unit,
        buckets: &'static [f64],
    ) -> Definition {
        Definition { buckets, fixed: L::keys, ..Definition::new(name, Kind::Histogram, unit, help) }
    }

    /// The family of this definition.
    pub fn new(telemetry: &Telemetry, definition: &'static Definition) -> Self {
        let series = definition.series().iter().map(|key| telemetry.histogram(key)).collect();
        Self { series, labels: PhantomData }
    }
}

impl Histogram<()> {
    /// Records one value; a [`Duration`] counts in seconds.
    pub fn record(&self, value: impl IntoF64) {
        self.series[0].record(value);
    }
}

impl<A: Label> Histogram<A> {
    /// Records one value for this label; a [`Duration`] counts in seconds.
    pub fn record(&self, label: A, value: impl IntoF64) {
        self.series[label.index()].record(value);
    }
}

impl<A: Label, B: Label> Histogram<(A, B)> {
    /// Records one value for these labels; a [`Duration`] counts in seconds.
    pub fn record(&self, first: A, second: B, value: impl IntoF64) {
        self.series[(first, second).index()].record(value);
    }
}

impl SecondsTotal {
    /// Its definition.
    pub const fn define(name: &'static str, help: &'static str) -> Definition {
        Definition::new(name, Kind::Counter, Unit::Seconds, help)
    }

    /// The family of this definition.
    pub fn new(telemetry: &Telemetry, definition: &'static Definition) -> Self {
        Self(telemetry.gauge(&definition.name.into()))
    }

    /// Adds a time.
    pub fn add(&self, more: Duration) {
        self.0.increment(more.as_secs_f64());
    }
}

/// Defines a struct of families: one list gives the fields, their help, which is their doc comment, and their
/// definitions, so that none can be left out of either. A family is `field: Family = "name", unit` and what
/// else its `define` needs: a histogram's buckets, the keys of labels whose values are not known beforehand.
#[macro_export]
macro_rules! families {
    ($(#[$doc:meta])* $visible:vis struct $name:ident {
        $($(#[doc = $help:literal])+ $field:ident: $family:ty = $metric:literal $(, $more:expr)*;)*
    }) => {
        $(#[$doc])*
        #[derive(Debug)]
        $visible struct $name {
            $($(#[doc = $help])+ $visible $field: $family,)*
        }

        impl $name {
            /// The definitions of all families, in the order of the fields.
            $visible const DEFINITIONS: [$crate::Definition; [$($metric),*].len()] =
                [$(<$family>::define($metric, concat!($($help),+) $(, $more)*)),*];

            /// The families, to record in `telemetry`. Those of the same telemetry record in the same series.
            $visible fn new(telemetry: &$crate::Telemetry) -> ::std::sync::Arc<Self> {
                let [$($field),*] = &Self::DEFINITIONS;
                ::std::sync::Arc::new(Self { $($field: <$family>::new(telemetry, $field)),* })
            }
        }
    };
}
