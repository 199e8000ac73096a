//! `INDEX_PNG_8` and `INDEX_PNG_16`: the index map as a grayscale PNG.

use sed_image::mask::png::{self, IndexDepth};
use sed_proto::v1::{MaskEncoding, mask::Content};

use super::{
    form::{Form, Source},
    own_fault,
};
use crate::request_error::RequestError;

/// Categories that 8 bits hold beside the unlabelled index.
pub(super) const MOST_IN_8_BITS: usize = 255;

/// An index PNG of this depth.
pub(super) struct IndexPng(pub(super) IndexDepth);

impl Form for IndexPng {
    fn encoding(&self) -> MaskEncoding {
        match self.0 {
            IndexDepth::Bits8 => MaskEncoding::IndexPng8,
            IndexDepth::Bits16 => MaskEncoding::IndexPng16,
        }
    }

    fn unlabelled_index(&self) -> u32 {
        match self.0 {
            IndexDepth::Bits8 => u8::MAX.into(),
            IndexDepth::Bits16 => u16::MAX.into(),
        }
    }

    fn most_categories(&self) -> usize {
        match self.0 {
            IndexDepth::Bits8 => MOST_IN_8_BITS,
            IndexDepth::Bits16 => usize::MAX,
        }
    }

    /// Rows with their filters, and a file that does not shrink, which grows by doubling.
    fn bytes_of_size(&self, pixels: u64) -> u64 {
        let of_index = match self.0 {
            IndexDepth::Bits8 => 1,
            IndexDepth::Bits16 => 2,
        };
        4 * of_index * pixels
    }

    fn is_compressed(&self) -> bool {
        true
    }

    fn content(&self, source: &Source<'_>) -> Result<Content, RequestError> {
        let png = png::encode(source.map, self.0).map_err(|error| own_fault(&error))?;
        Ok(Content::IndexPng(png.into()))
    }
}
