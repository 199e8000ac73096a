//! Defaults that depend on other settings or on the machine, and settings in the types of other crates.

use std::time::Duration;

use sed_engine::{Memory, Rejection, VocabularyLimits};
use sed_image::DecodeLimits;
use sed_proto::v1;

use super::{ConfigError, Settings, written::table};
use crate::memory::Split;

/// The least memory for requests that the machine's size leads to, and the most, in bytes.
const REQUEST_MEMORY: (u64, u64) = (128 << 20, 16 << 30);
const MAX_CONNECTIONS: usize = 4096;
const MAX_IMAGE_BYTES: u64 = 32 << 20;
const TOP_K: u32 = 8;

impl Settings {
    /// Returns the settings with every automatic default filled in.
    pub(super) fn effective(mut self) -> Self {
        if self.max_request_memory_bytes == 0 {
            // The model, its batches and the caches need the rest.
            let third = Memory::now().map_or(4 << 30, |memory| memory.total / 3);
            self.max_request_memory_bytes = third.clamp(REQUEST_MEMORY.0, REQUEST_MEMORY.1);
        }
        // More requests would be read only to be refused.
        self.max_stream_requests = self.max_stream_requests.min(self.max_concurrent_requests);
        self.queue_capacity = Some(self.queue_capacity());
        self.max_image_bytes = Some(self.max_image_bytes());
        self.max_connections = Some(self.max_connections());
        self.default_top_k = Some(self.default_top_k());
        self
    }

    /// Returns the requests that may wait for the device: by default as many as are worked on.
    pub fn queue_capacity(&self) -> usize {
        self.queue_capacity.unwrap_or(self.max_concurrent_requests)
    }

    /// Returns the most bytes of an encoded image: by default those of a message, but at most 32 MiB.
    pub fn max_image_bytes(&self) -> u64 {
        self.max_image_bytes.unwrap_or(MAX_IMAGE_BYTES.min(self.max_message_bytes as u64))
    }

    /// Returns the most connections at the same time: by default 4096, or as many as the memory holds.
    pub fn max_connections(&self) -> usize {
        self.max_connections.unwrap_or(MAX_CONNECTIONS.min(self.most_connections()))
    }

    /// The connections that the memory for requests holds.
    pub(super) fn most_connections(&self) -> usize {
        Split::most_connections(self.max_request_memory_bytes).min(100_000)
    }

    /// Returns the `top_k` of requests that have none: by default 8, but at most the largest.
    pub fn default_top_k(&self) -> u32 {
        self.default_top_k.unwrap_or(TOP_K.min(self.max_top_k))
    }

    /// Returns the rejection of requests that do not ask for one.
    pub fn default_rejection(&self) -> Rejection {
        Rejection::from_top_k(self.default_top_k())
    }

    /// Returns the longest that a request may take.
    pub fn max_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.max_timeout_seconds)
    }

    /// Returns the age at which a connection accepts no more calls, if there is one.
    pub fn max_connection_age(&self) -> Option<Duration> {
        Some(Duration::from_secs_f64(self.max_connection_age_seconds)).filter(|age| !age.is_zero())
    }

    /// Returns the limits of an image.
    pub fn image_limits(&self) -> DecodeLimits {
        DecodeLimits {
            max_encoded_bytes: self.max_image_bytes(),
            max_pixels: self.max_image_pixels,
            max_side: self.max_image_side,
            max_alloc_bytes: self.max_decode_bytes,
        }
    }

    /// Returns the limits of a vocabulary.
    pub fn vocabulary_limits(&self) -> VocabularyLimits {
        VocabularyLimits {
            categories: self.max_categories,
            synonyms: self.max_synonyms,
            phrases: self.max_phrases,
            phrase_bytes: self.max_phrase_bytes,
        }
    }

    /// Returns the published limits that have the name of a setting; the others are 0.
    ///
    /// # Errors
    /// The type of a limit does not hold the value of its setting.
    pub(super) fn published_limits(&self) -> Result<v1::Limits, ConfigError> {
        let one_line = |text: String| text.trim_end().replace('\n', " ");
        table(self)?.try_into().map_err(|error| ConfigError::Unpublished(one_line(error.to_string())))
    }
}
