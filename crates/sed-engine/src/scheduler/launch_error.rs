//! The error of a launch, as log, metrics and requests see it.

use std::any::Any;

use crate::{
    metrics::{DeviceErrorKind, EngineMetrics},
    requests::error::{EngineError, panic_message},
    stages::{StageError, stage::Stage},
};

/// The error of a launch, or of an answer behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LaunchError {
    Stage(StageError),
    Panicked(String),
}

impl LaunchError {
    /// A panic that was caught.
    pub(super) fn of_panic(payload: &(dyn Any + Send)) -> Self {
        Self::Panicked(panic_message(payload).unwrap_or("without a message").to_owned())
    }

    /// Its label in the metrics.
    pub(super) fn kind(&self) -> DeviceErrorKind {
        match self {
            Self::Stage(StageError::OutOfMemory(_)) => DeviceErrorKind::OutOfMemory,
            Self::Stage(StageError::DeviceLost(_)) => DeviceErrorKind::Lost,
            Self::Stage(StageError::NotFinite { .. }) => DeviceErrorKind::NotFinite,
            Self::Stage(StageError::Failed(_)) => DeviceErrorKind::Failed,
            Self::Panicked(_) => DeviceErrorKind::Panic,
        }
    }

    /// Its message in the log.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Stage(
                StageError::OutOfMemory(message)
                | StageError::DeviceLost(message)
                | StageError::Failed(message),
            )
            | Self::Panicked(message) => message.clone(),
            Self::Stage(StageError::NotFinite { found, of }) => {
                format!("{found} of {of} scores of an image are not finite")
            }
        }
    }

    /// Counts it in the metrics.
    pub(super) fn count(&self, metrics: &EngineMetrics) {
        metrics.device_errors.add(self.kind(), 1);
        if matches!(self, Self::Panicked(_)) {
            metrics.panics.add(1);
        }
    }

    /// The error of a request that is to blame for it.
    pub(super) fn of_request(&self, stage: Stage) -> EngineError {
        match self {
            Self::Stage(StageError::OutOfMemory(_)) => EngineError::DeviceOutOfMemory { stage },
            Self::Stage(StageError::DeviceLost(reason)) => EngineError::DeviceLost(reason.clone()),
            Self::Stage(StageError::NotFinite { found, of }) => {
                EngineError::ResultNotFinite { found: *found, of: *of }
            }
            Self::Stage(StageError::Failed(message)) => {
                EngineError::StageFailed { stage, message: message.clone() }
            }
            Self::Panicked(message) => {
                EngineError::StageFailed { stage, message: format!("panicked: {message}") }
            }
        }
    }
}
