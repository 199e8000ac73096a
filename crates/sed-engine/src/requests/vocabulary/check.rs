//! The rules of vocabularies.

use std::collections::{HashMap, hash_map::Entry};

use super::{
    Category, CategoryPlace, MOST_CATEGORIES, Phrase, SynonymMode, VocabularyError, VocabularyLimits,
    VocabularyWarning,
};
use crate::stages::phrases::{PhraseTokens, ReadPhrases, TokenPhrase};

/// The check of categories, one after another.
pub(super) struct Check<'a> {
    limits: &'a VocabularyLimits,
    reader: &'a dyn ReadPhrases,
    /// The first category of each name.
    names: HashMap<TokenPhrase, CategoryPlace>,
    /// The category of each set of phrases, by their ids in order.
    sets: HashMap<Vec<TokenPhrase>, Known<'a>>,
    /// The phrases of the categories that were checked.
    phrases: Vec<TokenPhrase>,
    warnings: Vec<VocabularyWarning>,
}

/// A category that others are compared with.
struct Known<'a> {
    place: CategoryPlace,
    name: &'a str,
}

impl<'a> Check<'a> {
    pub(super) fn new(limits: &'a VocabularyLimits, reader: &'a dyn ReadPhrases) -> Self {
        Self {
            limits,
            reader,
            names: HashMap::new(),
            sets: HashMap::new(),
            phrases: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Notes a category that was accepted before, with its phrases.
    pub(super) fn know(&mut self, place: CategoryPlace, category: &'a Category, phrases: &[TokenPhrase]) {
        let known = Known { place, name: &category.name };
        self.sets.entry(in_order(phrases)).or_insert(known);
        self.names.entry(phrases[0].clone()).or_insert(place);
    }

    /// Checks a category, and adds its phrases and the warnings about it.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub(super) fn add(
        &mut self,
        place: CategoryPlace,
        category: &'a Category,
    ) -> Result<(), VocabularyError> {
        let first = self.phrases.len();
        for (position, text) in category.phrases().enumerate() {
            let phrase = Phrase { category: place, synonym: position.checked_sub(1) };
            let tokens = check_phrase(text, phrase, self.limits, self.reader)?;
            self.check_cut(text, phrase, &tokens);
            let tokens = TokenPhrase::new(text, tokens.ids);
            check_new_in_category(&self.phrases[first..], &tokens, phrase)?;
            self.phrases.push(tokens);
        }
        self.check_category(place, category, first)
    }

    /// The phrases of the categories that were checked, and the warnings about them.
    pub(super) fn done(self) -> (Vec<TokenPhrase>, Vec<VocabularyWarning>) {
        (self.phrases, self.warnings)
    }

    /// Refuses a category whose phrases, those from `first` on, are those of an earlier one, and warns of one
    /// that only has its name.
    fn check_category(
        &mut self,
        place: CategoryPlace,
        category: &'a Category,
        first: usize,
    ) -> Result<(), VocabularyError> {
        let phrases = &self.phrases[first..];
        match self.sets.entry(in_order(phrases)) {
            Entry::Occupied(earlier) => {
                let &Known { place: first, name } = earlier.get();
                let (first_name, name) = (name.to_owned(), category.name.clone());
                return Err(VocabularyError::DuplicateCategory { first, second: place, first_name, name });
            }
            Entry::Vacant(set) => set.insert(Known { place, name: &category.name }),
        };
        match self.names.entry(phrases[0].clone()) {
            Entry::Vacant(name) => drop(name.insert(place)),
            Entry::Occupied(earlier) => match (*earlier.get(), place) {
                // Contrast words are never told apart.
                (CategoryPlace::Contrast(_), CategoryPlace::Contrast(_)) => {}
                (first, second) => {
                    let name = category.name.clone();
                    self.warnings.push(VocabularyWarning::NameRepeated { first, second, name });
                }
            },
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

/// The phrases of a category in the order of their ids.
fn in_order(phrases: &[TokenPhrase]) -> Vec<TokenPhrase> {
    let mut set = phrases.to_vec();
    set.sort_unstable_by(|one, other| one.ids().cmp(other.ids()));
    set
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

/// Number of the phrases of categories.
pub(super) fn count_phrases(categories: &[Category]) -> usize {
    categories.iter().map(|category| 1 + category.synonyms.len()).sum()
}

/// Checks the sizes of a list of categories.
///
/// # Errors
/// The list is empty or above a limit.
pub(super) fn check_sizes(categories: &[Category], limits: &VocabularyLimits) -> Result<(), VocabularyError> {
    if categories.is_empty() {
        return Err(VocabularyError::Empty);
    }
    let most = limits.categories.min(MOST_CATEGORIES);
    if categories.len() > most {
        return Err(VocabularyError::TooManyCategories { found: categories.len(), contrast: 0, limit: most });
    }
    check_synonyms(categories, CategoryPlace::Asked, limits)?;
    let found = count_phrases(categories);
    if found > limits.phrases {
        return Err(VocabularyError::TooManyPhrases { found, contrast: 0, limit: limits.phrases });
    }
    Ok(())
}

/// Checks the sizes of a list of categories with contrast words and a synonym mode. A list that has neither
/// is accepted as it is: built-in ones may be above the limits.
///
/// # Errors
/// Both together are above a limit.
pub(super) fn check_sizes_with(
    mode: SynonymMode,
    categories: &[Category],
    contrast: &[Category],
    limits: &VocabularyLimits,
) -> Result<(), VocabularyError> {
    if contrast.is_empty() && mode == SynonymMode::Mean {
        return Ok(());
    }
    let (found, most) = (categories.len() + contrast.len(), limits.categories.min(MOST_CATEGORIES));
    if !contrast.is_empty() && found > most {
        return Err(VocabularyError::TooManyCategories { found, contrast: contrast.len(), limit: most });
    }
    check_synonyms(contrast, CategoryPlace::Contrast, limits)?;
    let of_contrast = count_phrases(contrast);
    let found = count_phrases(categories) + of_contrast;
    let most = match mode {
        SynonymMode::Mean => limits.phrases,
        // Each is a pair.
        SynonymMode::Best => limits.phrases.min(MOST_CATEGORIES),
    };
    if found > most {
        return Err(VocabularyError::TooManyPhrases { found, contrast: of_contrast, limit: most });
    }
    Ok(())
}

fn check_synonyms(
    categories: &[Category],
    place: impl Fn(usize) -> CategoryPlace,
    limits: &VocabularyLimits,
) -> Result<(), VocabularyError> {
    let limit = limits.synonyms;
    match categories.iter().position(|category| category.synonyms.len() > limit) {
        None => Ok(()),
        Some(index) => {
            let found = categories[index].synonyms.len();
            Err(VocabularyError::TooManySynonyms { category: place(index), found, limit })
        }
    }
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
