//! A mask encoding: what it can hold, what it costs and what it makes.

use sed_engine::ScoreMaps;
use sed_image::IndexMap;
use sed_proto::v1::{self, ErrorReason, MaskEncoding, mask::Content};

use super::{planes::Planes, runs::Runs};
use crate::{config::Settings, field::Field, request_error::RequestError, validate::ValidatedOptions};

/// The index of unlabelled pixels where an index has 16 bits, or none is written.
const UNLABELLED_16: u32 = 65_535;

/// Everything that masks are made of.
pub(super) struct Source<'a> {
    pub(super) map: &'a IndexMap,
    /// The scores, if a form needs them.
    pub(super) score_maps: Option<&'a ScoreMaps>,
    /// Score, runner-up and margin of every pixel, if a form or the overlay needs them.
    pub(super) planes: Option<&'a Planes>,
    pub(super) options: &'a ValidatedOptions,
    pub(super) limits: &'a Settings,
}

impl<'a> Source<'a> {
    /// Returns score, runner-up and margin of every pixel, which the engine was asked for.
    pub(super) fn planes(&self) -> Result<&'a Planes, RequestError> {
        self.planes.ok_or_else(|| {
            let message = "the model returned no score, runner-up and margin of each pixel";
            RequestError::new(ErrorReason::Internal, Field::Options, message)
        })
    }
}

/// A mask encoding.
pub(super) trait Form: Sync {
    /// Its name in the interface.
    fn encoding(&self) -> MaskEncoding;

    /// The index of pixels without a category.
    fn unlabelled_index(&self) -> u32 {
        UNLABELLED_16
    }

    /// The most categories that it can tell apart.
    fn most_categories(&self) -> usize {
        usize::MAX
    }

    /// Bytes that a mask of so many pixels takes while it is made, whatever it shows.
    fn bytes_of_size(&self, _pixels: u64) -> u64 {
        0
    }

    /// Bytes that a mask takes for the runs of equal indices in its map; `None` if it is not made of runs.
    fn bytes_of_runs(&self, _runs: Runs, _limits: &Settings) -> Option<u64> {
        None
    }

    /// Reports whether it is made of the scores, which the engine then returns with the map.
    fn needs_scores(&self) -> bool {
        false
    }

    /// Reports whether it is made of score, runner-up or margin of every pixel, which the engine then returns
    /// with the map.
    fn needs_sureness(&self) -> bool {
        false
    }

    /// The least bytes that its content has in an answer, whatever it shows.
    fn least_content(&self, _pixels: u64) -> u64 {
        0
    }

    /// Reports whether its content is compressed already, so that compressing it once more saves nothing.
    fn is_compressed(&self) -> bool {
        false
    }

    /// Makes the content of the mask.
    fn content(&self, source: &Source<'_>) -> Result<Content, RequestError>;
}

impl dyn Form {
    /// Makes the mask.
    pub(super) fn mask(&self, source: &Source<'_>) -> Result<v1::Mask, RequestError> {
        Ok(v1::Mask {
            encoding: self.encoding().into(),
            unlabelled_index: self.unlabelled_index(),
            content: Some(self.content(source)?),
        })
    }
}
