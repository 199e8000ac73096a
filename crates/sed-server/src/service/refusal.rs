//! The reasons for which requests get no answer, and their statuses.

use std::time::Instant;

use sed_engine::{EngineError, ImageKey};
use sed_proto::v1::ErrorReason;
use tonic::Status;

use crate::{
    cpu_pool::Panicked,
    field::Field,
    image_id,
    request_error::RequestError,
    status::{self, Failure},
};

/// The longest unknown name that an error repeats, in characters.
const MOST_NAME: usize = 64;

/// The reason for which a request got no answer.
#[derive(Debug)]
pub(crate) enum Refusal {
    Request(RequestError),
    Engine(EngineError),
    UnknownVocabulary(String),
    UnknownImage(ImageKey),
    /// A model, or a version of it, that the server does not hold.
    UnknownModel {
        asked: String,
        held: String,
    },
    Panicked,
    /// There is too little memory.
    Status(Status),
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl From<Panicked> for Refusal {
    fn from(_: Panicked) -> Self {
        Self::Panicked
    }
}

impl Refusal {
    /// Replaces the field that the refusal is about.
    pub(crate) fn with_field(self, field: impl FnOnce(Field) -> Field) -> Self {
        match self {
            Self::Request(error) => Self::Request(error.with_field(field)),
            other => other,
        }
    }

    pub(crate) fn into_status(self) -> Status {
        match self {
            Self::Request(error) => {
                if error.reason == ErrorReason::Internal {
                    tracing::error!(%error, "a request failed");
                    return status::internal("masks could not be made; the server's log says why")
                        .into_status();
                }
                status::from_request_error(&error)
            }
            Self::Engine(error) => status::from_engine_error(&error),
            Self::UnknownVocabulary(name) => unknown_vocabulary(&name),
            Self::UnknownImage(key) => {
                let message = "the server does not hold this image, or not any more; send its bytes";
                let failure = Failure::new(ErrorReason::ImageNotFound, message);
                failure.resource("sed.v1.Image", &image_id::text_of(&key)).into_status()
            }
            Self::UnknownModel { asked, held } => {
                let asked: String = asked.chars().take(MOST_NAME).collect();
                let message = format!("the server does not hold {asked:?}; it holds {held}");
                let failure = Failure::new(ErrorReason::ModelNotFound, message);
                failure.resource("inference.Model", &asked).into_status()
            }
            Self::Panicked => status::panicked(),
            Self::Status(status) => status,
        }
    }
}

pub(crate) fn unknown_vocabulary(name: &str) -> Status {
    let message = format!("the server has no vocabulary {name:?}; ListVocabularies lists those it has");
    let failure = Failure::new(ErrorReason::VocabularyNotFound, message);
    failure.resource("sed.v1.Vocabulary", name).into_status()
}

/// Logs an answered request, or converts a refusal to a status, which is logged where its call ends.
pub(crate) fn conclude<T>(outcome: Result<T, Refusal>, received: Instant) -> Result<T, Status> {
    let answer = outcome.map_err(Refusal::into_status)?;
    tracing::info!(milliseconds = received.elapsed().as_millis() as u64, "answered");
    Ok(answer)
}
