//! Memory that a request's pictures and masks will take, computed before they are made.

use sed_engine::Vocabulary;
use sed_image::{ResizeMode, resize::shortest_edge_size};

use super::mask_encoding::{self, OVERLAY_SIDE};
use crate::{
    config::Settings,
    request_error::RequestError,
    validate::{SentImage, ValidatedOptions},
};

/// Bytes of one value of the network's input, times its channels.
const INPUT_PIXEL: u64 = 3 * 4;
/// Bytes of an index.
const INDEX: u64 = 2;
/// Bytes of score, runner-up and margin of a pixel.
const SURENESS: u64 = 3 * 2;
/// Bytes of a pixel of the overlay: the picture, its tinted and labelled copies, and the PNG file.
const OVERLAY_PIXEL: u64 = 24;

/// Bytes that a picture takes: while it is decoded and resized, and as the network's input afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PictureCost {
    pub(super) decoding: u64,
    pub(super) decoded: u64,
    /// Width and height of its masks. An EXIF orientation may swap them.
    pub(super) mask_size: (u32, u32),
}

/// The cost of an image for a network with inputs of `side` pixels and maps of `map_side`. Only its header is
/// read.
pub(super) fn of_picture(
    image: &SentImage,
    options: &ValidatedOptions,
    (side, map_side): (usize, usize),
    limits: &Settings,
) -> Result<PictureCost, RequestError> {
    let (width, height, decoding) = match image {
        SentImage::Encoded(bytes) => {
            let header = sed_image::probe(bytes, &limits.image_limits());
            let header = header.map_err(|error| RequestError::image(image.field(), &error))?;
            (header.width, header.height, header.decode_bytes)
        }
        SentImage::Raw { width, height, .. } => (*width, *height, 3 * u64::from(*width) * u64::from(*height)),
    };
    let input = (side * side) as u64 * INPUT_PIXEL;
    let resizing = match options.resize_mode {
        ResizeMode::Direct => 0,
        ResizeMode::TwoStep => {
            let (to_width, to_height) = shortest_edge_size(width.max(1), height.max(1));
            3 * u64::from(to_width) * (u64::from(height) + u64::from(to_height))
        }
    };
    let for_overlay = match options.overlay {
        None => 0,
        Some(_) => {
            let most = u64::from(OVERLAY_SIDE).pow(2);
            3 * most.min(u64::from(width) * u64::from(height))
                + 3 * u64::from(OVERLAY_SIDE.min(width)) * u64::from(height)
        }
    };
    let mask_size = options.output_size.of_masks((width, height), map_side as u32);
    let decoding = decoding + input + resizing + for_overlay;
    Ok(PictureCost { decoding, decoded: input + for_overlay, mask_size })
}

/// The masks of a size, their overlay, and the engine's result of which they are made.
pub(super) fn of_masks(
    size: (u32, u32),
    options: &ValidatedOptions,
    vocabulary: &Vocabulary,
    map_side: usize,
) -> u64 {
    of_result(size, options, vocabulary, map_side) + of_forms(size, options, vocabulary)
}

/// The result of a request as the engine returns it: the index map, and beside it whatever is asked for.
fn of_result(
    (width, height): (u32, u32),
    options: &ValidatedOptions,
    vocabulary: &Vocabulary,
    map_side: usize,
) -> u64 {
    let pixels = u64::from(width) * u64::from(height);
    let sureness = if mask_encoding::need_sureness(options) { pixels * SURENESS } else { 0 };
    // The score maps, and their copy in the answer, which grows by doubling.
    let each = (map_side * map_side) as u64 * 4 * 4;
    let scores = if mask_encoding::need_scores(options) { vocabulary.pairs() as u64 * each } else { 0 };
    pixels * INDEX + sureness + scores
}

/// Returns the bytes that the masks of a size take whatever they show, and the overlay.
fn of_forms((width, height): (u32, u32), options: &ValidatedOptions, vocabulary: &Vocabulary) -> u64 {
    let pixels = u64::from(width) * u64::from(height);
    let overlay = match options.overlay {
        None => 0,
        Some(look) => {
            let painted = pixels.min(u64::from(OVERLAY_SIDE).pow(2));
            // The margins in 8 bits, and once more at the overlay's size.
            let margins = if look.fade_unsure { pixels + painted } else { 0 };
            // The legend beside the picture is no larger than the picture.
            2 * OVERLAY_PIXEL * painted + margins
        }
    };
    mask_encoding::bytes_of_size(pixels, options, vocabulary) + overlay
}

#[cfg(test)]
mod tests {
    use sed_engine::{Category, VocabularyLimits, fake::FakeReader};
    use sed_proto::v1::MaskEncoding;

    use super::*;
    use crate::validate::{OverlayOptions, tests::usual};

    const SIZE: (u32, u32) = (20, 10);
    const PIXELS: u64 = 200;

    fn vocabulary(categories: usize) -> Vocabulary {
        let categories = (0..categories).map(|index| Category::new(format!("thing {index}"))).collect();
        Vocabulary::new(categories, &VocabularyLimits::default(), &FakeReader).unwrap()
    }

    fn asking(mask_encodings: &[MaskEncoding]) -> ValidatedOptions {
        ValidatedOptions { mask_encodings: mask_encodings.to_vec(), ..usual() }
    }

    #[test]
    fn sureness_is_paid_for_once_however_much_is_made_of_it() {
        let result = |options: &ValidatedOptions| of_result(SIZE, options, &vocabulary(3), 8);
        assert_eq!(result(&usual()), 2 * PIXELS);
        let all = [
            MaskEncoding::ScorePng,
            MaskEncoding::ScoreRaw,
            MaskEncoding::RunnerUpPng,
            MaskEncoding::MarginPng,
            MaskEncoding::MarginRaw,
        ];
        for some in all.map(|one| asking(&[one])).into_iter().chain([asking(&all)]) {
            assert_eq!(result(&some), (2 + 6) * PIXELS, "{:?}", some.mask_encodings);
        }
        assert_eq!(result(&ValidatedOptions { report_ambiguities: true, ..usual() }), (2 + 6) * PIXELS);
    }

    #[test]
    fn each_mask_is_paid_for_by_its_size() {
        let forms = |encodings: &[MaskEncoding], categories| {
            of_forms(SIZE, &asking(encodings), &vocabulary(categories))
        };
        assert_eq!(forms(&[MaskEncoding::ScoreRaw, MaskEncoding::MarginRaw], 3), 4 * PIXELS);
        assert_eq!(forms(&[MaskEncoding::ScorePng, MaskEncoding::MarginPng], 3), 8 * PIXELS);
        assert_eq!(forms(&[MaskEncoding::RunnerUpPng], 255), 4 * PIXELS);
        assert_eq!(forms(&[MaskEncoding::RunnerUpPng], 256), 8 * PIXELS);
    }

    #[test]
    fn a_faded_overlay_is_paid_for_with_its_margins() {
        let painted = |fade_unsure| {
            let overlay = OverlayOptions { opacity: None, legend: true, labels: true, fade_unsure };
            let options = ValidatedOptions { overlay: Some(overlay), ..usual() };
            of_masks(SIZE, &options, &vocabulary(3), 8)
        };
        assert_eq!(painted(true) - painted(false), (6 + 2) * PIXELS);
    }
}
