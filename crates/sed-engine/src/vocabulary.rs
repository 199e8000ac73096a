//! Vocabularies that have been checked: an ordered list of categories within stated limits.

use std::{collections::HashSet, fmt, sync::Arc};

use sha2::{Digest, Sha256};

use crate::stages::UNLABELLED;

/// One thing to look for, in words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Category {
    /// What it is called.
    pub name: String,
    /// Other phrases for the same thing, in order.
    pub synonyms: Vec<String>,
}

impl Category {
    /// A category without synonyms.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), synonyms: Vec::new() }
    }

    /// The name, then the synonyms.
    pub fn phrases(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.synonyms).map(String::as_str)
    }
}

/// How large a vocabulary may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VocabularyLimits {
    /// Categories; never more than 65,535, the indices that 16 bits hold beside [`UNLABELLED`].
    pub categories: usize,
    /// Synonyms of one category.
    pub synonyms: usize,
    /// Names and synonyms together.
    pub phrases: usize,
    /// UTF-8 bytes of one name or synonym.
    pub phrase_bytes: usize,
}

/// The largest vocabulary that an index map can hold.
pub(crate) const MOST_CATEGORIES: usize = UNLABELLED as usize;

impl Default for VocabularyLimits {
    fn default() -> Self {
        Self { categories: 1024, synonyms: 16, phrases: 2048, phrase_bytes: 256 }
    }
}

/// An ordered list of categories: not empty, within limits, without doubles. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    categories: Arc<[Category]>,
    digest: VocabularyDigest,
}

/// SHA-256 of all names and synonyms, their order and their borders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VocabularyDigest(pub [u8; 32]);

impl Vocabulary {
    /// Checks categories that a caller wrote.
    ///
    /// # Errors
    /// The first rule that is broken, with the place where.
    pub fn new(categories: Vec<Category>, limits: &VocabularyLimits) -> Result<Self, VocabularyError> {
        check_sizes(&categories, limits)?;
        let mut names = HashSet::with_capacity(categories.len());
        for (index, category) in categories.iter().enumerate() {
            let mut phrases = HashSet::with_capacity(1 + category.synonyms.len());
            for (position, text) in category.phrases().enumerate() {
                let phrase = Phrase { category: index, synonym: position.checked_sub(1) };
                check_phrase(text, phrase, limits)?;
                if !phrases.insert(folded(text)) {
                    return Err(VocabularyError::Duplicate { phrase });
                }
            }
            if !names.insert(folded(&category.name)) {
                return Err(VocabularyError::Duplicate { phrase: Phrase { category: index, synonym: None } });
            }
        }
        Ok(Self::of(categories))
    }

    /// A vocabulary that came with the program. Published lists hold doubles, so these are let through.
    ///
    /// # Errors
    /// It is empty or larger than an index map can hold.
    pub fn built_in(categories: Vec<Category>) -> Result<Self, VocabularyError> {
        let limits = VocabularyLimits {
            categories: MOST_CATEGORIES,
            synonyms: usize::MAX,
            phrases: usize::MAX,
            phrase_bytes: usize::MAX,
        };
        check_sizes(&categories, &limits)?;
        Ok(Self::of(categories))
    }

    fn of(categories: Vec<Category>) -> Self {
        let mut hasher = Sha256::new();
        for category in &categories {
            hasher.update((category.synonyms.len() as u64).to_le_bytes());
            for phrase in category.phrases() {
                hasher.update((phrase.len() as u64).to_le_bytes());
                hasher.update(phrase);
            }
        }
        Self { categories: categories.into(), digest: VocabularyDigest(hasher.finalize().into()) }
    }

    /// The same for the same words in the same order, everywhere.
    pub fn digest(&self) -> VocabularyDigest {
        self.digest
    }

    /// The categories, in order.
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// How many categories there are; never 0.
    pub fn size(&self) -> usize {
        self.categories.len()
    }
}

