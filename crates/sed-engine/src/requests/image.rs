//! Images that are known by their key, and may have been encoded before.

use std::{any::Any, fmt, sync::Arc};

/// The cache key of an image: a digest of its pixels and of how they were resized to the input size.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageKey(pub [u8; 32]);

impl fmt::Debug for ImageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The facts that are stored with the features of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageFacts {
    /// The key of the image.
    pub key: ImageKey,
    /// Width of the picture in pixels.
    pub width: u32,
    /// Height of the picture in pixels.
    pub height: u32,
    /// Only this many columns and rows, `(width, height)`, of the decoder's map hold the picture: the crop
    /// for every [`crate::OutputSpec`] that is to have the picture's shape.
    pub crop: Option<(u32, u32)>,
}

/// An image whose features stay in memory for as long as this is held.
#[derive(Clone)]
pub struct PinnedImage {
    pub(crate) facts: ImageFacts,
    /// The model's `ImageFeatures`; the handle of an engine does not know its type.
    pub(crate) features: Arc<dyn Any + Send + Sync>,
    /// The cache that it came out of.
    pub(crate) cache: u64,
}

impl PinnedImage {
    /// The facts that are stored with the image.
    pub fn facts(&self) -> ImageFacts {
        self.facts
    }

    /// The features, if they are of this type.
    pub(crate) fn features<F: Clone + 'static>(&self) -> Option<F> {
        self.features.downcast_ref::<F>().cloned()
    }
}

impl fmt::Debug for PinnedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PinnedImage").field(&self.facts).finish()
    }
}
