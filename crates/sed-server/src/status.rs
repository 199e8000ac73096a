//! Errors as gRPC statuses with google.rpc details. The reasons are documented in `error_reason.proto`.

use std::{collections::HashMap, error::Error as _, sync::Arc, time::Duration};

use sed_engine::{EngineError, NotReady};
use sed_proto::v1::ErrorReason;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::request_error::RequestError;

/// The `domain` of every `ErrorInfo`.
pub const ERROR_DOMAIN: &str = "sed-serve";

/// Delay before a retry where the server has no better estimate.
const USUAL_RETRY: Duration = Duration::from_secs(1);

/// The reason as `ErrorInfo` carries it: the enum's name without its prefix.
pub fn reason_name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

/// The gRPC code that goes with a reason.
pub fn code_of(reason: ErrorReason) -> Code {
    match reason {
        ErrorReason::FieldMissing
        | ErrorReason::ImageCorrupt
        | ErrorReason::ImageTooLarge
        | ErrorReason::ImageUnsupported
        | ErrorReason::VocabularyEmpty
        | ErrorReason::VocabularyTooLarge
        | ErrorReason::CategoryNameInvalid
        | ErrorReason::CategoryDuplicate
        | ErrorReason::OptionInvalid
        | ErrorReason::OutputTooLarge
        | ErrorReason::RequestMalformed
        | ErrorReason::StreamIdInvalid
        | ErrorReason::TensorInvalid => Code::InvalidArgument,
        ErrorReason::VocabularyNotFound | ErrorReason::ImageNotFound | ErrorReason::ModelNotFound => {
            Code::NotFound
        }
        ErrorReason::MessageTooLarge => Code::OutOfRange,
        ErrorReason::QueueFull
        | ErrorReason::DeviceOutOfMemory
        | ErrorReason::DeadlineUnreachable
        | ErrorReason::MemoryExhausted
        | ErrorReason::TooManyVocabularies
        | ErrorReason::VocabularyNotReady => Code::ResourceExhausted,
        ErrorReason::DeadlineExceeded | ErrorReason::DeadlineTooShort => Code::DeadlineExceeded,
        ErrorReason::VocabularyBuiltIn => Code::FailedPrecondition,
        ErrorReason::VocabularyNotOwned => Code::PermissionDenied,
        ErrorReason::TokenMissing | ErrorReason::TokenInvalid => Code::Unauthenticated,
        ErrorReason::ModelNotReady
        | ErrorReason::ShuttingDown
        | ErrorReason::DeviceLost
        | ErrorReason::Reconnect => Code::Unavailable,
        ErrorReason::UploadTooSlow => Code::Aborted,
        ErrorReason::Unspecified | ErrorReason::Internal | ErrorReason::ResultNotFinite => Code::Internal,
    }
}

/// The reason of a status, as its source: for the server's own accounts, since clients do not get sources.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{}", reason_name(*.0))]
struct Reason(ErrorReason);

/// Returns the reason of a status that this server made, before it is sent.
pub(crate) fn reason_of(status: &Status) -> Option<ErrorReason> {
    status.source()?.downcast_ref().map(|Reason(reason)| *reason)
}

/// Restores the reason of a status of this server that came through a request's body: the transport passes on
/// the details of a body's error, but not its source.
pub(crate) fn from_body(mut status: Status) -> Status {
    let details = status.get_error_details();
    let name = details.error_info().map(|info| format!("ERROR_REASON_{}", info.reason));
    if let Some(reason) = name.and_then(|name| ErrorReason::from_str_name(&name)) {
        status.set_source(Arc::new(Reason(reason)));
    }
    status
}

/// A builder of statuses.
#[derive(Debug)]
pub(crate) struct Failure {
    reason: ErrorReason,
    message: String,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
}

