//! The settings of an engine.

use std::{path::PathBuf, time::Duration};

use crate::requests::vocabulary::Category;

/// The settings of an engine. Bounds of queues and caches hold for each of its devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Requests that may wait for the device; at least 1.
    pub queue_capacity: usize,
    /// (Image, category) pairs of the requests that may wait for the device.
    pub queue_pairs: usize,
    /// Waiting this long lifts a request by one step of priority.
    pub ageing: Duration,
    /// Images of one encoder batch; `None`: as many as memory and device make useful.
    pub batch_images: Option<usize>,
    /// (Image, category) pairs of one batch of any later stage; `None`: as many as memory and device make
    /// useful.
    pub batch_pairs: Option<usize>,
    /// While other work is ripe, a batch that is not full waits this long for more.
    pub batch_delay: Duration,
    /// Bound of the cache of text embeddings, in bytes; 0 turns it off.
    pub text_cache_bytes: usize,
    /// Bound of the cache of whole vocabularies on the device, in bytes; 0 turns it off.
    pub vocabulary_cache_bytes: usize,
    /// Bound of the cache of image features, in bytes; 0 turns it off.
    pub image_cache_bytes: usize,
    /// A directory that stores text embeddings, to share them with other processes.
    pub text_cache_dir: Option<PathBuf>,
    /// Bound of that directory, in bytes.
    pub text_cache_dir_bytes: u64,
    /// Phrases that are embedded in one launch.
    pub text_chunk: usize,
    /// Categories whose words are embedded before the engine is ready, one list for each vocabulary.
    pub preload: Vec<Vec<Category>>,
    /// Phrases that may be prepared in the background at the same time, for all callers together; one caller
    /// may have half of them. 0 prepares none.
    pub preparing_phrases: usize,
    /// True if the largest batches are tried before the engine is ready. A server must know that they fit; a
    /// command with one request need not.
    pub warm_up_largest_batches: bool,
    /// Time between two probes of a device that was lost or whose warm-up failed.
    pub probe_interval: Duration,
    /// A device that cannot recover in this process is given up after so many failed probes in a row; 0 is
    /// never.
    pub lost_probes: u32,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            queue_capacity: 64,
            queue_pairs: 65_536,
            ageing: Duration::from_secs(5),
            batch_images: None,
            batch_pairs: None,
            batch_delay: Duration::ZERO,
            text_cache_bytes: 512 << 20,
            vocabulary_cache_bytes: 512 << 20,
            image_cache_bytes: 512 << 20,
            text_cache_dir: None,
            text_cache_dir_bytes: 4 << 30,
            text_chunk: 32,
            preload: Vec::new(),
            preparing_phrases: 8192,
            warm_up_largest_batches: false,
            probe_interval: Duration::from_secs(5),
            lost_probes: 3,
        }
    }
}
