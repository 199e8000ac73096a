//! The table of the forms, and what all forms of a request take together.

use sed_engine::Vocabulary;
use sed_image::{IndexMap, mask::png::IndexDepth};
use sed_proto::v1::{self, MaskEncoding};

use super::{
    coco_rle::CocoRle, form::Form, index_png::IndexPng, polygons::Polygons, raw::Raw, runs::Runs,
    score_maps::ScoreMapForm,
};
use crate::{config::Settings, field::Field, request_error::RequestError, validate::ValidatedOptions};

/// Bytes of a run while regions are found, with the growth of its lists.
const REGION_RUN: u64 = 64;

/// Returns the bytes that the masks of `map` take for its runs. They are counted only where a form is made of
/// them.
pub(super) fn bytes_of_runs(map: &IndexMap, options: &ValidatedOptions, limits: &Settings) -> u64 {
    // The number of categories only decides between forms that are not made of runs.
    let forms = || options.mask_encodings.iter().map(|encoding| form_of(*encoding, 0));
    let regions = options.min_area > 1;
    if !regions && forms().all(|form| form.bytes_of_runs(Runs::default(), limits).is_none()) {
        return 0;
    }
    let runs = Runs::of(map);
    let of_regions = if regions { runs.along_rows * REGION_RUN } else { 0 };
    of_regions + forms().filter_map(|form| form.bytes_of_runs(runs, limits)).sum::<u64>()
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

/// Reports whether a mask is made of the scores.
pub(in crate::service) fn need_scores(options: &ValidatedOptions) -> bool {
    // The number of categories only decides between forms that are made of the map.
    options.mask_encodings.iter().any(|encoding| form_of(*encoding, 0).needs_scores())
}

/// Reports whether the content of a mask that a form has made is compressed already.
pub(in crate::service) fn is_compressed(mask: &v1::Mask) -> bool {
    // A mask names its form itself, whatever the number of categories.
    form_of(mask.encoding(), 0).is_compressed()
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

    #[test]
    fn only_index_pngs_are_compressed() {
        let compressed = |encoding: MaskEncoding| {
            is_compressed(&v1::Mask { encoding: encoding.into(), ..Default::default() })
        };
        let named: Vec<_> = FORMS.iter().map(|form| form.encoding()).filter(|of| compressed(*of)).collect();
        assert_eq!(named, [MaskEncoding::IndexPng8, MaskEncoding::IndexPng16]);
    }

    fn usual() -> ValidatedOptions {
        let request = sed_proto::v1::SegmentRequest {
            image: Some(sed_proto::v1::Image {
                source: Some(sed_proto::v1::image::Source::Encoded(vec![1].into())),
            }),
            vocabulary: Some(sed_proto::v1::Vocabulary {
                source: Some(sed_proto::v1::vocabulary::Source::Name("pets".into())),
            }),
            ..Default::default()
        };
        let reader = sed_engine::fake::FakeReader;
        crate::validate_segment(&request, &Settings::default(), &reader).unwrap().options
    }

    #[test]
    fn runs_are_paid_for_where_a_form_or_regions_are_made_of_them() {
        let map = IndexMap::new(3, 2, vec![1, 1, 2, 1, 3, 2]).unwrap();
        let options = ValidatedOptions { min_area: 5, ..usual() };
        assert_eq!(bytes_of_runs(&map, &usual(), &Settings::default()), 0);
        assert_eq!(bytes_of_runs(&map, &options, &Settings::default()), 5 * REGION_RUN);
    }
}
