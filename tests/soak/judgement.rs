//! The errors that a request may get.

use sed_proto::v1::{self, ErrorReason};
use sed_server::metrics::RejectReason;
use sed_server::{ERROR_DOMAIN, code_of, reason_name};
use sed_telemetry::Label;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Errors that any request for masks may get while the server is full and its model has faults.
pub(crate) const TROUBLE: [ErrorReason; 4] =
    [ErrorReason::QueueFull, ErrorReason::Internal, ErrorReason::DeviceOutOfMemory, ErrorReason::DeviceLost];
/// The ends of a request whose deadline is short.
pub(crate) const LATE: [ErrorReason; 4] = [
    ErrorReason::DeadlineExceeded,
    ErrorReason::DeadlineTooShort,
    ErrorReason::DeadlineUnreachable,
    ErrorReason::VocabularyNotReady,
];

/// The reason of an error.
///
/// # Errors
/// It has none, or not the code that belongs to it.
pub(crate) fn reason_of(status: &Status) -> Result<ErrorReason, String> {
    let details = status.get_error_details();
    let info = details.error_info().filter(|info| info.domain == ERROR_DOMAIN);
    let name = info.map(|info| format!("ERROR_REASON_{}", info.reason));
    let Some(reason) = name.and_then(|name| ErrorReason::from_str_name(&name)) else {
        return Err(format!("an error without a reason: {status:?}"));
    };
    if code_of(reason) == status.code() {
        Ok(reason)
    } else {
        Err(format!("{} came with the code {:?}", reason_name(reason), status.code()))
    }
}

/// The label under which `sed_requests_rejected_total` counts a reason; `None` if it does not.
pub(crate) fn label_of_refusal(reason: ErrorReason) -> Option<&'static str> {
    let after_work = [
        ErrorReason::DeadlineExceeded,
        ErrorReason::DeviceOutOfMemory,
        ErrorReason::Internal,
        ErrorReason::ResultNotFinite,
    ];
    if after_work.contains(&reason) {
        return None;
    }
    let name = reason_name(reason).to_lowercase();
    let named = RejectReason::ALL.iter().find(|label| label.as_str() == name);
    Some(named.unwrap_or(&RejectReason::Invalid).as_str())
}

/// Says what is wrong with an error, if it is none of those that were allowed.
pub(crate) fn check_error(status: &Status, allowed: &[&[ErrorReason]]) -> Result<(), String> {
    let reason = reason_of(status)?;
    if allowed.iter().any(|some| some.contains(&reason)) {
        return Ok(());
    }
    Err(format!("{} was not to be expected: {}", reason_name(reason), status.message()))
}

/// The error of a request on a stream as the status that a call of its own would have.
pub(crate) fn status_of(error: &v1::StreamError) -> Status {
    use prost::Message;
    let details = tonic_types::Status {
        code: error.code,
        message: error.message.clone(),
        details: error.details.clone(),
    };
    Status::with_details(Code::from_i32(error.code), error.message.clone(), details.encode_to_vec().into())
}

/// Reports whether an old connection closed without taking the call, so that the call may be sent again: the server said
/// so, or the connection had ended when the call reached it. hyper's client does not send such a call again itself. A
/// server that had taken it has counted it, which the accounts show.
pub(crate) fn was_not_taken(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR);
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return error.kind() == std::io::ErrorKind::BrokenPipe;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn status(code: Code, reason: &str) -> Status {
        let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, []);
        Status::with_error_details(code, "no", details)
    }

    #[test]
    fn an_error_has_a_reason_and_the_code_that_belongs_to_it() {
        let full = status(Code::ResourceExhausted, "QUEUE_FULL");
        assert_eq!(reason_of(&full), Ok(ErrorReason::QueueFull));
        assert!(check_error(&full, &[&TROUBLE]).is_ok());
        assert!(check_error(&full, &[&LATE]).unwrap_err().starts_with("QUEUE_FULL"));
        for wrong in [
            status(Code::Internal, "QUEUE_FULL"),
            status(Code::Internal, "QUEUE_EMPTY"),
            Status::internal("no details"),
        ] {
            assert!(reason_of(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_error_on_a_stream_is_that_of_a_call() {
        let call = status(Code::NotFound, "IMAGE_NOT_FOUND");
        let details = <tonic_types::Status as prost::Message>::decode(call.details()).unwrap().details;
        let error = v1::StreamError { code: Code::NotFound.into(), message: "no".into(), details };
        assert_eq!(reason_of(&status_of(&error)), Ok(ErrorReason::ImageNotFound));
    }

    #[test]
    fn refusals_have_labels_and_other_errors_have_none() {
        assert_eq!(label_of_refusal(ErrorReason::QueueFull), Some("queue_full"));
        assert_eq!(label_of_refusal(ErrorReason::CategoryDuplicate), Some("invalid"));
        assert_eq!(label_of_refusal(ErrorReason::Internal), None);
    }
}
