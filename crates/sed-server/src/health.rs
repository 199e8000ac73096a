//! Standard gRPC health. The empty name says that the process lives; the service's name says that it is
//! ready.

use std::sync::Arc;

use sed_engine::EngineState;
use tokio::sync::watch;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{methods, metrics::ServerMetrics};

/// The name under which readiness is reported.
pub const SERVICE_NAME: &str = methods::SEGMENTATION.name;

/// All names under which readiness is reported: both services do the same work.
const SERVICES: [&str; 2] = [SERVICE_NAME, methods::INFERENCE.name];

/// The health that the process reports.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    reporter: HealthReporter,
    metrics: Arc<ServerMetrics>,
}

impl Health {
    /// Reports the process as alive, but not ready.
    pub(crate) async fn new(reporter: HealthReporter, metrics: Arc<ServerMetrics>) -> Self {
        // The library begins with the empty name as SERVING, which is what we mean by it.
        for name in SERVICES {
            reporter.set_service_status(name, ServingStatus::NotServing).await;
        }
        Self { reporter, metrics }
    }

    /// Reports every change of the engine's readiness, until the future is dropped or the engine has stopped.
    pub(crate) async fn follow(&self, mut state: watch::Receiver<EngineState>) {
        let mut told = false;
        loop {
            let ready = state.borrow_and_update().is_ready();
            if ready != told {
                self.set_ready(ready).await;
                told = ready;
            }
            if state.changed().await.is_err() {
                return;
            }
        }
    }

    pub(crate) async fn set_ready(&self, ready: bool) {
        self.metrics.model_ready.set(f64::from(u8::from(ready)));
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in SERVICES {
            self.reporter.set_service_status(name, status).await;
        }
    }

    /// Ends the streams of watching clients, which would hold their connections open.
    pub(crate) async fn end_watches(&mut self) {
        for name in SERVICES.into_iter().chain([""]) {
            self.reporter.clear_service_status(name).await;
        }
    }
}
