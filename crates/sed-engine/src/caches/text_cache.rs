//! Text embeddings that were computed before: of single phrases, and of whole vocabularies.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sed_telemetry::GaugeShare;

use crate::{
    caches::byte_lru::{ByteLru, ENTRY_OVERHEAD},
    metrics::EngineMetrics,
    requests::vocabulary::{Vocabulary, VocabularyDigest},
    stages::phrases::TokenPhrase,
};

/// The embeddings of one model, shared between the callers, which only ask for unknown phrases, and the
/// device thread. It belongs to one model in one process, so token ids alone are the key of a phrase.
#[derive(Debug)]
pub(crate) struct TextCache<P, T> {
    inner: Mutex<Inner<P, T>>,
    metrics: Arc<EngineMetrics>,
}

#[derive(Debug)]
struct Inner<P, T> {
    phrases: ByteLru<TokenPhrase, P>,
    vocabularies: ByteLru<VocabularyDigest, Arc<[T]>>,
    /// Bytes of the last embedding of a phrase, and of a category; all of a model have the same size.
    phrase_bytes: usize,
    category_bytes: usize,
    /// Bytes and entries of phrases, and of vocabularies.
    published: [GaugeShare; 4],
    _capacities: [GaugeShare; 2],
}

/// The part of the cache that callers use, whatever the model.
pub(crate) trait KnownText: Send + Sync {
    /// The different phrases of a vocabulary that would have to be embedded.
    fn unknown_phrases(&self, vocabulary: &Vocabulary) -> HashSet<TokenPhrase>;

    /// The number of those among the `different` phrases of a vocabulary that are known.
    fn known_phrases(&self, vocabulary: &Vocabulary, different: &HashSet<&TokenPhrase>) -> usize;

    /// The room for a vocabulary with so many different phrases.
    fn room_for(&self, vocabulary: &Vocabulary, phrases: usize) -> TextRoom;
}

/// The bytes that a vocabulary needs, by the size of embeddings that there have been, and those that the
/// caches hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextRoom {
    /// Of its phrases.
    pub(crate) phrases: usize,
    /// Of its assembled pairs.
    pub(crate) assembled: usize,
    pub(crate) phrase_capacity: usize,
    pub(crate) vocabulary_capacity: usize,
    /// Phrases of all vocabularies that the larger of the two caches holds.
    pub(crate) most_phrases: usize,
}

impl TextRoom {
    /// Reports whether the vocabulary fits one of the caches, so that the next request with it finds it.
    pub(crate) fn fits(&self) -> bool {
        self.phrases <= self.phrase_capacity || self.assembled <= self.vocabulary_capacity
    }
}

impl<P: Clone, T> TextCache<P, T> {
    /// A cache of at most `phrase_bytes` of phrases and `vocabulary_bytes` of vocabularies; 0 turns either
    /// off.
    pub(crate) fn new(phrase_bytes: usize, vocabulary_bytes: usize, metrics: &Arc<EngineMetrics>) -> Self {
        let gauges = [
            &metrics.text_cache_bytes,
            &metrics.text_cache_entries,
            &metrics.vocabulary_cache_bytes,
            &metrics.vocabulary_cache_entries,
        ];
        let inner = Inner {
            phrases: ByteLru::new(phrase_bytes),
            vocabularies: ByteLru::new(vocabulary_bytes),
            phrase_bytes: 0,
            category_bytes: 0,
            published: gauges.map(|gauge| gauge.share(0.0)),
            _capacities: [
                metrics.text_cache_capacity.share(phrase_bytes as f64),
                metrics.vocabulary_cache_capacity.share(vocabulary_bytes as f64),
            ],
        };
        Self { inner: Mutex::new(inner), metrics: Arc::clone(metrics) }
    }

    /// The embedding of a phrase.
    pub(crate) fn phrase(&self, phrase: &TokenPhrase) -> Option<P> {
        self.lock().phrases.get(phrase)
    }

    /// Stores the embedding of a phrase, which holds `bytes`.
    pub(crate) fn keep_phrase(&self, phrase: TokenPhrase, embedding: P, bytes: usize) {
        let mut inner = self.lock();
        inner.phrase_bytes = bytes;
        let bytes = bytes + phrase.bytes();
        let evicted = inner.phrases.insert(phrase, embedding, bytes);
        self.metrics.text_cache_evictions.add(evicted as u64);
        inner.publish();
    }

    /// The embeddings of all categories of a vocabulary.
    pub(crate) fn vocabulary(&self, digest: &VocabularyDigest) -> Option<Arc<[T]>> {
        self.lock().vocabularies.get(digest)
    }

