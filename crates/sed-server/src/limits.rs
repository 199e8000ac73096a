//! Limits of requests. All of them are published by `GetServerInfo`.

use std::time::Duration;

use sed_engine::{EngineConfig, VocabularyLimits};
use sed_image::DecodeLimits;
use sed_proto::v1;

use crate::{config::Transport, convert};

/// The server's limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory for everything that connections and requests cause, in bytes.
    pub request_memory_bytes: u64,
    /// Bytes of one request message.
    pub message_bytes: usize,
    /// Bytes of one answer.
    pub response_bytes: usize,
    /// Bytes, pixels, sides and decoding memory of an image.
    pub image: DecodeLimits,
    /// Pixels of the masks.
    pub output_pixels: u64,
    /// Width and height of the masks.
    pub output_side: u32,
    /// Categories, synonyms and phrases.
    pub vocabulary: VocabularyLimits,
    /// Points of all polygons of a mask together.
    pub polygon_points: usize,
    /// The largest `top_k`.
    pub top_k: u32,
    /// UTF-8 bytes of a request id.
    pub request_id_bytes: usize,
    /// Requests that are worked on at the same time.
    pub concurrent_requests: usize,
    /// Requests that may wait for the device at the same time.
    pub queued_requests: usize,
    /// (Image, category) pairs of the requests that may wait for the device at the same time.
    pub queued_pairs: usize,
    /// Requests of one stream that are worked on at the same time, no more than `concurrent_requests`.
    pub stream_requests: usize,
    /// Vocabularies that may be registered at the same time.
    pub registered_vocabularies: usize,
    /// Memory that the words of all registered vocabularies may take together, in bytes.
    pub registered_vocabulary_bytes: usize,
    /// Bytes of text embeddings that are cached.
    pub text_cache_bytes: usize,
    /// Bytes of whole vocabularies that are cached on the device.
    pub vocabulary_cache_bytes: usize,
    /// Bytes of image features that are cached.
    pub image_cache_bytes: usize,
    /// The longest that a request may take.
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let engine = EngineConfig::default();
        Self {
            request_memory_bytes: 4 << 30,
            message_bytes: 32 << 20,
            response_bytes: 128 << 20,
            image: DecodeLimits::default(),
            output_pixels: 64_000_000,
            output_side: 16_384,
            vocabulary: VocabularyLimits::default(),
            polygon_points: 1_000_000,
            top_k: 1024,
            request_id_bytes: 128,
            concurrent_requests: 64,
            queued_requests: 64,
            queued_pairs: engine.queue_pairs,
            stream_requests: 16,
            registered_vocabularies: 1000,
            registered_vocabulary_bytes: 64 << 20,
            text_cache_bytes: engine.text_cache_bytes,
            vocabulary_cache_bytes: engine.vocabulary_cache_bytes,
            image_cache_bytes: engine.image_cache_bytes,
            timeout: Duration::from_secs(60),
        }
    }
}

impl Limits {
    /// The limits as `GetServerInfo` returns them, with the largest batches (images, pairs) of this moment
    /// and the bounds of connections.
    pub(crate) fn to_proto(
        &self,
        (batch_images, batch_pairs): (usize, usize),
        transport: &Transport,
    ) -> v1::Limits {
        let count = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
        v1::Limits {
            max_message_bytes: self.message_bytes as u64,
            max_image_bytes: self.image.max_encoded_bytes,
            max_image_pixels: self.image.max_pixels,
            max_image_side: self.image.max_side,
            max_decode_bytes: self.image.max_alloc_bytes,
            max_output_pixels: self.output_pixels,
            max_output_side: self.output_side,
            max_categories: count(self.vocabulary.categories),
            max_synonyms: count(self.vocabulary.synonyms),
            max_phrases: count(self.vocabulary.phrases),
            max_phrase_bytes: count(self.vocabulary.phrase_bytes),
            max_top_k: self.top_k,
            max_request_id_bytes: count(self.request_id_bytes),
            max_response_bytes: self.response_bytes as u64,
            max_concurrent_requests: count(self.concurrent_requests),
            max_polygon_points: self.polygon_points as u64,
            max_queued_requests: count(self.queued_requests),
            max_timeout: Some(convert::duration(self.timeout)),
            max_queued_pairs: self.queued_pairs as u64,
            max_batch_images: count(batch_images),
            max_batch_pairs: count(batch_pairs),
            text_cache_bytes: self.text_cache_bytes as u64,
            vocabulary_cache_bytes: self.vocabulary_cache_bytes as u64,
            image_cache_bytes: self.image_cache_bytes as u64,
            max_registered_vocabularies: count(self.registered_vocabularies),
            max_registered_vocabulary_bytes: self.registered_vocabulary_bytes as u64,
            max_stream_requests: count(self.stream_requests),
            max_connections: count(transport.max_connections),
            max_connection_streams: transport.max_streams,
            max_connection_age: transport.max_age.map(convert::duration),
            max_header_bytes: transport.max_header_bytes,
            max_request_memory_bytes: self.request_memory_bytes,
        }
    }
}
