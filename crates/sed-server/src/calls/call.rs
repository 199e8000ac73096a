//! One call, from its headers to its end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use sed_telemetry::GaugeShare;
use tonic::Status;
use tracing::Span;

use super::span;
use crate::{
    caller::Caller,
    methods::{CountedMethod, Work},
    metrics::{CallOutcome, Code, RejectReason, ServerMetrics},
    status::{reason_name, reason_of},
};

/// A call that has begun. It is counted exactly once: by [`Call::end`], or as cancelled when it is dropped.
#[derive(Debug)]
pub(super) struct Call {
    method: CountedMethod,
    caller: Option<Caller>,
    begun: Instant,
    span: Span,
    received: Arc<AtomicU64>,
    sent: u64,
    ended: bool,
    in_flight: GaugeShare,
    metrics: Arc<ServerMetrics>,
}

impl Call {
    /// `caller` is the name of the token that the call brought.
    pub(super) fn begin(
        method: CountedMethod,
        caller: Option<Caller>,
        span: Span,
        metrics: Arc<ServerMetrics>,
    ) -> Self {
        let in_flight = metrics.requests_in_flight.share(1.0);
        let (begun, received) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        Self { method, caller, begun, span, received, sent: 0, ended: false, in_flight, metrics }
    }

    /// Returns the counter of the bytes received.
    pub(super) fn received(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.received)
    }

    /// Adds to the bytes sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// Counts the status of the call, and logs it if it is an error. Only the first status counts.
    pub(super) fn end(&mut self, status: &Status) {
        if self.ended {
            return;
        }
        if status.code() != tonic::Code::Ok {
            self.span.in_scope(|| log_refusal(status));
        }
        self.count(status);
    }

    fn count(&mut self, status: &Status) {
        self.ended = true;
        let (code, metrics) = (Code(status.code()), &self.metrics);
        metrics.requests.add(self.method, code, 1);
        if let Some(caller) = &self.caller {
            metrics.requests_by_caller.add(caller, code, 1);
        }
        let outcome =
            if status.code() == tonic::Code::Ok { CallOutcome::Answered } else { CallOutcome::Failed };
        metrics.request_duration.record(self.method, outcome, self.begun.elapsed());
        self.in_flight.set(0.0);
        metrics.count_refusal(status);
        if self.method.0.work == Work::Masks {
            let received = self.received.load(Ordering::Relaxed);
            let sizes = [(&metrics.request_bytes, received), (&metrics.response_bytes, self.sent)];
            for (histogram, bytes) in sizes.into_iter().filter(|(_, bytes)| *bytes > 0) {
                histogram.record(bytes as f64);
            }
        }
        span::end(&self.span, status.code());
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            self.count(&Status::cancelled("the caller has gone"));
        }
    }
}

/// Logs an error that a request gets instead of an answer.
pub(crate) fn log_refusal(status: &Status) {
    if status.code() == tonic::Code::Cancelled {
        return tracing::info!(error = status.message(), "cancelled");
    }
    let reason = reason_of(status).map_or("", reason_name);
    tracing::info!(code = ?status.code(), reason, error = status.message(), "refused");
}

impl ServerMetrics {
    /// Counts the reason for which a request was refused, if it was.
    pub(crate) fn count_refusal(&self, status: &Status) {
        if let Some(reason) = reason_of(status).and_then(RejectReason::of) {
            self.requests_rejected.add(reason, 1);
        }
    }
}
