//! Features of images that were encoded before, so that asking about the same picture with new words skips
//! the encoder.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use sed_telemetry::GaugeShare;

use crate::{
    caches::byte_lru::ByteLru,
    metrics::EngineMetrics,
    requests::image::{ImageFacts, ImageKey, PinnedImage},
};

/// The images, shared between the callers and the device thread.
#[derive(Debug)]
pub(crate) struct FeatureCache {
    id: u64,
    images: Mutex<ByteLru<ImageKey, PinnedImage>>,
    published: Mutex<[GaugeShare; 2]>,
    _capacity: GaugeShare,
    metrics: Arc<EngineMetrics>,
}

/// The id of the next cache; no two caches of the process have the same.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl FeatureCache {
    /// A cache of at most `capacity` bytes; 0 turns it off.
    pub(crate) fn new(capacity: usize, metrics: &Arc<EngineMetrics>) -> Self {
        let published =
            [&metrics.image_cache_bytes, &metrics.image_cache_entries].map(|gauge| gauge.share(0.0));
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            images: Mutex::new(ByteLru::new(capacity)),
            published: Mutex::new(published),
            _capacity: metrics.image_cache_capacity.share(capacity as f64),
            metrics: Arc::clone(metrics),
        }
    }

    /// The image of a key, which thereby becomes the most recently used.
    pub(crate) fn get(&self, key: &ImageKey) -> Option<PinnedImage> {
        self.lock().get(key)
    }

    /// Reports whether the cache holds an image.
    pub(crate) fn contains(&self, key: &ImageKey) -> bool {
        self.lock().contains(key)
    }

    /// Reports whether an image came out of this cache, so that its features are on this cache's device.
    pub(crate) fn is_home_of(&self, image: &PinnedImage) -> bool {
        image.cache == self.id
    }

    /// Stores the features of an image, which hold `bytes`.
    pub(crate) fn insert<F: Send + Sync + 'static>(&self, facts: ImageFacts, features: F, bytes: usize) {
        let image = PinnedImage { facts, features: Arc::new(features), cache: self.id };
        let mut images = self.lock();
        let evicted = images.insert(facts.key, image, bytes);
        self.metrics.image_cache_evictions.add(evicted as u64);
        let values = [images.bytes(), images.len()];
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        published.iter_mut().zip(values).for_each(|(share, value)| share.set(value as f64));
    }

    /// Reports whether the cache is on.
    pub(crate) fn is_on(&self) -> bool {
        self.lock().capacity() > 0
    }

    fn lock(&self) -> MutexGuard<'_, ByteLru<ImageKey, PinnedImage>> {
        // Nothing under the lock leaves the cache half changed.
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics;

    #[test]
    fn a_pinned_image_outlives_its_eviction() {
        let cache = FeatureCache::new(1000, &metrics::off());
        let facts = |byte| ImageFacts { key: ImageKey([byte; 32]), width: 3, height: 2, crop: None };
        cache.insert(facts(1), vec![7_u8; 3], 600);
        let pinned = cache.get(&facts(1).key).unwrap();
        cache.insert(facts(2), vec![8_u8; 3], 600);
        assert!(!cache.contains(&facts(1).key) && cache.contains(&facts(2).key));
        assert_eq!(pinned.features::<Vec<u8>>(), Some(vec![7; 3]));
        assert_eq!(pinned.features::<Vec<u16>>(), None);
        assert_eq!(pinned.facts(), facts(1));
    }
}
