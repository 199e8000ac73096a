//! Directions of the words of vocabularies that were asked for before.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    caches::byte_lru::ByteLru,
    requests::vocabulary::{Vocabulary, VocabularyDigest},
    similarity::Directions,
};

/// Bytes that they may take: some ten vocabularies of a thousand categories.
const CAPACITY: usize = 32 << 20;

/// Directions by vocabulary. They are the same on every device.
#[derive(Debug)]
pub(crate) struct DirectionCache(Mutex<ByteLru<VocabularyDigest, Arc<Directions>>>);

impl DirectionCache {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(ByteLru::new(CAPACITY)))
    }

    /// The directions of a vocabulary's categories, contrast words included.
    pub(crate) fn get(&self, vocabulary: &Vocabulary) -> Option<Arc<Directions>> {
        self.lock().get(&vocabulary.digest())
    }

    pub(crate) fn keep(&self, vocabulary: &Vocabulary, directions: Arc<Directions>) {
        let bytes = vocabulary.all_categories().len() * size_of_val(directions.row(0));
        self.lock().insert(vocabulary.digest(), directions, bytes);
    }

    fn lock(&self) -> MutexGuard<'_, ByteLru<VocabularyDigest, Arc<Directions>>> {
        // Nothing under the lock leaves the cache half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
