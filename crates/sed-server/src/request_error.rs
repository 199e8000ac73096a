//! Requests that break a rule: the rule, the field and the limit.

use sed_engine::{Phrase, VocabularyError};
use sed_image::ImageError;
use sed_proto::v1::ErrorReason;

use crate::field::{CategoryList, Field};

/// The reason for refusing a request.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{field}: {message}")]
pub struct RequestError {
    /// The stable reason.
    pub reason: ErrorReason,
    /// The field of the request.
    pub field: Field,
    /// The fault and its remedy.
    pub message: String,
    /// The limit, where there is one.
    pub limit: Option<u64>,
}

impl RequestError {
    pub(crate) fn new(reason: ErrorReason, field: Field, message: impl Into<String>) -> Self {
        Self { reason, field, message: message.into(), limit: None }
    }

    pub(crate) fn missing(field: Field, message: &str) -> Self {
        Self::new(ErrorReason::FieldMissing, field, message)
    }

    pub(crate) fn option(field: Field, message: impl Into<String>) -> Self {
        Self::new(ErrorReason::OptionInvalid, field, message)
    }

    pub(crate) fn with_limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Replaces the field.
    pub(crate) fn with_field(self, field: impl FnOnce(Field) -> Field) -> Self {
        Self { field: field(self.field), ..self }
    }

    /// The error of an image that could not be read.
    pub(crate) fn image(field: Field, error: &ImageError) -> Self {
        let (reason, limit) = match error {
            ImageError::TooManyBytes { limit, .. }
            | ImageError::TooManyPixels { limit, .. }
            | ImageError::TooMuchMemory { limit, .. } => (ErrorReason::ImageTooLarge, Some(*limit)),
            ImageError::SideTooLong { limit, .. } => (ErrorReason::ImageTooLarge, Some(u64::from(*limit))),
            ImageError::UnknownFormat { .. } | ImageError::UnsupportedVariant { .. } => {
                (ErrorReason::ImageUnsupported, None)
            }
            error if error.is_callers_fault() => (ErrorReason::ImageCorrupt, None),
            _ => (ErrorReason::Internal, None),
        };
        Self { reason, field, message: error.to_string(), limit }
    }

    /// The error of categories that make no valid vocabulary.
    pub(crate) fn vocabulary(list: CategoryList, error: &VocabularyError) -> Self {
        let at = |phrase: &Phrase| Field::Phrase(list, *phrase);
        let (reason, field, limit) = match error {
            VocabularyError::Empty => (ErrorReason::VocabularyEmpty, Field::CategoryList(list), None),
            VocabularyError::TooManyCategories { contrast, limit, .. }
            | VocabularyError::TooManyPhrases { contrast, limit, .. } => {
                let field = if *contrast > 0 { Field::ContrastList(list) } else { Field::CategoryList(list) };
                (ErrorReason::VocabularyTooLarge, field, Some(*limit as u64))
            }
            VocabularyError::TooManySynonyms { category, limit, .. } => {
                (ErrorReason::VocabularyTooLarge, Field::Synonyms(list, *category), Some(*limit as u64))
            }
            VocabularyError::PhraseTooLong { phrase, limit, .. } => {
                (ErrorReason::CategoryNameInvalid, at(phrase), Some(*limit as u64))
            }
            VocabularyError::EmptyPhrase { phrase } | VocabularyError::ControlCharacter { phrase } => {
                (ErrorReason::CategoryNameInvalid, at(phrase), None)
            }
            VocabularyError::DuplicateCategory { second, .. } => {
                (ErrorReason::CategoryDuplicate, at(&second.name()), None)
            }
            VocabularyError::DuplicatePhrase { second, .. } => {
                (ErrorReason::CategoryDuplicate, at(second), None)
            }
        };
        Self { reason, field, message: error.to_string(), limit }
    }
}
