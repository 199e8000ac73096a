//! Labels of the server's metrics.

use sed_proto::v1::ErrorReason;
use sed_telemetry::{Label, label};

label! {
    /// Why a request was refused before the device worked on it.
    pub RejectReason: "reason" {
        Invalid = "invalid",
        ImageCorrupt = "image_corrupt",
        ImageTooLarge = "image_too_large",
        ImageUnsupported = "image_unsupported",
        ImageNotFound = "image_not_found",
        VocabularyTooLarge = "vocabulary_too_large",
        VocabularyNotFound = "vocabulary_not_found",
        TooManyVocabularies = "too_many_vocabularies",
        OutputTooLarge = "output_too_large",
        MessageTooLarge = "message_too_large",
        QueueFull = "queue_full",
        DeadlineTooShort = "deadline_too_short",
        DeadlineUnreachable = "deadline_unreachable",
        ModelNotReady = "model_not_ready",
        DeviceLost = "device_lost",
        ShuttingDown = "shutting_down",
        TokenMissing = "token_missing",
        TokenInvalid = "token_invalid",
        MemoryExhausted = "memory_exhausted",
        UploadTooSlow = "upload_too_slow",
        Reconnect = "reconnect",
        VocabularyNotReady = "vocabulary_not_ready",
    }
}

impl RejectReason {
    /// The label of an error's reason; `None` if the device may have worked on the request.
    pub(crate) fn of(reason: ErrorReason) -> Option<Self> {
        Some(match reason {
            ErrorReason::FieldMissing
            | ErrorReason::VocabularyEmpty
            | ErrorReason::CategoryNameInvalid
            | ErrorReason::CategoryDuplicate
            | ErrorReason::OptionInvalid
            | ErrorReason::VocabularyBuiltIn
            | ErrorReason::VocabularyNotOwned
            | ErrorReason::StreamIdInvalid
            | ErrorReason::TensorInvalid
            | ErrorReason::ModelNotFound
            | ErrorReason::RequestMalformed => Self::Invalid,
            ErrorReason::ImageCorrupt => Self::ImageCorrupt,
            ErrorReason::ImageTooLarge => Self::ImageTooLarge,
            ErrorReason::ImageUnsupported => Self::ImageUnsupported,
            ErrorReason::ImageNotFound => Self::ImageNotFound,
            ErrorReason::VocabularyTooLarge => Self::VocabularyTooLarge,
            ErrorReason::VocabularyNotFound => Self::VocabularyNotFound,
            ErrorReason::TooManyVocabularies => Self::TooManyVocabularies,
            ErrorReason::OutputTooLarge => Self::OutputTooLarge,
            ErrorReason::MessageTooLarge => Self::MessageTooLarge,
            ErrorReason::QueueFull => Self::QueueFull,
            ErrorReason::DeadlineTooShort => Self::DeadlineTooShort,
            ErrorReason::DeadlineUnreachable => Self::DeadlineUnreachable,
            ErrorReason::ModelNotReady => Self::ModelNotReady,
            ErrorReason::DeviceLost => Self::DeviceLost,
            ErrorReason::ShuttingDown => Self::ShuttingDown,
            ErrorReason::TokenMissing => Self::TokenMissing,
            ErrorReason::TokenInvalid => Self::TokenInvalid,
            ErrorReason::MemoryExhausted => Self::MemoryExhausted,
            ErrorReason::UploadTooSlow => Self::UploadTooSlow,
            ErrorReason::Reconnect => Self::Reconnect,
            ErrorReason::VocabularyNotReady => Self::VocabularyNotReady,
            ErrorReason::Unspecified
            | ErrorReason::DeadlineExceeded
            | ErrorReason::DeviceOutOfMemory
            | ErrorReason::Internal
            | ErrorReason::ResultNotFinite => return None,
        })
    }
}

label! {
    /// The way that the bytes of a transfer go.
    pub TransferDirection: "direction" {
        Upload = "upload",
        Answer = "answer",
    }
}

label! {
    /// Why a transfer was ended: it made too little progress, or was the slowest when memory or places ran
    /// out.
    pub TransferEnd: "cause" {
        Stalled = "stalled",
        Crowded = "crowded",
    }
}

label! {
    /// The reason why a TLS handshake failed.
    pub HandshakeFailure: "reason" {
        Timeout = "timeout",
        Closed = "closed",
        Plaintext = "plaintext",
        CertificateMissing = "certificate_missing",
        CertificateExpired = "certificate_expired",
        CertificateInvalid = "certificate_invalid",
        Refused = "refused",
        Protocol = "protocol",
    }
}

label! {
    /// The outcome of a call; `failed` are all whose code is not OK.
    pub CallOutcome: "outcome" {
        Answered = "answered",
        Failed = "failed",
    }
}

label! {
    /// The outcome of reloading files that have changed.
    pub ReloadOutcome: "outcome" {
        Loaded = "loaded",
        Failed = "failed",
    }
}

/// A status code of gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub tonic::Code);

impl Label for Code {
    const KEY: &'static str = "code";
    const ALL: &'static [Self] = &{
        let mut all = [Self(tonic::Code::Ok); 17];
        let mut number = 0;
        while number < all.len() {
            all[number] = Self(tonic::Code::from_i32(number as i32));
            number += 1;
        }
        all
    };

    fn as_str(self) -> &'static str {
        use tonic::Code;
        match self.0 {
            Code::Ok => "OK",
            Code::Cancelled => "CANCELLED",
            Code::Unknown => "UNKNOWN",
            Code::InvalidArgument => "INVALID_ARGUMENT",
            Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Code::NotFound => "NOT_FOUND",
            Code::AlreadyExists => "ALREADY_EXISTS",
            Code::PermissionDenied => "PERMISSION_DENIED",
            Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Code::FailedPrecondition => "FAILED_PRECONDITION",
            Code::Aborted => "ABORTED",
            Code::OutOfRange => "OUT_OF_RANGE",
            Code::Unimplemented => "UNIMPLEMENTED",
            Code::Internal => "INTERNAL",
            Code::Unavailable => "UNAVAILABLE",
            Code::DataLoss => "DATA_LOSS",
            Code::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}
