//! Vocabularies that have been checked: an ordered list of categories within stated limits, with the contrast
//! words that compete with them.

mod advice;
mod check;
mod error;
mod places;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::stages::{
    UNLABELLED,
    phrases::{ReadPhrases, TokenPhrase},
};
pub use sed_model::prompts::Category;

pub use advice::advice;
use check::{Check, check_sizes, check_sizes_with, count_phrases};
pub use error::{VocabularyError, VocabularyWarning};
pub use places::{CategoryPlace, Phrase};

/// Limits on the size of a vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VocabularyLimits {
    /// Categories, contrast words included; never more than 65,535, the indices that 16 bits hold beside
    /// [`UNLABELLED`].
    pub categories: usize,
    /// Synonyms of one category.
    pub synonyms: usize,
    /// Names and synonyms together, those of contrast words included. They bound the pairs of
    /// [`SynonymMode::Best`].
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

/// The way in which the phrases of a category become its scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SynonymMode {
    /// The mean of the phrases' embeddings is looked for: a category is one pair.
    #[default]
    Mean,
    /// Every phrase is a pair of its own, and at each pixel the best one of a category counts.
    Best,
}

/// An ordered list of categories: not empty, within limits, without doubles; and the contrast words that
/// compete with them and are never in an answer. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    /// The categories asked for, and behind them the contrast words.
    categories: Arc<[Category]>,
    /// Number of the categories asked for.
    size: usize,
    synonym_mode: SynonymMode,
    /// The phrases of all categories, in order.
    phrases: Arc<[TokenPhrase]>,
    /// The category of each pair; `None` where every pair is a category.
    groups: Option<Arc<[u32]>>,
    digest: VocabularyDigest,
    warnings: Arc<[VocabularyWarning]>,
}

/// SHA-256 of all names and synonyms, their order and their borders, and of the synonym mode and the contrast
/// words where they are not the usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VocabularyDigest(pub [u8; 32]);

impl Vocabulary {
    /// Checks categories that a caller wrote. What the model reads as the same is the same: two categories
    /// are duplicates when their sets of phrases have the same token ids. There are no contrast words, and
    /// the synonym mode is the usual one.
    ///
    /// # Errors
    /// The first rule that is broken, with the place where.
    pub fn new(
        categories: Vec<Category>,
        limits: &VocabularyLimits,
        reader: &dyn ReadPhrases,
    ) -> Result<Self, VocabularyError> {
        check_sizes(&categories, limits)?;
        let mut check = Check::new(limits, reader);
        for (index, category) in categories.iter().enumerate() {
            check.add(CategoryPlace::Asked(index), category)?;
        }
        let (phrases, warnings) = check.done();
        let size = categories.len();
        Ok(Self::of(SynonymMode::Mean, (categories, size), phrases, warnings))
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
        let size = categories.len();
        Ok(Self::of(SynonymMode::Mean, (categories, size), phrases, Vec::new()))
    }

    /// The same categories with a synonym mode and contrast words, in place of those that it has. Contrast
    /// words are checked as categories are; one with the phrases of a category asked for is a duplicate of
    /// it.
    ///
    /// # Errors
    /// The first rule that a contrast word breaks, with its place; or both together, or the phrases of
    /// [`SynonymMode::Best`], are above a limit.
    pub fn with(
        self,
        mode: SynonymMode,
        contrast: Vec<Category>,
        limits: &VocabularyLimits,
        reader: &dyn ReadPhrases,
    ) -> Result<Self, VocabularyError> {
        if mode == self.synonym_mode && contrast == self.contrast() {
            return Ok(self);
        }
        check_sizes_with(mode, self.categories(), &contrast, limits)?;
        let mut check = Check::new(limits, reader);
        let mut rest = &*self.phrases;
        for (index, category) in self.categories().iter().enumerate() {
            let (own, others) = rest.split_at(1 + category.synonyms.len());
            check.know(CategoryPlace::Asked(index), category, own);
            rest = others;
        }
        for (index, category) in contrast.iter().enumerate() {
            check.add(CategoryPlace::Contrast(index), category)?;
        }
        let (phrases, warnings) = check.done();
        let phrases = [&self.phrases[..count_phrases(self.categories())], &phrases].concat();
        let is_of_asked =
            |warning: &&VocabularyWarning| matches!(warning.phrase().category, CategoryPlace::Asked(_));
        let warnings = self.warnings.iter().filter(is_of_asked).cloned().chain(warnings).collect();
        let categories = [self.categories(), &contrast].concat();
        Ok(Self::of(mode, (categories, self.size), phrases, warnings))
    }

