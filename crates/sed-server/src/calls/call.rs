//! One call, from its headers to its end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use sed_engine::metrics::{self, CallOutcome, Code, Label, Method, RejectReason};
use tonic::Status;
use tonic_types::StatusExt;
use tracing::Span;

use super::span;
use crate::caller::Caller;

/// A call that has begun. It is counted exactly once: by [`Call::end`], or as cancelled when it is dropped.
#[derive(Debug)]
pub(super) struct Call {
    method: Method,
    caller: Option<Caller>,
    begun: Instant,
    span: Span,
    received: Arc<AtomicU64>,
    sent: u64,
    ended: bool,
}

impl Call {
    /// `caller` is the name of the token that the call brought.
    pub(super) fn begin(method: Method, caller: Option<Caller>, span: Span) -> Self {
        metrics::REQUESTS_IN_FLIGHT.add(1.0);
        let received = Arc::new(AtomicU64::new(0));
        Self { method, caller, begun: Instant::now(), span, received, sent: 0, ended: false }
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
        let code = Code::from_number(status.code().into());
        metrics::REQUESTS.add(self.method, code, 1);
        if let Some(caller) = &self.caller {
            metrics::REQUESTS_BY_CALLER.add(caller, code, 1);
        }
        let outcome = if code == Code::Ok { CallOutcome::Answered } else { CallOutcome::Failed };
        metrics::REQUEST_DURATION.record(self.method, outcome, self.begun.elapsed());
        metrics::REQUESTS_IN_FLIGHT.add(-1.0);
        count_refusal(status);
        if matches!(self.method, Method::Segment | Method::SegmentStream | Method::ModelInfer) {
            let received = self.received.load(Ordering::Relaxed);
            let sizes = [(&metrics::REQUEST_BYTES, received), (&metrics::RESPONSE_BYTES, self.sent)];
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
    let details = status.get_error_details();
    let reason = details.error_info().map_or("", |info| info.reason.as_str());
    tracing::info!(code = ?status.code(), reason, error = status.message(), "refused");
}

/// Counts the reason for which a request was refused, if it was.
pub(crate) fn count_refusal(status: &Status) {
    if let Some(reason) = reject_reason(status) {
        metrics::REQUESTS_REJECTED.add(reason, 1);
    }
}

/// The reason for refusing a call before work on the device began; `None` if it was not refused.
fn reject_reason(status: &Status) -> Option<RejectReason> {
    let details = status.get_error_details();
    let reason = details.error_info()?.reason.to_lowercase();
    let named = RejectReason::ALL.iter().copied().find(|known| known.as_str() == reason);
    named.or(match reason.as_str() {
        "field_missing"
        | "vocabulary_empty"
        | "category_name_invalid"
        | "category_duplicate"
        | "option_invalid"
        | "vocabulary_built_in"
        | "vocabulary_not_owned"
        | "stream_id_invalid"
        | "tensor_invalid"
        | "model_not_found"
        | "request_malformed" => Some(RejectReason::Invalid),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use sed_proto::v1::ErrorReason;

    use super::*;
    use crate::status::Failure;

    #[test]
    fn every_reason_is_a_refusal_or_known_not_to_be_one() {
        let later = [
            ErrorReason::Unspecified,
            ErrorReason::DeadlineExceeded,
            ErrorReason::DeviceOutOfMemory,
            ErrorReason::Internal,
            ErrorReason::ResultNotFinite,
        ];
        for reason in (0..100).filter_map(|number| ErrorReason::try_from(number).ok()) {
            let refusal = reject_reason(&Failure::new(reason, "no").into_status());
            assert_eq!(refusal.is_none(), later.contains(&reason), "{reason:?}");
        }
        let queue_full = Failure::new(ErrorReason::QueueFull, "full").into_status();
        assert_eq!(reject_reason(&queue_full), Some(RejectReason::QueueFull));
        let duplicate = Failure::new(ErrorReason::CategoryDuplicate, "twice").into_status();
        assert_eq!(reject_reason(&duplicate), Some(RejectReason::Invalid));
        assert_eq!(reject_reason(&Status::unavailable("no details")), None);
    }
}