    /// Stores the embeddings of a vocabulary, which hold `bytes` together.
    pub(crate) fn keep_vocabulary(&self, digest: VocabularyDigest, embeddings: Arc<[T]>, bytes: usize) {
        let mut inner = self.lock();
        inner.category_bytes = bytes / embeddings.len().max(1);
        let evicted = inner.vocabularies.insert(digest, embeddings, bytes);
        self.metrics.vocabulary_cache_evictions.add(evicted as u64);
        inner.publish();
    }

    fn lock(&self) -> MutexGuard<'_, Inner<P, T>> {
        // Nothing under the lock leaves the cache half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Clone, T> Inner<P, T> {
    fn publish(&mut self) {
        let (phrases, vocabularies) = (&self.phrases, &self.vocabularies);
        let values = [phrases.bytes(), phrases.len(), vocabularies.bytes(), vocabularies.len()];
        self.published.iter_mut().zip(values).for_each(|(share, value)| share.set(value as f64));
    }
}

impl<P: Clone + Send + Sync, T: Send + Sync> KnownText for TextCache<P, T> {
    fn unknown_phrases(&self, vocabulary: &Vocabulary) -> HashSet<TokenPhrase> {
        let inner = self.lock();
        if inner.vocabularies.contains(&vocabulary.digest()) {
            return HashSet::new();
        }
        let unknown = vocabulary.phrases().iter().filter(|phrase| !inner.phrases.contains(*phrase));
        unknown.cloned().collect()
    }

    fn known_phrases(&self, vocabulary: &Vocabulary, different: &HashSet<&TokenPhrase>) -> usize {
        let inner = self.lock();
        if inner.vocabularies.contains(&vocabulary.digest()) {
            return different.len();
        }
        different.iter().filter(|phrase| inner.phrases.contains(**phrase)).count()
    }

    fn room_for(&self, vocabulary: &Vocabulary, phrases: usize) -> TextRoom {
        let inner = self.lock();
        let tokens: usize = vocabulary.phrases().iter().map(TokenPhrase::bytes).sum();
        let (phrase_capacity, vocabulary_capacity) =
            (inner.phrases.capacity(), inner.vocabularies.capacity());
        TextRoom {
            phrases: phrases * (inner.phrase_bytes + ENTRY_OVERHEAD) + tokens,
            assembled: vocabulary.pairs() * inner.category_bytes + ENTRY_OVERHEAD,
            phrase_capacity,
            vocabulary_capacity,
            most_phrases: phrase_capacity.max(vocabulary_capacity) / inner.phrase_bytes.max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        metrics,
        requests::vocabulary::Category,
        stages::{fake::FakeReader, phrases::ReadPhrases},
    };

    fn phrase(text: &str) -> TokenPhrase {
        TokenPhrase::new(text, FakeReader.read(text).ids)
    }

    fn vocabulary(names: &[&str]) -> Vocabulary {
        Vocabulary::built_in(names.iter().copied().map(Category::new).collect(), &FakeReader).unwrap()
    }

    #[test]
    fn what_is_unknown_is_counted_once() {
        let cache: TextCache<u8, u8> = TextCache::new(1000, 1000, &metrics::off());
        cache.keep_phrase(phrase("cat"), 1, 8);
        let words = vocabulary(&["cat", "dog", "Dog", "cow"]);
        assert_eq!(cache.unknown_phrases(&words), HashSet::from(["dog", "cow"].map(phrase)));
        cache.keep_vocabulary(words.digest(), [1, 2, 2, 3].into(), 32);
        assert_eq!(cache.unknown_phrases(&words), HashSet::new());
        assert_eq!(cache.unknown_phrases(&vocabulary(&["dog"])).len(), 1);
        let found = ["cat", " CAT", "dog"].map(|text| cache.phrase(&phrase(text)));
        assert_eq!(found, [Some(1), Some(1), None]);
        assert_eq!(cache.vocabulary(&words.digest()).as_deref(), Some([1, 2, 2, 3].as_slice()));
    }

    #[test]
    fn what_is_known_is_counted_once_and_the_room_follows_the_sizes_seen() {
        let cache: TextCache<u8, u8> = TextCache::new(1000, 3000, &metrics::off());
        cache.keep_phrase(phrase("cat"), 1, 100);
        let words = vocabulary(&["cat", "dog", "Dog"]);
        let different: HashSet<_> = words.phrases().iter().collect();
        assert_eq!((different.len(), cache.known_phrases(&words, &different)), (2, 1));
        cache.keep_vocabulary(words.digest(), [1, 2, 2].into(), 600);
        assert_eq!(cache.known_phrases(&words, &different), 2);
        let room = cache.room_for(&words, 2);
        // Three letters, and four bytes for each of their tokens.
        assert_eq!(room.phrases, 2 * (100 + ENTRY_OVERHEAD) + 3 * (3 + 12));
        assert_eq!(room.assembled, 3 * 200 + ENTRY_OVERHEAD);
        assert_eq!((room.phrase_capacity, room.vocabulary_capacity, room.most_phrases), (1000, 3000, 30));
    }
}