impl Failure {
    pub(crate) fn new(reason: ErrorReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), metadata: HashMap::new(), details: ErrorDetails::new() }
    }

    pub(crate) fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.into(), value.to_string());
        self
    }

    pub(crate) fn retry_after(mut self, delay: Duration) -> Self {
        self.details.set_retry_info(Some(delay));
        self
    }

    pub(crate) fn resource(mut self, kind: &str, name: &str) -> Self {
        self.details.set_resource_info(kind, name, "", self.message.clone());
        self
    }

    /// Adds a quota that is reached: the unit that it counts, and its limit.
    pub(crate) fn quota(mut self, unit: &str, limit: usize) -> Self {
        self.details.add_quota_failure_violation(unit, self.message.clone());
        self.with("unit", unit).with("limit", limit)
    }

    /// Adds the state of words that are not ready.
    fn words(self, why: NotReady) -> Self {
        match why {
            NotReady::Preparing => self,
            NotReady::TooMany { preparing, limit } => {
                self.quota("phrases in preparation", limit).with("preparing", preparing)
            }
            NotReady::TooLarge { needed, text_cache, assembled, vocabulary_cache } => self
                .with("needed_bytes", needed)
                .with("text_cache_bytes", text_cache)
                .with("needed_vocabulary_bytes", assembled)
                .with("vocabulary_cache_bytes", vocabulary_cache),
        }
    }

    fn violation(mut self, field: String, message: &str) -> Self {
        self.details.add_bad_request_violation(field, message);
        self
    }

    pub(crate) fn into_status(mut self) -> Status {
        self.details.set_error_info(reason_name(self.reason), ERROR_DOMAIN, self.metadata);
        let mut status = Status::with_error_details(code_of(self.reason), self.message, self.details);
        status.set_source(Arc::new(Reason(self.reason)));
        status
    }
}

/// The answer to a request that breaks a rule.
pub(crate) fn from_request_error(error: &RequestError) -> Status {
    let failure =
        Failure::new(error.reason, error.to_string()).violation(error.field.to_string(), &error.message);
    match error.limit {
        Some(limit) => failure.with("limit", limit),
        None => failure,
    }
    .into_status()
}

/// The answer to a request that the engine failed. Details for the operator stay in the log.
pub(crate) fn from_engine_error(error: &EngineError) -> Status {
    let failure = |reason| Failure::new(reason, error.to_string());
    match error {
        EngineError::QueueFull { unit, capacity, retry_after } => {
            failure(ErrorReason::QueueFull).quota(unit, *capacity).retry_after(*retry_after)
        }
        EngineError::DeadlineTooShort { needed, left } => failure(ErrorReason::DeadlineTooShort)
            .with("needed_ms", needed.as_millis())
            .with("left_ms", left.as_millis()),
        EngineError::DeadlineUnreachable { predicted, left, retry_after } => {
            failure(ErrorReason::DeadlineUnreachable)
                .with("predicted_ms", predicted.as_millis())
                .with("left_ms", left.as_millis())
                .retry_after(*retry_after)
        }
        EngineError::VocabularyNotReady { embedded, phrases, retry_after, why } => {
            let failure = failure(ErrorReason::VocabularyNotReady)
                .with("embedded", embedded)
                .with("phrases", phrases)
                .words(*why);
            match retry_after {
                Some(delay) => failure.retry_after(*delay),
                None => failure,
            }
        }
        EngineError::DeadlineExceeded => return deadline_exceeded(),
        EngineError::WarmUpFailed(_) => {
            Failure::new(ErrorReason::ModelNotReady, "the model's warm-up failed; retry on another replica")
                .retry_after(USUAL_RETRY)
        }
        EngineError::NotReady => failure(ErrorReason::ModelNotReady).retry_after(USUAL_RETRY),
        EngineError::ShuttingDown => return shutting_down(),
        EngineError::DeviceLost(_) => {
            Failure::new(ErrorReason::DeviceLost, "the device does not answer; retry on another replica")
                .retry_after(USUAL_RETRY)
        }
        EngineError::DeviceOutOfMemory { stage } => {
            failure(ErrorReason::DeviceOutOfMemory).with("stage", stage.name())
        }
        EngineError::ResultNotFinite { found, of } => {
            failure(ErrorReason::ResultNotFinite).with("not_finite", found).with("values", of)
        }
        EngineError::StageFailed { stage, .. } => {
            internal("a stage failed; the server's log says why").with("stage", stage.name())
        }
        EngineError::Cancelled
        | EngineError::InvalidJob { .. }
        | EngineError::NoThread(_)
        | EngineError::TextStore { .. } => internal("the server made a mistake; its log says which"),
    }
    .into_status()
}