fn check_sizes(categories: &[Category], limits: &VocabularyLimits) -> Result<(), VocabularyError> {
    if categories.is_empty() {
        return Err(VocabularyError::Empty);
    }
    let most = limits.categories.min(MOST_CATEGORIES);
    if categories.len() > most {
        return Err(VocabularyError::TooManyCategories { found: categories.len(), limit: most });
    }
    let mut phrases = 0;
    for (category, entry) in categories.iter().enumerate() {
        let found = entry.synonyms.len();
        if found > limits.synonyms {
            return Err(VocabularyError::TooManySynonyms { category, found, limit: limits.synonyms });
        }
        phrases += 1 + found;
    }
    if phrases > limits.phrases {
        return Err(VocabularyError::TooManyPhrases { found: phrases, limit: limits.phrases });
    }
    Ok(())
}

fn check_phrase(text: &str, phrase: Phrase, limits: &VocabularyLimits) -> Result<(), VocabularyError> {
    if text.len() > limits.phrase_bytes {
        return Err(VocabularyError::PhraseTooLong { phrase, found: text.len(), limit: limits.phrase_bytes });
    }
    if text.chars().any(char::is_control) {
        return Err(VocabularyError::ControlCharacter { phrase });
    }
    if text.trim().is_empty() {
        return Err(VocabularyError::EmptyPhrase { phrase });
    }
    Ok(())
}

/// The tokenizer lowers case and joins spaces: phrases that differ only there are the same to the model.
fn folded(text: &str) -> String {
    text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

/// A place in a vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phrase {
    /// Index of the category.
    pub category: usize,
    /// Index of the synonym; `None` is the name.
    pub synonym: Option<usize>,
}

impl fmt::Display for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.synonym {
            None => write!(f, "the name of category {}", self.category),
            Some(synonym) => write!(f, "synonym {synonym} of category {}", self.category),
        }
    }
}

