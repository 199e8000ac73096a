//! Validation of words: the source of a vocabulary, its synonym mode and its contrast words.

use sed_engine::{
    Category, CategoryPlace, ReadPhrases, SynonymMode, Vocabulary, VocabularyError, VocabularyLimits,
    VocabularyWarning,
};
use sed_proto::v1::{self, contrast, vocabulary};

use super::unknown_value;
use crate::{
    config::Settings,
    field::{CategoryList, Field},
    request_error::RequestError,
};

/// Words that are valid in themselves. Those that are named are still to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatedWords {
    /// The categories.
    pub source: VocabularySource,
    /// The way in which synonyms count; `None` leaves it to the vocabulary.
    pub synonym_mode: Option<SynonymMode>,
    /// The contrast words.
    pub contrast: ContrastSource,
}

/// The source of the categories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VocabularySource {
    /// Written out in the request.
    Inline(Vocabulary),
    /// One that the server may know.
    Named(String),
}

/// The source of the contrast words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContrastSource {
    /// The vocabulary: those that it has, if any.
    Vocabulary,
    /// There are none, whatever the vocabulary has.
    Off,
    /// Written out in the request, and not yet checked beside the categories.
    Inline(Vec<Category>),
    /// The categories of a vocabulary that the server may know.
    Named(String),
    /// The server chooses.
    Auto,
}

/// The lists of words that a request writes out itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrittenOut {
    asked: bool,
    contrast: bool,
}

impl WrittenOut {
    /// The warnings of a vocabulary about the words that the request writes out.
    pub(crate) fn warnings(self, vocabulary: &Vocabulary) -> impl Iterator<Item = &VocabularyWarning> {
        let is_written = move |warning: &&VocabularyWarning| match warning.phrase().category {
            CategoryPlace::Asked(_) => self.asked,
            CategoryPlace::Contrast(_) => self.contrast,
        };
        vocabulary.warnings().iter().filter(is_written)
    }
}

impl ValidatedWords {
    /// The lists that the request writes out itself.
    pub(crate) fn written_out(&self) -> WrittenOut {
        let asked = matches!(self.source, VocabularySource::Inline(_));
        let contrast = match &self.contrast {
            ContrastSource::Inline(_) => true,
            ContrastSource::Vocabulary => asked,
            ContrastSource::Off | ContrastSource::Named(_) | ContrastSource::Auto => false,
        };
        WrittenOut { asked, contrast }
    }
}

/// Checks the words of a request. Reading words that are written out takes time; do it off the runtime's
/// threads.
///
/// # Errors
/// The first rule that is broken, with the path of the field.
pub(crate) fn validate_words(
    vocabulary: Option<&v1::Vocabulary>,
    limits: &Settings,
    reader: &dyn ReadPhrases,
) -> Result<ValidatedWords, RequestError> {
    let list = CategoryList::Inline;
    let missing = || RequestError::missing(Field::VocabularySource, "set `categories` or `name`");
    let vocabulary = vocabulary.ok_or_else(missing)?;
    let source = match vocabulary.source.as_ref().ok_or_else(missing)? {
        vocabulary::Source::Name(name) => {
            vocabulary_name(Field::VocabularyName, name, limits)?;
            VocabularySource::Named(name.clone())
        }
        vocabulary::Source::Categories(written) => {
            VocabularySource::Inline(categories(list, written, limits, reader)?)
        }
    };
    let words = ValidatedWords {
        source,
        synonym_mode: synonym_mode(list, vocabulary.synonym_mode)?,
        contrast: contrast_source(list, vocabulary.contrast.as_ref(), limits)?,
    };
    completed_if_written_out(words, list, &limits.vocabulary_limits(), reader)
}

/// Checks words that are to be registered, off the runtime's threads like [`super::validate_segment`].
///
/// # Errors
/// The first rule that is broken, with the path of the field.
pub fn validate_create_vocabulary(
    request: &v1::CreateVocabularyRequest,
    limits: &Settings,
    reader: &dyn ReadPhrases,
) -> Result<ValidatedWords, RequestError> {
    let list = CategoryList::Registered;
    let Some(written) = &request.categories else {
        return Err(RequestError::missing(Field::Categories, "give the categories to register"));
    };
    let words = ValidatedWords {
        source: VocabularySource::Inline(categories(list, written, limits, reader)?),
        synonym_mode: synonym_mode(list, request.synonym_mode)?,
        contrast: contrast_source(list, request.contrast.as_ref(), limits)?,
    };
    completed_if_written_out(words, list, &limits.vocabulary_limits(), reader)
}

/// Checks words that are to be prepared, off the runtime's threads like [`super::validate_segment`].
///
/// # Errors
/// The first rule that is broken, with the path of the field.
pub fn validate_prepare_vocabulary(
    request: &v1::PrepareVocabularyRequest,
    limits: &Settings,
    reader: &dyn ReadPhrases,
) -> Result<ValidatedWords, RequestError> {
    validate_words(request.vocabulary.as_ref(), limits, reader)
}