/// The deadline passed before the work was finished.
pub(crate) fn deadline_exceeded() -> Status {
    let message = "the deadline passed before the request was finished";
    Failure::new(ErrorReason::DeadlineExceeded, message).into_status()
}

/// The server is shutting down and begins no new work.
pub(crate) fn shutting_down() -> Status {
    let message = EngineError::ShuttingDown.to_string();
    Failure::new(ErrorReason::ShuttingDown, message).retry_after(USUAL_RETRY).into_status()
}

/// The client is to open the stream again, on another connection; what is unanswered was not begun.
pub(crate) fn reconnect(why: &str) -> Status {
    let message = format!("{why}; open the stream again, and send what was not answered");
    Failure::new(ErrorReason::Reconnect, message).retry_after(Duration::ZERO).into_status()
}

/// The same for a connection that takes no new calls any more.
pub(crate) fn reconnect_of_old() -> Status {
    reconnect("the connection is old and ends soon")
}

/// There are as many uploads as may be, and all of them make progress.
pub(crate) fn too_many_uploads() -> Status {
    let message = "too many requests are being sent at the same time, to the server or on this connection; retry after \
                   the delay";
    Failure::new(ErrorReason::QueueFull, message).retry_after(USUAL_RETRY).into_status()
}

/// A message is larger than the limit.
pub(crate) fn message_too_large(limit: usize) -> Status {
    let message = format!("the request message has more than {limit} bytes; send less");
    Failure::new(ErrorReason::MessageTooLarge, message)
        .with("unit", "bytes")
        .with("limit", limit)
        .into_status()
}

/// A message cannot be read.
pub(crate) fn malformed() -> Status {
    let message = "the message cannot be read as a request of the method; check the generated code's version";
    Failure::new(ErrorReason::RequestMalformed, message).into_status()
}

/// Explains a refusal of the transport, with the limit and the fault; `None` for other codes.
pub(crate) fn of_transport(code: Code, message_bytes: usize) -> Option<Status> {
    match code {
        Code::OutOfRange => Some(message_too_large(message_bytes)),
        // Our own internal errors carry details, so this is the transport that cannot read the message.
        Code::Internal => Some(malformed()),
        _ => None,
    }
}

/// Work on pixels, or on a message, panicked.
pub(crate) fn panicked() -> Status {
    internal("work on pixels failed; the server's log says why").into_status()
}

/// A fault of the server.
pub(crate) fn internal(message: &str) -> Failure {
    Failure::new(ErrorReason::Internal, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_short_name_in_capitals() {
        for number in 0..100 {
            let Ok(reason) = ErrorReason::try_from(number) else { continue };
            let name = reason_name(reason);
            assert!(name.len() <= 63 && !name.starts_with("ERROR_"), "{name}");
            assert!(name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_'), "{name}");
        }
    }

    #[test]
    fn the_log_keeps_what_callers_need_not_know() {
        let error = EngineError::StageFailed {
            stage: sed_engine::Stage::Encode,
            message: "panicked: /home/build/secret.rs".into(),
        };
        let status = from_engine_error(&error);
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("secret"));
        let info = status.get_error_details().error_info().cloned().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INTERNAL", ERROR_DOMAIN));
        assert_eq!(reason_of(&status), Some(ErrorReason::Internal));
        assert_eq!(info.metadata["stage"], "encode");
    }
}
