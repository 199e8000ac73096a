//! `RAW`: the indices themselves, little-endian.

use sed_image::mask::raw;
use sed_proto::v1::{MaskEncoding, mask::Content};

use super::form::{Form, Source};
use crate::request_error::RequestError;

/// Bytes of an index.
const INDEX: u64 = 2;

pub(super) struct Raw;

impl Form for Raw {
    fn encoding(&self) -> MaskEncoding {
        MaskEncoding::Raw
    }

    fn bytes_of_size(&self, pixels: u64) -> u64 {
        INDEX * pixels
    }

    /// The Open Inference Protocol's typed form packs small indices into one byte.
    fn least_content(&self, pixels: u64) -> u64 {
        pixels
    }

    fn content(&self, source: &Source<'_>) -> Result<Content, RequestError> {
        Ok(Content::RawIndices(raw::encode_u16(source.map).into()))
    }
}