/// Checks the name of a vocabulary, which may still be unknown.
pub(crate) fn vocabulary_name(field: Field, name: &str, limits: &Settings) -> Result<(), RequestError> {
    if name.is_empty() {
        return Err(RequestError::missing(field, "name a vocabulary of the server"));
    }
    check_bytes(field, name, limits)
}

/// Refuses a text that is longer than any phrase: errors and logs repeat it.
pub(super) fn check_bytes(field: Field, text: &str, limits: &Settings) -> Result<(), RequestError> {
    let (found, limit) = (text.len(), limits.max_phrase_bytes);
    if found <= limit {
        return Ok(());
    }
    let message = format!("has {found} bytes, more than the limit of {limit}");
    Err(RequestError::option(field, message).with_limit(limit as u64))
}

/// Sets the synonym mode and the contrast words of a request's vocabulary. `named` says that these are the
/// categories of another vocabulary.
///
/// # Errors
/// The first rule that is broken, with the path of the field.
pub(crate) fn complete(
    list: CategoryList,
    vocabulary: Vocabulary,
    mode: SynonymMode,
    (contrast, named): (Vec<Category>, bool),
    limits: &VocabularyLimits,
    reader: &dyn ReadPhrases,
) -> Result<Vocabulary, RequestError> {
    vocabulary.with(mode, contrast, limits, reader).map_err(|error| {
        let refused = RequestError::vocabulary(list, &error);
        match error {
            // Without contrast words, lists that came with the program may be above the limit unless phrases
            // are pairs.
            VocabularyError::TooManyPhrases { contrast: 0, .. } => {
                refused.with_field(|_| Field::SynonymMode(list))
            }
            _ if named => refused.with_field(|_| Field::ContrastName(list)),
            _ => refused,
        }
    })
}

/// Completes words that need nothing of the server's.
fn completed_if_written_out(
    words: ValidatedWords,
    list: CategoryList,
    limits: &VocabularyLimits,
    reader: &dyn ReadPhrases,
) -> Result<ValidatedWords, RequestError> {
    let ValidatedWords { source, synonym_mode, contrast } = words;
    let (vocabulary, contrast) = match (source, contrast) {
        (VocabularySource::Inline(vocabulary), ContrastSource::Inline(contrast)) => (vocabulary, contrast),
        (VocabularySource::Inline(vocabulary), ContrastSource::Vocabulary | ContrastSource::Off) => {
            (vocabulary, Vec::new())
        }
        (source, contrast) => return Ok(ValidatedWords { source, synonym_mode, contrast }),
    };
    let mode = synonym_mode.unwrap_or_default();
    let vocabulary = complete(list, vocabulary, mode, (contrast, false), limits, reader)?;
    let source = VocabularySource::Inline(vocabulary);
    Ok(ValidatedWords { source, synonym_mode: None, contrast: ContrastSource::Vocabulary })
}

fn categories(
    list: CategoryList,
    message: &v1::CategoryList,
    limits: &Settings,
    reader: &dyn ReadPhrases,
) -> Result<Vocabulary, RequestError> {
    let vocabulary = Vocabulary::new(owned(message), &limits.vocabulary_limits(), reader);
    vocabulary.map_err(|error| RequestError::vocabulary(list, &error))
}

fn owned(list: &v1::CategoryList) -> Vec<Category> {
    let owned = |category: &v1::Category| Category {
        name: category.name.clone(),
        synonyms: category.synonyms.clone(),
    };
    list.categories.iter().map(owned).collect()
}

fn synonym_mode(list: CategoryList, number: i32) -> Result<Option<SynonymMode>, RequestError> {
    match v1::SynonymMode::try_from(number) {
        Ok(v1::SynonymMode::Unspecified) => Ok(None),
        Ok(v1::SynonymMode::Mean) => Ok(Some(SynonymMode::Mean)),
        Ok(v1::SynonymMode::Best) => Ok(Some(SynonymMode::Best)),
        Err(_) => Err(unknown_value(Field::SynonymMode(list), number)),
    }
}

fn contrast_source(
    list: CategoryList,
    contrast: Option<&v1::Contrast>,
    limits: &Settings,
) -> Result<ContrastSource, RequestError> {
    let Some(contrast) = contrast else { return Ok(ContrastSource::Vocabulary) };
    match &contrast.source {
        None => Ok(ContrastSource::Off),
        Some(contrast::Source::Automatic(_)) => Ok(ContrastSource::Auto),
        Some(contrast::Source::Name(name)) => {
            vocabulary_name(Field::ContrastName(list), name, limits)?;
            Ok(ContrastSource::Named(name.clone()))
        }
        Some(contrast::Source::Categories(written)) if written.categories.is_empty() => {
            let refused = RequestError::vocabulary(list, &VocabularyError::Empty);
            Err(refused.with_field(|_| Field::ContrastList(list)))
        }
        Some(contrast::Source::Categories(written)) => Ok(ContrastSource::Inline(owned(written))),
    }
}