/// Which rule a vocabulary breaks, and where.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum VocabularyError {
    /// There are no categories.
    #[error("the vocabulary is empty; give at least one category")]
    Empty,
    /// There are too many categories.
    #[error("{found} categories are more than the limit of {limit}")]
    TooManyCategories {
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// One category has too many synonyms.
    #[error("category {category} has {found} synonyms, more than the limit of {limit}")]
    TooManySynonyms {
        /// Index of the category.
        category: usize,
        /// How many it has.
        found: usize,
        /// How many it may have.
        limit: usize,
    },
    /// There are too many names and synonyms together.
    #[error("{found} names and synonyms are more than the limit of {limit}")]
    TooManyPhrases {
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A phrase has too many bytes.
    #[error("{phrase} has {found} bytes, more than the limit of {limit}")]
    PhraseTooLong {
        /// Where it is.
        phrase: Phrase,
        /// Its UTF-8 bytes.
        found: usize,
        /// How many it may have.
        limit: usize,
    },
    /// A phrase holds nothing but white space.
    #[error("{phrase} is empty; give at least one word")]
    EmptyPhrase {
        /// Where it is.
        phrase: Phrase,
    },
    /// A phrase holds a control character.
    #[error("{phrase} holds a control character; remove it")]
    ControlCharacter {
        /// Where it is.
        phrase: Phrase,
    },
    /// A name, or a synonym within its category, occurs a second time.
    #[error("{phrase} occurs a second time; letter case and extra spaces make no difference")]
    Duplicate {
        /// The second place.
        phrase: Phrase,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vocabulary(names: &[&str]) -> Result<Vocabulary, VocabularyError> {
        Vocabulary::new(names.iter().copied().map(Category::named).collect(), &VocabularyLimits::default())
    }

    #[test]
    fn keeps_order_and_text() {
        let checked = vocabulary(&["Zebra, striped", " dog", "猫"]).unwrap();
        let names: Vec<_> = checked.categories().iter().map(|category| category.name.as_str()).collect();
        assert_eq!(names, ["Zebra, striped", " dog", "猫"]);
    }

    #[test]
    fn names_the_rule_and_the_place() {
        let name = |category| Phrase { category, synonym: None };
        assert_eq!(vocabulary(&[]), Err(VocabularyError::Empty));
        assert_eq!(vocabulary(&["a", " \u{2003}"]), Err(VocabularyError::EmptyPhrase { phrase: name(1) }));
        assert_eq!(vocabulary(&["a\nb"]), Err(VocabularyError::ControlCharacter { phrase: name(0) }));
        assert_eq!(
            vocabulary(&["traffic light", "a", " Traffic  LIGHT"]),
            Err(VocabularyError::Duplicate { phrase: name(2) })
        );
        assert_eq!(
            vocabulary(&["é".repeat(129).as_str()]),
            Err(VocabularyError::PhraseTooLong { phrase: name(0), found: 258, limit: 256 })
        );
    }

    #[test]
    fn the_digest_knows_words_order_and_borders() {
        let category = |name: &str, synonyms: &[&str]| Category {
            name: name.into(),
            synonyms: synonyms.iter().map(ToString::to_string).collect(),
        };
        let digest = |categories| Vocabulary::new(categories, &VocabularyLimits::default()).unwrap().digest();
        let first = digest(vec![category("a", &["b"]), category("c", &[])]);
        assert_eq!(first, digest(vec![category("a", &["b"]), category("c", &[])]));
        for other in [
            vec![category("a", &[]), category("b", &["c"])],
            vec![category("c", &[]), category("a", &["b"])],
            vec![category("ab", &[]), category("c", &[])],
        ] {
            assert_ne!(first, digest(other));
        }
    }

    #[test]
    fn synonyms_are_checked_too() {
        let limits = VocabularyLimits { synonyms: 2, phrases: 4, ..VocabularyLimits::default() };
        let category = |synonyms: &[&str]| Category {
            name: "dog".into(),
            synonyms: synonyms.iter().map(ToString::to_string).collect(),
        };
        let check = |categories| Vocabulary::new(categories, &limits).map(|_| ());
        assert_eq!(check(vec![category(&["hound", "puppy"])]), Ok(()));
        assert_eq!(
            check(vec![category(&["hound", "Dog"])]),
            Err(VocabularyError::Duplicate { phrase: Phrase { category: 0, synonym: Some(1) } })
        );
        assert_eq!(
            check(vec![category(&["a", "b", "c"])]),
            Err(VocabularyError::TooManySynonyms { category: 0, found: 3, limit: 2 })
        );
        assert_eq!(
            check(vec![category(&["a", "b"]), Category::named("cat"), Category::named("cow")]),
            Err(VocabularyError::TooManyPhrases { found: 5, limit: 4 })
        );
    }

    #[test]
    fn no_vocabulary_outgrows_the_index_map() {
        let many: Vec<_> = (0..65_536).map(|index| Category::named(index.to_string())).collect();
        let limits =
            VocabularyLimits { categories: usize::MAX, phrases: usize::MAX, ..VocabularyLimits::default() };
        let error = VocabularyError::TooManyCategories { found: 65_536, limit: 65_535 };
        assert_eq!(Vocabulary::new(many.clone(), &limits), Err(error.clone()));
        assert_eq!(Vocabulary::built_in(many), Err(error));
    }

    proptest! {
        #[test]
        fn what_is_accepted_keeps_every_rule(
            categories in prop::collection::vec((".{0,6}", prop::collection::vec("[ab\u{0}-\u{20}]{0,3}", 0..4)), 0..6)
        ) {
            let limits = VocabularyLimits { categories: 4, synonyms: 2, phrases: 6, phrase_bytes: 8 };
            let categories: Vec<_> =
                categories.into_iter().map(|(name, synonyms)| Category { name, synonyms }).collect();
            if let Ok(accepted) = Vocabulary::new(categories.clone(), &limits) {
                prop_assert_eq!(accepted.categories(), categories.as_slice());
                prop_assert!((1..=4).contains(&accepted.size()));
                let phrases: Vec<_> = accepted.categories().iter().flat_map(Category::phrases).collect();
                prop_assert!(phrases.len() <= 6);
                prop_assert!(phrases.iter().all(|text| text.len() <= 8 && !text.trim().is_empty()));
                prop_assert!(!phrases.iter().any(|text| text.contains(char::is_control)));
            }
        }
    }
}
