//! A cache that is bounded in bytes and forgets what was not used for the longest time.

use std::{borrow::Borrow, hash::Hash};

use lru::LruCache;

/// Overhead of an entry beside its value and its key, in bytes: hash table slot, list links, two headers.
pub(crate) const ENTRY_OVERHEAD: usize = 128;

/// Values by key.
#[derive(Debug)]
pub(crate) struct ByteLru<K: Hash + Eq, V> {
    entries: LruCache<K, Entry<V>>,
    bytes: usize,
    capacity: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
}

impl<K: Hash + Eq, V: Clone> ByteLru<K, V> {
    /// An empty cache that holds at most `capacity` bytes; 0 turns it off.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: LruCache::unbounded(), bytes: 0, capacity }
    }

    /// The value of a key, which thereby becomes the most recently used.
    pub(crate) fn get<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.entries.get(key).map(|entry| entry.value.clone())
    }

    /// Reports whether the cache holds a key. Does not count as a use of the entry.
    pub(crate) fn contains<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.entries.contains(key)
    }

    /// Stores a value that holds `bytes` together with its key. Evicts the least recently used entries to
    /// make room, and returns their number. A value that is larger than the whole cache is not stored.
    pub(crate) fn insert(&mut self, key: K, value: V, bytes: usize) -> usize {
        let bytes = bytes + ENTRY_OVERHEAD;
        if bytes > self.capacity {
            return 0;
        }
        if let Some(old) = self.entries.pop(&key) {
            self.bytes -= old.bytes;
        }
        let mut evicted = 0;
        while self.bytes + bytes > self.capacity {
            let Some((_, oldest)) = self.entries.pop_lru() else { break };
            self.bytes -= oldest.bytes;
            evicted += 1;
        }
        self.bytes += bytes;
        self.entries.put(key, Entry { value, bytes });
        evicted
    }

    /// Bytes in use.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes that may be in use.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut cache = ByteLru::new(2 * (1000 + ENTRY_OVERHEAD));
        assert_eq!(cache.insert("a", 1, 1000) + cache.insert("b", 2, 1000), 0);
        assert_eq!(cache.get("a"), Some(1));
        assert_eq!(cache.insert("c", 3, 1000), 1);
        assert_eq!([cache.get("a"), cache.get("b"), cache.get("c")], [Some(1), None, Some(3)]);
    }

    #[test]
    fn what_is_larger_than_the_cache_is_not_kept() {
        let mut cache = ByteLru::new(500);
        cache.insert("a", 1, 100);
        cache.insert("b", 2, 500);
        assert_eq!([cache.get("a"), cache.get("b")], [Some(1), None]);
    }

    proptest! {
        #[test]
        fn the_bound_holds_and_the_count_is_true(
            inserts in prop::collection::vec(("[a-f]{1,2}", 0_usize..4000), 0..60)
        ) {
            let mut cache = ByteLru::new(8000);
            let (mut distinct, mut gone) = (std::collections::HashSet::new(), 0);
            for (name, bytes) in inserts {
                if bytes + ENTRY_OVERHEAD <= 8000 && !cache.contains(&name) {
                    distinct.insert(name.clone());
                    gone += cache.insert(name, bytes, bytes);
                    prop_assert_eq!(cache.len(), distinct.len() - gone);
                    gone = 0;
                    distinct = cache.entries.iter().map(|(name, _)| name.clone()).collect();
                } else {
                    cache.insert(name, bytes, bytes);
                    distinct = cache.entries.iter().map(|(name, _)| name.clone()).collect();
                }
                let counted: usize = cache.entries.iter().map(|(_, entry)| entry.bytes).sum();
                prop_assert_eq!(cache.bytes(), counted);
                prop_assert!(cache.bytes() <= 8000);
            }
        }
    }
}
