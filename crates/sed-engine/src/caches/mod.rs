//! Caches, bounded in bytes: text embeddings, also in a folder that processes share, and image features.

pub(crate) mod byte_lru;
pub(crate) mod direction_cache;
pub(crate) mod feature_cache;
pub(crate) mod text_cache;
pub(crate) mod text_store;
