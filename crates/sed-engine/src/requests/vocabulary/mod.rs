//! Vocabularies that have been checked: an ordered list of categories within stated limits.

mod advice;
mod error;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use sha2::{Digest, Sha256};

use crate::stages::{
    UNLABELLED,
    phrases::{PhraseTokens, ReadPhrases, TokenPhrase},
};
pub use sed_model::prompts::Category;

pub use advice::advice;
pub use error::{Phrase, VocabularyError, VocabularyWarning};

/// Limits on the size of a vocabulary.
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
    /// The phrases of all categories, in order.
    phrases: Arc<[TokenPhrase]>,
    digest: VocabularyDigest,
    warnings: Arc<[VocabularyWarning]>,
}

/// SHA-256 of all names and synonyms, their order and their borders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VocabularyDigest(pub [u8; 32]);

impl Vocabulary {
    /// Checks categories that a caller wrote. What the model reads as the same is the same: two categories
    /// are duplicates when their sets of phrases have the same token ids.
    ///
    /// # Errors
    /// The first rule that is broken, with the place where.
    pub fn new(
        categories: Vec<Category>,
        limits: &VocabularyLimits,
        reader: &dyn ReadPhrases,
    ) -> Result<Self, VocabularyError> {
        check_sizes(&categories, limits)?;
        let mut phrases = Vec::new();
        let mut seen = Seen::default();
        for (index, category) in categories.iter().enumerate() {
            let first = phrases.len();
            for (position, text) in category.phrases().enumerate() {
                let place = Phrase { category: index, synonym: position.checked_sub(1) };
                let tokens = check_phrase(text, place, limits, reader)?;
                seen.check_cut(text, place, &tokens);
                let phrase = TokenPhrase::new(text, tokens.ids);
                check_new_in_category(&phrases[first..], &phrase, place)?;
                phrases.push(phrase);
            }
            seen.check_category(index, category, &phrases[first..], &categories)?;
        }
        Ok(Self::of(categories, phrases, seen.warnings))
    }

    /// A vocabulary that came with the program. Published lists hold doubles, so these are let through.
    ///
    /// # Errors
    /// It is empty or larger than an index map can hold.
    pub fn built_in(categories: Vec<Category>, reader: &dyn ReadPhrases) -> Result<Self, VocabularyError> {
        let limits = VocabularyLimits {
            categories: MOST_CATEGORIES,
            synonyms: usize::MAX,
            phrases: usize::MAX,
            phrase_bytes: usize::MAX,
        };
        check_sizes(&categories, &limits)?;
        let phrases = categories.iter().flat_map(Category::phrases);
        let phrases = phrases.map(|text| TokenPhrase::new(text, reader.read(text).ids)).collect();
        Ok(Self::of(categories, phrases, Vec::new()))
    }

    fn of(categories: Vec<Category>, phrases: Vec<TokenPhrase>, warnings: Vec<VocabularyWarning>) -> Self {
        let mut hasher = Sha256::new();
        for category in &categories {
            hasher.update((category.synonyms.len() as u64).to_le_bytes());
            for phrase in category.phrases() {
                hasher.update((phrase.len() as u64).to_le_bytes());
                hasher.update(phrase);
            }
        }
        Self {
            categories: categories.into(),
            phrases: phrases.into(),
            digest: VocabularyDigest(hasher.finalize().into()),
            warnings: warnings.into(),
        }
    }

    /// The same for the same words in the same order, everywhere.
    pub fn digest(&self) -> VocabularyDigest {
        self.digest
    }

    /// The categories, in order.
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// The phrases of all categories with their tokens, in order.
    pub fn phrases(&self) -> &[TokenPhrase] {
        &self.phrases
    }

    /// The phrases of each category, in order.
    pub fn phrases_by_category(&self) -> impl Iterator<Item = &[TokenPhrase]> {
        let mut rest = &*self.phrases;
        self.categories.iter().map(move |category| {
            let (own, others) = rest.split_at(1 + category.synonyms.len());
            rest = others;
            own
        })
    }

    /// Warnings for the caller that wrote it; none for one that came with the program.
    pub fn warnings(&self) -> &[VocabularyWarning] {
        &self.warnings
    }

    /// Returns the number of categories; never 0.
    pub fn size(&self) -> usize {
        self.categories.len()
    }
}

/// The categories that were checked before.
#[derive(Default)]
struct Seen {
    /// The first category of each name.
    names: HashMap<TokenPhrase, usize>,
    /// The category of each set of phrases, by their ids in order.
    sets: HashMap<Vec<TokenPhrase>, usize>,
    warnings: Vec<VocabularyWarning>,
}

impl Seen {
    /// Refuses a category whose phrases are those of an earlier one, and warns of one that only has its name.
    fn check_category(
        &mut self,
        index: usize,
        category: &Category,
        phrases: &[TokenPhrase],
        categories: &[Category],
    ) -> Result<(), VocabularyError> {
        let mut set = phrases.to_vec();
        set.sort_unstable_by(|one, other| one.ids().cmp(other.ids()));
        match self.sets.entry(set) {
            Entry::Occupied(earlier) => {
                let first = *earlier.get();
                let first_name = categories[first].name.clone();
                let name = category.name.clone();
                return Err(VocabularyError::DuplicateCategory { first, second: index, first_name, name });
            }
            Entry::Vacant(place) => place.insert(index),
        };
        match self.names.entry(phrases[0].clone()) {
            Entry::Occupied(earlier) => self.warnings.push(VocabularyWarning::NameRepeated {
                first: *earlier.get(),
                second: index,
                name: category.name.clone(),
            }),
            Entry::Vacant(place) => drop(place.insert(index)),
        }
        Ok(())
    }

    /// Warns of a phrase of which not every prompt reads all.
    fn check_cut(&mut self, text: &str, phrase: Phrase, tokens: &PhraseTokens) {
        if tokens.whole > tokens.room {
            let (tokens, room) = (tokens.whole, tokens.room);
            self.warnings.push(VocabularyWarning::PhraseCut { phrase, text: text.to_owned(), tokens, room });
        }
    }
}

/// Refuses a phrase that stands in its category already.
fn check_new_in_category(
    earlier: &[TokenPhrase],
    phrase: &TokenPhrase,
    place: Phrase,
) -> Result<(), VocabularyError> {
    let Some(position) = earlier.iter().position(|other| other == phrase) else { return Ok(()) };
    Err(VocabularyError::DuplicatePhrase {
        first: Phrase { category: place.category, synonym: position.checked_sub(1) },
        second: place,
        first_text: earlier[position].text().to_owned(),
        text: phrase.text().to_owned(),
    })
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

/// Returns the tokens of a phrase that keeps every rule by itself.
fn check_phrase(
    text: &str,
    phrase: Phrase,
    limits: &VocabularyLimits,
    reader: &dyn ReadPhrases,
) -> Result<PhraseTokens, VocabularyError> {
    if text.len() > limits.phrase_bytes {
        return Err(VocabularyError::PhraseTooLong { phrase, found: text.len(), limit: limits.phrase_bytes });
    }
    if text.chars().any(char::is_control) {
        return Err(VocabularyError::ControlCharacter { phrase });
    }
    if text.trim().is_empty() {
        return Err(VocabularyError::EmptyPhrase { phrase });
    }
    let tokens = reader.read(text);
    if tokens.ids.is_empty() {
        return Err(VocabularyError::EmptyPhrase { phrase });
    }
    Ok(tokens)
}
