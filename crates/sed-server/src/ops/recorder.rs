//! The recorder of the metrics, and their output for Prometheus.

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use sed_engine::metrics;

/// The metrics of this process.
#[derive(Clone, Debug)]
pub struct Metrics(PrometheusHandle);

/// Installs the recorder of this process. All metrics exist from then on, at zero; earlier records are lost.
///
/// # Errors
/// The process has a recorder already.
pub fn install_metrics() -> Result<Metrics, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for (name, buckets) in metrics::histogram_buckets() {
        builder = builder.set_buckets_for_metric(Matcher::Full(name.into()), buckets)?;
    }
    let handle = builder.install_recorder()?;
    metrics::register_all();
    metrics::BUILD_INFO.set([env!("CARGO_PKG_VERSION")]);
    Ok(Metrics(handle))
}

impl Metrics {
    /// Returns all of them in the text format of Prometheus.
    pub fn render(&self) -> String {
        metrics::exposed(self.0.render())
    }

    pub(super) fn run_upkeep(&self) {
        self.0.run_upkeep();
    }
}
