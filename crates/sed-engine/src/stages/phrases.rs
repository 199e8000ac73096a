//! Phrases as the model knows them: by their token ids.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

pub use sed_model::tokenizer::PhraseTokens;

/// The model's reading of phrases, without its weights. Shared by all threads, while one thread owns the
/// model.
pub trait ReadPhrases: fmt::Debug + Send + Sync {
    /// Returns the tokens of a phrase. Phrases with the same ids have the same embedding.
    fn read(&self, phrase: &str) -> PhraseTokens;
}

/// A phrase with its token ids. Two of them are equal when their ids are, whatever the spelling. Cheap to
/// clone.
#[derive(Clone)]
pub struct TokenPhrase {
    text: Arc<str>,
    ids: Arc<[u32]>,
}

impl TokenPhrase {
    pub(crate) fn new(text: &str, ids: Vec<u32>) -> Self {
        Self { text: text.into(), ids: ids.into() }
    }

    /// One spelling of it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its token ids.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Memory that it holds, in bytes.
    pub fn bytes(&self) -> usize {
        self.text.len() + size_of_val(&*self.ids)
    }
}

impl PartialEq for TokenPhrase {
    fn eq(&self, other: &Self) -> bool {
        self.ids == other.ids
    }
}

impl Eq for TokenPhrase {}

impl Hash for TokenPhrase {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ids.hash(state);
    }
}

impl fmt::Debug for TokenPhrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}
