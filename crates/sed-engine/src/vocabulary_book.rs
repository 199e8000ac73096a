//! The vocabularies that a server knows by name.

use std::{collections::BTreeMap, sync::Arc};

use crate::vocabulary::Vocabulary;

/// Named vocabularies, in the order of their names. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct VocabularyBook {
    named: Arc<BTreeMap<String, Vocabulary>>,
}

impl VocabularyBook {
    /// The vocabulary of this name.
    pub fn get(&self, name: &str) -> Option<&Vocabulary> {
        self.named.get(name)
    }

    /// All names with their vocabularies.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Vocabulary)> {
        self.named.iter().map(|(name, vocabulary)| (name.as_str(), vocabulary))
    }
}

impl FromIterator<(String, Vocabulary)> for VocabularyBook {
    fn from_iter<I: IntoIterator<Item = (String, Vocabulary)>>(named: I) -> Self {
        Self { named: Arc::new(named.into_iter().collect()) }
    }
}
