//! The work of a batch.

use sed_model::{Rejection, text_tower::TextEmbedding};

/// One image of a batch, and what to look for in it.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// Index of the picture; after the last, the first follows again.
    pub picture: usize,
    /// The text embeddings of the categories.
    pub text: &'a [TextEmbedding],
    /// The rejection.
    pub rejection: Rejection,
}