    /// A vocabulary of checked categories, of which the first `size` are asked for.
    fn of(
        synonym_mode: SynonymMode,
        (categories, size): (Vec<Category>, usize),
        phrases: Vec<TokenPhrase>,
        warnings: Vec<VocabularyWarning>,
    ) -> Self {
        let has_groups = synonym_mode == SynonymMode::Best && phrases.len() > categories.len();
        let phrases_of = |(index, category): (usize, &Category)| {
            std::iter::repeat_n(index as u32, 1 + category.synonyms.len())
        };
        let groups = has_groups.then(|| categories.iter().enumerate().flat_map(phrases_of).collect());
        Self {
            digest: digest(synonym_mode, &categories[..size], &categories[size..]),
            categories: categories.into(),
            size,
            synonym_mode,
            phrases: phrases.into(),
            groups,
            warnings: warnings.into(),
        }
    }

    /// The same for the same words in the same order, everywhere.
    pub fn digest(&self) -> VocabularyDigest {
        self.digest
    }

    /// The categories asked for, in order.
    pub fn categories(&self) -> &[Category] {
        &self.categories[..self.size]
    }

    /// The contrast words, in order. Inside the engine their indices follow those of the categories asked
    /// for.
    pub fn contrast(&self) -> &[Category] {
        &self.categories[self.size..]
    }

    /// The categories asked for, and behind them the contrast words.
    pub fn all_categories(&self) -> &[Category] {
        &self.categories
    }

    /// The way in which synonyms count.
    pub fn synonym_mode(&self) -> SynonymMode {
        self.synonym_mode
    }

    /// The phrases of all categories with their tokens, those of contrast words behind the others, in order.
    pub fn phrases(&self) -> &[TokenPhrase] {
        &self.phrases
    }

    /// The phrases whose embeddings are combined for each pair, in order.
    pub fn phrases_by_pair(&self) -> impl Iterator<Item = &[TokenPhrase]> {
        let mut rest = &*self.phrases;
        (0..self.pairs()).map(move |pair| {
            let count = if self.groups.is_some() { 1 } else { 1 + self.categories[pair].synonyms.len() };
            let (own, others) = rest.split_at(count);
            rest = others;
            own
        })
    }

    /// Warnings for the caller that wrote it; none for one that came with the program.
    pub fn warnings(&self) -> &[VocabularyWarning] {
        &self.warnings
    }

    /// Returns the number of categories asked for; never 0.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns the number of pairs that it makes with an image: its categories, contrast words included, or
    /// their phrases in [`SynonymMode::Best`].
    pub fn pairs(&self) -> usize {
        self.groups.as_ref().map_or(self.categories.len(), |groups| groups.len())
    }

    /// The category of each pair, as index into [`Vocabulary::all_categories`], rising; `None` where every
    /// pair is a category.
    pub fn groups(&self) -> Option<&[u32]> {
        self.groups.as_deref()
    }

    /// The categories of some pairs, each once; both rising.
    pub(crate) fn categories_of(&self, pairs: &[u32]) -> Vec<u32> {
        let mut categories = match &self.groups {
            None => return pairs.to_vec(),
            Some(groups) => pairs.iter().map(|pair| groups[*pair as usize]).collect::<Vec<_>>(),
        };
        categories.dedup();
        categories
    }
}

/// Stands where the number of synonyms of a further category would, before what is not the usual.
const UNUSUAL: u64 = u64::MAX;

fn digest(mode: SynonymMode, categories: &[Category], contrast: &[Category]) -> VocabularyDigest {
    let mut hasher = Sha256::new();
    hash_categories(&mut hasher, categories);
    if mode != SynonymMode::Mean || !contrast.is_empty() {
        hasher.update(UNUSUAL.to_le_bytes());
        hasher.update([match mode {
            SynonymMode::Mean => 0,
            SynonymMode::Best => 1,
        }]);
        hash_categories(&mut hasher, contrast);
    }
    VocabularyDigest(hasher.finalize().into())
}

fn hash_categories(hasher: &mut Sha256, categories: &[Category]) {
    for category in categories {
        hasher.update((category.synonyms.len() as u64).to_le_bytes());
        for phrase in category.phrases() {
            hasher.update((phrase.len() as u64).to_le_bytes());
            hasher.update(phrase);
        }
    }
}
