//! Embeddings of phrases that were computed before: least recently used, bounded in bytes.

use lru::LruCache;

/// What an entry costs beside its embedding and its phrase: hash table slot, list links, two headers.
const ENTRY_OVERHEAD: usize = 128;

/// Embeddings by phrase. It belongs to one model in one process, so the words alone are the key.
#[derive(Debug)]
pub(crate) struct TextCache<E> {
    entries: LruCache<Box<str>, Entry<E>>,
    bytes: usize,
    capacity: usize,
}

#[derive(Debug)]
struct Entry<E> {
    embedding: E,
    bytes: usize,
}

impl<E: Clone> TextCache<E> {
    /// An empty cache that holds at most `capacity` bytes; 0 turns it off.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: LruCache::unbounded(), bytes: 0, capacity }
    }

    /// The embedding of a phrase, which thereby becomes the most recently used.
    pub(crate) fn get(&mut self, phrase: &str) -> Option<E> {
        self.entries.get(phrase).map(|entry| entry.embedding.clone())
    }

    /// Keeps an embedding of `embedding_bytes`, at the cost of the least recently used ones. One that is
    /// larger than the whole cache is not kept.
    pub(crate) fn insert(&mut self, phrase: &str, embedding: E, embedding_bytes: usize) {
        let bytes = embedding_bytes + phrase.len() + ENTRY_OVERHEAD;
        if bytes > self.capacity {
            return;
        }
        if let Some(old) = self.entries.pop(phrase) {
            self.bytes -= old.bytes;
        }
        while self.bytes + bytes > self.capacity {
            let Some((_, oldest)) = self.entries.pop_lru() else { break };
            self.bytes -= oldest.bytes;
        }
        self.bytes += bytes;
        self.entries.put(phrase.into(), Entry { embedding, bytes });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut cache = TextCache::new(2 * (1000 + 1 + ENTRY_OVERHEAD));
        cache.insert("a", 1, 1000);
        cache.insert("b", 2, 1000);
        assert_eq!(cache.get("a"), Some(1));
        cache.insert("c", 3, 1000);
        assert_eq!([cache.get("a"), cache.get("b"), cache.get("c")], [Some(1), None, Some(3)]);
    }

    #[test]
    fn what_is_larger_than_the_cache_is_not_kept() {
        let mut cache = TextCache::new(500);
        cache.insert("a", 1, 100);
        cache.insert("b", 2, 500);
        assert_eq!([cache.get("a"), cache.get("b")], [Some(1), None]);
    }

    proptest! {
        #[test]
        fn the_bound_holds_and_the_count_is_true(
            inserts in prop::collection::vec(("[a-f]{1,2}", 0_usize..4000), 0..60)
        ) {
            let mut cache = TextCache::new(8000);
            for (name, bytes) in inserts {
                cache.insert(&name, bytes, bytes);
                let counted: usize = cache.entries.iter().map(|(_, entry)| entry.bytes).sum();
                prop_assert_eq!(cache.bytes, counted);
                prop_assert!(cache.bytes <= 8000);
            }
        }
    }
}
