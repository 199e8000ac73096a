//! The table of the forms, and what all forms of a request take together.

use sed_engine::Vocabulary;
use sed_image::{IndexMap, mask::png::IndexDepth};
use sed_proto::v1::{self, MaskEncoding};

use super::{
    coco_rle::CocoRle,
    form::Form,
    index_png::{IndexPng, MOST_IN_8_BITS},
    polygons::Polygons,
    raw::Raw,
    runner_up::RunnerUpPng,
    runs::Runs,
    score_maps::ScoreMapForm,
    values::{RawValues, ValuePng, Values},
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
static RUNNER_UP_8: &dyn Form = &RunnerUpPng(IndexPng(IndexDepth::Bits8));
static RUNNER_UP_16: &dyn Form = &RunnerUpPng(IndexPng(IndexDepth::Bits16));
/// All forms but the wide one of the runner-up, whose encoding is that of the narrow one.
static FORMS: [&dyn Form; 11] = [
    INDEX_PNG_8,
    INDEX_PNG_16,
    &CocoRle,
    &Polygons,
    &Raw,
    &ScoreMapForm,
    &ValuePng(Values::Scores),
    &RawValues(Values::Scores),
    RUNNER_UP_8,
    &ValuePng(Values::Margins),
    &RawValues(Values::Margins),
];

/// The form of an encoding for a vocabulary of so many categories. The depth of `INDEX_PNG` and
/// `RUNNER_UP_PNG` follows from the vocabulary, not from the picture: callers see the same one every time.
pub(super) fn form_of(encoding: MaskEncoding, categories: usize) -> &'static dyn Form {
    let wide = categories > MOST_IN_8_BITS;
    match encoding {
        MaskEncoding::IndexPng if wide => INDEX_PNG_16,
        MaskEncoding::RunnerUpPng if wide => RUNNER_UP_16,
        _ => FORMS.into_iter().find(|form| form.encoding() == encoding).unwrap_or(INDEX_PNG_8),
    }
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

/// Reports whether the answer is made of score, runner-up or margin of every pixel.
pub(in crate::service) fn need_sureness(options: &ValidatedOptions) -> bool {
    options.report_ambiguities
        || options.overlay.is_some_and(|overlay| overlay.fade_unsure)
        || options.mask_encodings.iter().any(|encoding| form_of(*encoding, 0).needs_sureness())
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

/// Returns the least bytes that the masks of so many pixels have in an answer.
pub(in crate::service) fn least_content(pixels: u64, options: &ValidatedOptions) -> u64 {
    // The number of categories only decides between forms that have no least.
    options.mask_encodings.iter().map(|encoding| form_of(*encoding, 0).least_content(pixels)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::{OverlayOptions, tests::usual};

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
        for (categories, unlabelled) in [(255, 255), (256, 65_535)] {
            let form = form_of(MaskEncoding::RunnerUpPng, categories);
            assert_eq!(form.encoding(), MaskEncoding::RunnerUpPng);
            assert_eq!(form.unlabelled_index(), unlabelled);
            assert!(form.most_categories() >= categories);
        }
    }

    #[test]
    fn only_pngs_are_compressed() {
        let compressed = |encoding: MaskEncoding| {
            is_compressed(&v1::Mask { encoding: encoding.into(), ..Default::default() })
        };
        let named: Vec<_> = FORMS.iter().map(|form| form.encoding()).filter(|of| compressed(*of)).collect();
        let pngs = [
            MaskEncoding::IndexPng8,
            MaskEncoding::IndexPng16,
            MaskEncoding::ScorePng,
            MaskEncoding::RunnerUpPng,
            MaskEncoding::MarginPng,
        ];
        assert_eq!(named, pngs);
    }

    #[test]
    fn runs_are_paid_for_where_a_form_or_regions_are_made_of_them() {
        let map = IndexMap::new(3, 2, vec![1, 1, 2, 1, 3, 2]).unwrap();
        let options = ValidatedOptions { min_area: 5, ..usual() };
        assert_eq!(bytes_of_runs(&map, &usual(), &Settings::default()), 0);
        assert_eq!(bytes_of_runs(&map, &options, &Settings::default()), 5 * REGION_RUN);
    }

    #[test]
    fn sureness_is_asked_for_where_something_is_made_of_it() {
        let with = |encoding: MaskEncoding| ValidatedOptions { mask_encodings: vec![encoding], ..usual() };
        let needing: Vec<_> = published().filter(|encoding| need_sureness(&with(*encoding))).collect();
        let planes = [
            MaskEncoding::ScorePng,
            MaskEncoding::ScoreRaw,
            MaskEncoding::RunnerUpPng,
            MaskEncoding::MarginPng,
            MaskEncoding::MarginRaw,
        ];
        assert_eq!(needing, planes);
        let painted = |fade_unsure| {
            let overlay = OverlayOptions { opacity: None, legend: true, labels: true, fade_unsure };
            ValidatedOptions { overlay: Some(overlay), ..usual() }
        };
        assert!(need_sureness(&painted(true)) && !need_sureness(&painted(false)));
        assert!(need_sureness(&ValidatedOptions { report_ambiguities: true, ..usual() }));
        assert!(!need_sureness(&usual()));
    }

    #[test]
    fn raw_masks_have_a_least_size() {
        let least = |mask_encodings| least_content(10, &ValidatedOptions { mask_encodings, ..usual() });
        assert_eq!(least(vec![MaskEncoding::ScoreRaw, MaskEncoding::MarginRaw]), 40);
        assert_eq!(least(vec![MaskEncoding::Raw, MaskEncoding::ScoreRaw]), 30);
        assert_eq!(least(vec![MaskEncoding::IndexPng, MaskEncoding::ScorePng, MaskEncoding::RunnerUpPng]), 0);
    }
}
