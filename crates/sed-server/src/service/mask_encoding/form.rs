//! The mask encodings: for each what it holds, what it costs and what it makes.

use sed_engine::{ScoreMaps, Vocabulary};
use sed_image::mask::{IndexMap, png::IndexDepth};
use sed_proto::v1::{self, MaskEncoding, mask::Content};

use super::{
    coco_rle::CocoRle, index_png::IndexPng, polygons::Polygons, raw::Raw, runs::Runs,
    score_maps::ScoreMapForm,
};
use crate::{config::Settings, field::Field, request_error::RequestError, validate::ValidatedOptions};

/// The index of unlabelled pixels where an index has 16 bits, or none is written.
const UNLABELLED_16: u32 = 65_535;

/// Everything that masks are made of.
pub(super) struct Source<'a> {
    pub(super) map: &'a IndexMap,
    /// The scores, if a form needs them.
    pub(super) score_maps: Option<&'a ScoreMaps>,
    pub(super) options: &'a ValidatedOptions,
    pub(super) limits: &'a Settings,
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

static INDEX_PNG_8: &dyn Form = &IndexPng(IndexDepth::Bits8);
static INDEX_PNG_16: &dyn Form = &IndexPng(IndexDepth::Bits16);
/// All forms.
static FORMS: [&dyn Form; 6] = [INDEX_PNG_8, INDEX_PNG_16, &CocoRle, &Polygons, &Raw, &ScoreMapForm];

/// The form of an encoding for a vocabulary of so many categories. The depth of `INDEX_PNG` follows from the
/// vocabulary, not from the picture: callers see the same one every time.
pub(super) fn form_of(encoding: MaskEncoding, categories: usize) -> &'static dyn Form {
    let narrowest = if categories <= INDEX_PNG_8.most_categories() { INDEX_PNG_8 } else { INDEX_PNG_16 };
    FORMS.into_iter().find(|form| form.encoding() == encoding).unwrap_or(narrowest)
}

/// The encodings of the interface.
pub(in crate::service) fn published() -> impl Iterator<Item = MaskEncoding> {
    [MaskEncoding::IndexPng].into_iter().chain(FORMS.iter().map(|form| form.encoding()))
}

/// Refuses encodings that cannot hold a vocabulary.
pub(in crate::service) fn check_encodings(
    options: &ValidatedOptions,
    vocabulary: &Vocabulary,
) -> Result<(), RequestError> {
    for (index, encoding) in options.mask_encodings.iter().enumerate() {
        let most = form_of(*encoding, vocabulary.size()).most_categories();
        if vocabulary.size() > most {
            let message = format!("8 bits hold {most} categories; ask for INDEX_PNG_16");
            return Err(RequestError::option(Field::MaskEncoding(index), message).with_limit(most as u64));
        }
    }
    Ok(())
}

/// Returns the bytes that the masks of so many pixels take whatever they show.
pub(in crate::service) fn bytes_of_size(
    pixels: u64,
    options: &ValidatedOptions,
    vocabulary: &Vocabulary,
) -> u64 {
    let forms = options.mask_encodings.iter().map(|encoding| form_of(*encoding, vocabulary.size()));
    forms.map(|form| form.bytes_of_size(pixels)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_of_the_interface_has_one_form() {
        let of_interface = (1..100).filter_map(|number| MaskEncoding::try_from(number).ok());
        let mut published: Vec<MaskEncoding> = published().collect();
        published.sort_unstable();
        assert_eq!(published, of_interface.collect::<Vec<_>>());
    }

    #[test]
    fn the_depth_follows_from_the_vocabulary() {
        assert_eq!(form_of(MaskEncoding::IndexPng, 255).encoding(), MaskEncoding::IndexPng8);
        assert_eq!(form_of(MaskEncoding::IndexPng, 256).encoding(), MaskEncoding::IndexPng16);
        assert_eq!(form_of(MaskEncoding::IndexPng16, 2).encoding(), MaskEncoding::IndexPng16);
        assert_eq!(form_of(MaskEncoding::Raw, 256).encoding(), MaskEncoding::Raw);
    }
}
