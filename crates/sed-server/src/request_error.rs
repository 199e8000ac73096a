//! Requests that break a rule: the rule, the field and the limit.

use sed_engine::{Phrase, VocabularyError};
use sed_image::ImageError;
use sed_proto::v1::ErrorReason;

/// The reason for refusing a request.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{field}: {message}")]
pub struct RequestError {
    /// The stable reason.
    pub reason: ErrorReason,
    /// Path of the field in the request, for example `vocabulary.categories.categories[3].name`.
    pub field: String,
    /// The fault and its remedy.
    pub message: String,
    /// The limit, where there is one.
    pub limit: Option<u64>,
}

impl RequestError {
    pub(crate) fn new(reason: ErrorReason, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason, field: field.into(), message: message.into(), limit: None }
    }

    pub(crate) fn missing(field: &str, message: &str) -> Self {
        Self::new(ErrorReason::FieldMissing, field, message)
    }

    pub(crate) fn option(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorReason::OptionInvalid, field, message)
    }

    pub(crate) fn with_limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The error of an image that could not be read. `field` is `image.encoded` or `image.raw`.
    pub(crate) fn image(field: &str, error: &ImageError) -> Self {
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
        Self { reason, field: field.into(), message: error.to_string(), limit }
    }

    /// The error of categories that make no valid vocabulary. `list` is the path of the list, for example
    /// `vocabulary.categories.categories`.
    pub(crate) fn vocabulary(list: &str, error: &VocabularyError) -> Self {
        let at = |phrase: &Phrase| phrase_path(list, *phrase);
        let (reason, field, limit) = match error {
            VocabularyError::Empty => (ErrorReason::VocabularyEmpty, list.into(), None),
            VocabularyError::TooManyCategories { limit, .. }
            | VocabularyError::TooManyPhrases { limit, .. } => {
                (ErrorReason::VocabularyTooLarge, list.into(), Some(*limit as u64))
            }
            VocabularyError::TooManySynonyms { category, limit, .. } => {
                (ErrorReason::VocabularyTooLarge, format!("{list}[{category}].synonyms"), Some(*limit as u64))
            }
            VocabularyError::PhraseTooLong { phrase, limit, .. } => {
                (ErrorReason::CategoryNameInvalid, at(phrase), Some(*limit as u64))
            }
            VocabularyError::EmptyPhrase { phrase } | VocabularyError::ControlCharacter { phrase } => {
                (ErrorReason::CategoryNameInvalid, at(phrase), None)
            }
            VocabularyError::DuplicateCategory { second, .. } => {
                let name = Phrase { category: *second, synonym: None };
                (ErrorReason::CategoryDuplicate, at(&name), None)
            }
            VocabularyError::DuplicatePhrase { second, .. } => {
                (ErrorReason::CategoryDuplicate, at(second), None)
            }
        };
        Self { reason, field, message: error.to_string(), limit }
    }
}

/// The path of a phrase in the list of categories at `list`.
pub(crate) fn phrase_path(list: &str, phrase: Phrase) -> String {
    match phrase.synonym {
        None => format!("{list}[{}].name", phrase.category),
        Some(synonym) => format!("{list}[{}].synonyms[{synonym}]", phrase.category),
    }
}
