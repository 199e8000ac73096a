//! `COCO_RLE`: for each category COCO's compressed run lengths.

use sed_image::mask::rle::{self, CategoryRle};
use sed_proto::v1::{self, MaskEncoding, mask::Content};

use super::{
    form::{Form, Source},
    runs::Runs,
};
use crate::{config::Settings, request_error::RequestError};

/// Bytes of a run while it is written as COCO's text, with the growth of its lists.
const RUN: u64 = 48;

pub(super) struct CocoRle;

impl Form for CocoRle {
    fn encoding(&self) -> MaskEncoding {
        MaskEncoding::CocoRle
    }

    fn bytes_of_runs(&self, runs: Runs, _limits: &Settings) -> Option<u64> {
        Some(runs.along_columns * RUN)
    }

    fn content(&self, source: &Source<'_>) -> Result<Content, RequestError> {
        let mask = |found: CategoryRle| v1::RleMask {
            category_index: found.category.into(),
            counts: found.rle.to_compressed().into(),
        };
        Ok(Content::Rle(v1::RleMasks { masks: rle::encode(source.map).into_iter().map(mask).collect() }))
    }
}
