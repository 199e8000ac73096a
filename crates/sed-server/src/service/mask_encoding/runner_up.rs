//! `RUNNER_UP_PNG`: the second best category of every pixel, as an index PNG.

use sed_image::mask::{png, raw};
use sed_proto::v1::{MaskEncoding, mask::Content};

use super::{
    form::{Form, Source},
    index_png::IndexPng,
    own_fault,
};
use crate::request_error::RequestError;

/// An index PNG of the second best categories. Thresholds and `min_area` do not change it.
pub(super) struct RunnerUpPng(pub(super) IndexPng);

impl Form for RunnerUpPng {
    fn encoding(&self) -> MaskEncoding {
        MaskEncoding::RunnerUpPng
    }

    fn unlabelled_index(&self) -> u32 {
        self.0.unlabelled_index()
    }

    fn most_categories(&self) -> usize {
        self.0.most_categories()
    }

    fn bytes_of_size(&self, pixels: u64) -> u64 {
        self.0.bytes_of_size(pixels)
    }

    fn needs_sureness(&self) -> bool {
        true
    }

    fn is_compressed(&self) -> bool {
        self.0.is_compressed()
    }

    fn content(&self, source: &Source<'_>) -> Result<Content, RequestError> {
        let runner_up = &source.planes()?.runner_up;
        if source.options.raw_runner_up {
            return Ok(Content::RawIndices(raw::encode_u16(runner_up).into()));
        }
        let png = png::encode(runner_up, self.0.0).map_err(|error| own_fault(&error))?;
        Ok(Content::RunnerUpPng(png.into()))
    }
}
