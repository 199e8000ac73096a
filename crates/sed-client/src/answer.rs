//! Answers.

use bytes::Bytes;
use sed_proto::v1::{self, mask::Content};

use crate::{
    error::{Error, Result},
    report::Report,
};

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Categories, rejection and times.
    pub report: Report,
    /// Width and height of the masks, in pixels.
    pub mask_size: v1::Size,
    /// The mask in every encoding that was asked for.
    pub masks: Vec<v1::Mask>,
    /// The picture with the categories drawn over it, where it was asked for; else empty.
    pub overlay_png: Bytes,
    /// The name by which the server still knows the picture; empty if it does not.
    pub image_id: String,
    /// Remarks on an accepted request, such as repeated words.
    pub warnings: Vec<v1::Warning>,
}

impl Answer {
    /// The index PNG: the value of a pixel is the index of its category; the largest value is no category.
    ///
    /// # Errors
    /// No mask has this encoding.
    pub fn index_png(&self) -> Result<&Bytes> {
        let png = self.contents().find_map(|content| match content {
            Content::IndexPng(png) => Some(png),
            _ => None,
        });
        png.ok_or(Error::NoIndexPng)
    }

    /// The contents of all masks.
    pub(crate) fn contents(&self) -> impl Iterator<Item = &Content> {
        self.masks.iter().filter_map(|mask| mask.content.as_ref())
    }
}

impl From<v1::SegmentResponse> for Answer {
    fn from(mut answer: v1::SegmentResponse) -> Self {
        Self {
            mask_size: answer.mask_size.take().unwrap_or_default(),
            masks: std::mem::take(&mut answer.masks),
            overlay_png: std::mem::take(&mut answer.overlay_png),
            image_id: std::mem::take(&mut answer.image_id),
            warnings: std::mem::take(&mut answer.warnings),
            report: answer.into(),
        }
    }
}
