//! The vocabularies that a server knows by name.

use std::{collections::BTreeMap, sync::Arc};

use sed_model::prompts;
pub use sed_model::prompts::COMMON_WORDS;

use crate::requests::vocabulary::Category;

/// Named vocabularies, in the order of their names. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct VocabularyBook {
    named: Arc<BTreeMap<String, Vec<Category>>>,
}

impl VocabularyBook {
    /// The categories of the vocabulary of this name.
    pub fn get(&self, name: &str) -> Option<&[Category]> {
        self.named.get(name).map(Vec::as_slice)
    }

    /// All names with the categories of their vocabularies.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Category])> {
        self.named.iter().map(|(name, categories)| (name.as_str(), categories.as_slice()))
    }
}

impl FromIterator<(String, Vec<Category>)> for VocabularyBook {
    fn from_iter<I: IntoIterator<Item = (String, Vec<Category>)>>(named: I) -> Self {
        Self { named: Arc::new(named.into_iter().collect()) }
    }
}

/// The vocabularies that come with the model's crate.
pub fn builtin_vocabularies() -> VocabularyBook {
    let named = |name: &'static str| Some((name.to_owned(), prompts::builtin_vocabulary(name)?));
    prompts::builtin_vocabularies().filter_map(named).collect()
}
