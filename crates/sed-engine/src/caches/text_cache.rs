//! Text embeddings that were computed before: of single phrases, and of whole vocabularies.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sed_telemetry::GaugeShare;

use crate::{
    caches::byte_lru::ByteLru,
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
    /// Bytes and entries of phrases, and of vocabularies.
    published: [GaugeShare; 4],
    _capacities: [GaugeShare; 2],
}

/// The part of the cache that callers use, whatever the model.
pub(crate) trait KnownText: Send + Sync {
    /// The different phrases of a vocabulary that would have to be embedded.
    fn unknown_phrases(&self, vocabulary: &Vocabulary) -> HashSet<TokenPhrase>;
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
}
