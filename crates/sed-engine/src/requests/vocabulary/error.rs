//! The rules that a vocabulary can break, and warnings where none is broken.

use super::places::{CategoryPlace, Phrase};
use crate::similarity::Similarity;

/// A rule that a vocabulary breaks, and the place.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum VocabularyError {
    /// There are no categories.
    #[error("the vocabulary is empty; give at least one category")]
    Empty,
    /// There are too many categories.
    #[error("{found} categories{} are more than the limit of {limit}", of_contrast(*contrast))]
    TooManyCategories {
        /// Their number.
        found: usize,
        /// The contrast words among them.
        contrast: usize,
        /// The largest number.
        limit: usize,
    },
    /// One category has too many synonyms.
    #[error("{category} has {found} synonyms, more than the limit of {limit}")]
    TooManySynonyms {
        /// The category.
        category: CategoryPlace,
        /// Their number.
        found: usize,
        /// The largest number.
        limit: usize,
    },
    /// There are too many names and synonyms together.
    #[error("{found} names and synonyms{} are more than the limit of {limit}", of_contrast(*contrast))]
    TooManyPhrases {
        /// Their number.
        found: usize,
        /// Those of contrast words among them.
        contrast: usize,
        /// The largest number.
        limit: usize,
    },
    /// A phrase has too many bytes.
    #[error("{phrase} has {found} bytes, more than the limit of {limit}")]
    PhraseTooLong {
        /// Its place.
        phrase: Phrase,
        /// Its UTF-8 bytes.
        found: usize,
        /// The largest number.
        limit: usize,
    },
    /// A phrase holds nothing that the model reads.
    #[error("{phrase} is empty after cleaning; give at least one word")]
    EmptyPhrase {
        /// Its place.
        phrase: Phrase,
    },
    /// A phrase holds a control character.
    #[error("{phrase} holds a control character; remove it")]
    ControlCharacter {
        /// Its place.
        phrase: Phrase,
    },
    /// Two categories have the same phrases.
    #[error(
        "duplicate category `{}` ({}){}; remove one",
        shown(name),
        CategoryPlace::two(*first, *second),
        reads_like(first_name, name)
    )]
    DuplicateCategory {
        /// The first of them.
        first: CategoryPlace,
        /// The second.
        second: CategoryPlace,
        /// The name of the first.
        first_name: String,
        /// The name of the second.
        name: String,
    },
    /// A category has the same phrase twice.
    #[error(
        "duplicate phrase `{}` ({first} and {second}){}; remove one",
        shown(text),
        reads_like(first_text, text)
    )]
    DuplicatePhrase {
        /// The first place.
        first: Phrase,
        /// The second place, in the same category.
        second: Phrase,
        /// The text at the first.
        first_text: String,
        /// The text at the second.
        text: String,
    },
}

/// A warning about a vocabulary that is accepted.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum VocabularyWarning {
    /// Two categories have the same name and other synonyms.
    #[error("{}", name_repeated(*first, *second, name))]
    NameRepeated {
        /// The first category of this name.
        first: CategoryPlace,
        /// This one.
        second: CategoryPlace,
        /// The name.
        name: String,
    },
    /// A phrase has more tokens than its prompts have room for.
    #[error(
        "`{}` has {tokens} tokens and the prompts have room for {room}; its last words are not read in all of them, so \
         shorten it",
        shown(text)
    )]
    PhraseCut {
        /// Its place.
        phrase: Phrase,
        /// Its text.
        text: String,
        /// Tokens that it has.
        tokens: usize,
        /// Tokens that every prompt has room for.
        room: usize,
    },
    /// The text embeddings of two categories are so close that the model will hardly tell them apart.
    #[error(
        "categories {first} and {second}, `{}` and `{}`, are hardly different to the model (similarity \
         {similarity}, alike from {threshold}); if they mean the same, make them synonyms of one category",
        shown(first_name),
        shown(second_name)
    )]
    Alike {
        /// Index of the first category.
        first: usize,
        /// Index of the second, which is higher.
        second: usize,
        /// The name of the first.
        first_name: String,
        /// The name of the second.
        second_name: String,
        /// Similarity of their text embeddings.
        similarity: Similarity,
        /// The similarity from which two categories of this vocabulary are alike.
        threshold: Similarity,
    },
}

impl VocabularyWarning {
    /// The phrase that it is about.
    pub fn phrase(&self) -> Phrase {
        match self {
            Self::NameRepeated { second, .. } => second.name(),
            Self::PhraseCut { phrase, .. } => *phrase,
            Self::Alike { second, .. } => CategoryPlace::Asked(*second).name(),
        }
    }
}

/// Says how many of what is counted belong to contrast words.
fn of_contrast(contrast: usize) -> String {
    if contrast == 0 { String::new() } else { format!(" ({contrast} of them for contrast words)") }
}

/// Says what follows from a name that two categories have.
fn name_repeated(first: CategoryPlace, second: CategoryPlace, name: &str) -> String {
    let name = shown(name);
    match (first, second) {
        (CategoryPlace::Asked(first), CategoryPlace::Asked(second)) => {
            format!(
                "categories {first} and {second} are both called `{name}`; only their index tells them apart"
            )
        }
        _ => format!("{first} and {second} are both called `{name}`; pixels of it may be left unlabelled"),
    }
}

/// A phrase in a message: the beginning of a long one.
fn shown(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Says that two spellings are the same to the model, where they are two.
fn reads_like(first: &str, second: &str) -> String {
    if first == second { String::new() } else { format!(", which the model reads like `{}`", shown(first)) }
}
