//! The recorder of a program's metrics, as a value.

use std::{fmt, sync::Arc};

use metrics::{Key, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use crate::definition::{Definition, Kind};

static METADATA: Metadata<'_> = Metadata::new("sed_serve", Level::INFO, None);

/// The place where families record, or none. Cheap to clone.
#[derive(Clone)]
pub struct Telemetry {
    /// `None` records nothing.
    shared: Option<Arc<Shared>>,
}

struct Shared {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    families: Vec<Definition>,
}

impl Telemetry {
    /// Telemetry that records nothing.
    pub fn off() -> Self {
        Self { shared: None }
    }

    /// Telemetry of these families, by the lists of all crates. Each exists with every combination of its
    /// labels from now on, at zero: a series that appears with its first event has lost that event for
    /// `rate()`. Series with a label whose values are not known beforehand begin when they are recorded.
    ///
    /// # Errors
    /// A histogram has no buckets.
    pub fn new(families: &[&[Definition]]) -> Result<Self, BuildError> {
        let families = families.concat();
        let mut builder = PrometheusBuilder::new();
        // A histogram without buckets would be a summary, which cannot be added up over replicas.
        for family in families.iter().filter(|family| family.kind == Kind::Histogram) {
            builder = builder.set_buckets_for_metric(Matcher::Full(family.name.into()), family.buckets)?;
        }
        let recorder = builder.build_recorder();
        let shared = Arc::new(Shared { handle: recorder.handle(), recorder, families });
        let telemetry = Self { shared: Some(Arc::clone(&shared)) };
        for family in &shared.families {
            shared.describe(family);
            for key in family.series() {
                match family.kind {
                    Kind::Counter if !family.is_sum_of_seconds() => drop(telemetry.counter(&key)),
                    Kind::Counter | Kind::Gauge => drop(telemetry.gauge(&key)),
                    Kind::Histogram => drop(telemetry.histogram(&key)),
                }
            }
        }
        Ok(telemetry)
    }

    /// Returns all metrics in the text format of Prometheus; `None` if nothing is recorded.
    pub fn render(&self) -> Option<String> {
        let shared = self.shared.as_ref()?;
        let mut text = shared.handle.render();
        for Definition { name, .. } in shared.families.iter().filter(|family| family.is_sum_of_seconds()) {
            text = text.replace(&format!("# TYPE {name} gauge\n"), &format!("# TYPE {name} counter\n"));
        }
        Some(text)
    }

    /// Sums up the histograms, which store every value until then, or until they are rendered. To be called
    /// every few seconds.
    pub fn run_upkeep(&self) {
        if let Some(shared) = &self.shared {
            shared.handle.run_upkeep();
        }
    }

    pub(crate) fn counter(&self, key: &Key) -> metrics::Counter {
        let register = |shared: &Arc<Shared>| shared.recorder.register_counter(key, &METADATA);
        self.shared.as_ref().map_or_else(metrics::Counter::noop, register)
    }

    pub(crate) fn gauge(&self, key: &Key) -> metrics::Gauge {
        let register = |shared: &Arc<Shared>| shared.recorder.register_gauge(key, &METADATA);
        self.shared.as_ref().map_or_else(metrics::Gauge::noop, register)
    }

    pub(crate) fn histogram(&self, key: &Key) -> metrics::Histogram {
        let register = |shared: &Arc<Shared>| shared.recorder.register_histogram(key, &METADATA);
        self.shared.as_ref().map_or_else(metrics::Histogram::noop, register)
    }
}

impl Shared {
    fn describe(&self, family: &Definition) {
        let (name, unit, help) = (family.name.into(), Some(family.unit), family.help_line().into());
        match family.kind {
            Kind::Counter => self.recorder.describe_counter(name, unit, help),
            Kind::Gauge => self.recorder.describe_gauge(name, unit, help),
            Kind::Histogram => self.recorder.describe_histogram(name, unit, help),
        }
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let families = self.shared.as_ref().map(|shared| shared.families.len());
        formatter.debug_struct("Telemetry").field("families", &families).finish()
    }
}
