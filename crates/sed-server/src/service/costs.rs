//! Memory that a request's pictures and masks will take, computed before they are made.

use sed_engine::Vocabulary;
use sed_image::{IndexMap, ResizeMode, resize::shortest_edge_size};
use sed_proto::v1::MaskEncoding;

use crate::{
    limits::Limits,
    mask_encoding::{MOST_IN_8_BITS, OVERLAY_SIDE},
    request_error::RequestError,
    validate::{ImageSource, OutputSize, ValidatedOptions},
};

/// Bytes of one value of the network's input, times its channels.
const INPUT_PIXEL: u64 = 3 * 4;
/// Bytes of an index.
const INDEX: u64 = 2;
/// Bytes of a run of equal indices while regions are found, with the growth of its lists.
const REGION_RUN: u64 = 64;
/// Bytes of a run while it is written as COCO's text, with the growth of its lists.
const RLE_RUN: u64 = 48;
/// Bytes of a corner of a polygon in all forms that it takes, with the growth of its lists.
const CORNER: u64 = 64;
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
    image: &ImageSource,
    options: &ValidatedOptions,
    (side, map_side): (usize, usize),
    limits: &Limits,
) -> Result<PictureCost, RequestError> {
    let (width, height, decoding) = match image {
        ImageSource::Encoded(bytes) => {
            let header = sed_image::probe(bytes, &limits.image);
            let header = header.map_err(|error| RequestError::image("image.encoded", &error))?;
            (header.width, header.height, header.decode_bytes)
        }
        ImageSource::Raw { width, height, .. } => {
            (*width, *height, 3 * u64::from(*width) * u64::from(*height))
        }
        ImageSource::Id(_) => (0, 0, 0),
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
    let mask_size = match options.output_size {
        OutputSize::Original => (width, height),
        OutputSize::Model => (map_side as u32, map_side as u32),
        OutputSize::Exact { width, height } => (width, height),
    };
    let decoding = decoding + input + resizing + for_overlay;
    Ok(PictureCost { decoding, decoded: input + for_overlay, mask_size })
}

/// The result of a request as the engine returns it: the index map, and the scores if they are asked for.
pub(super) fn of_result(
    (width, height): (u32, u32),
    options: &ValidatedOptions,
    vocabulary: &Vocabulary,
    map_side: usize,
) -> u64 {
    let map = u64::from(width) * u64::from(height) * INDEX;
    let scores = options.mask_encodings.contains(&MaskEncoding::ScoreMaps);
    // The score maps, and their copy in the answer, which grows by doubling.
    let each = (map_side * map_side) as u64 * 4 * 4;
    map + if scores { vocabulary.size() as u64 * each } else { 0 }
}

/// Returns the bytes that the masks of a size take whatever they show, and the overlay.
pub(crate) fn of_forms(
    (width, height): (u32, u32),
    options: &ValidatedOptions,
    vocabulary: &Vocabulary,
) -> u64 {
    let pixels = u64::from(width) * u64::from(height);
    let of_encoding = |encoding: &MaskEncoding| match encoding {
        // Rows with their filters, and a file that does not shrink, which grows by doubling.
        MaskEncoding::IndexPng8 => 4 * pixels,
        MaskEncoding::IndexPng if vocabulary.size() <= MOST_IN_8_BITS => 4 * pixels,
        MaskEncoding::IndexPng | MaskEncoding::IndexPng16 => 4 * INDEX * pixels,
        MaskEncoding::Raw => INDEX * pixels,
        MaskEncoding::Polygons => pixels / 8,
        // Made of runs, or paid for with the result.
        MaskEncoding::CocoRle | MaskEncoding::ScoreMaps | MaskEncoding::Unspecified => 0,
    };
    let overlay = match options.overlay {
        None => 0,
        // The legend beside the picture is no larger than the picture.
        Some(_) => 2 * OVERLAY_PIXEL * pixels.min(u64::from(OVERLAY_SIDE).pow(2)),
    };
    options.mask_encodings.iter().map(of_encoding).sum::<u64>() + overlay
}

/// Returns the bytes that the masks of `map` take for its runs.
pub(crate) fn of_runs(map: &IndexMap, options: &ValidatedOptions, limits: &Limits) -> u64 {
    let runs = Runs::of(map, options);
    let regions = if options.min_area > 1 { runs.along_rows * REGION_RUN } else { 0 };
    let of_encoding = |encoding: &MaskEncoding| match encoding {
        MaskEncoding::CocoRle => runs.along_columns * RLE_RUN,
        MaskEncoding::Polygons => {
            let corners = 2 * (runs.along_rows + runs.along_columns);
            corners.min(limits.polygon_points as u64) * CORNER
        }
        _ => 0,
    };
    regions + options.mask_encodings.iter().map(of_encoding).sum::<u64>()
}

/// Runs of equal indices in a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Runs {
    along_rows: u64,
    along_columns: u64,
}

impl Runs {
    /// Counted only where a form of the masks is made of runs.
    fn of(map: &IndexMap, options: &ValidatedOptions) -> Self {
        let made_of_runs =
            |form: &MaskEncoding| matches!(form, MaskEncoding::CocoRle | MaskEncoding::Polygons);
        if options.min_area <= 1 && !options.mask_encodings.iter().any(made_of_runs) {
            return Self::default();
        }
        let width = map.width() as usize;
        let rows = map.indices().chunks_exact(width.max(1));
        let changes = |row: &[u16]| row.windows(2).filter(|pair| pair[0] != pair[1]).count() as u64;
        let along_rows = rows.clone().map(changes).sum::<u64>() + u64::from(map.height());
        let between = rows.clone().zip(rows.skip(1));
        let differ = |(upper, lower): (&[u16], &[u16])| {
            upper.iter().zip(lower).filter(|(one, other)| one != other).count() as u64
        };
        let along_columns = between.map(differ).sum::<u64>() + u64::from(map.width());
        Self { along_rows, along_columns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        crate::validate_segment(&request, &Limits::default(), &reader).unwrap().options
    }

    #[test]
    fn runs_are_counted_in_both_directions() {
        let map = IndexMap::new(3, 2, vec![1, 1, 2, 1, 3, 2]).unwrap();
        let options = ValidatedOptions { min_area: 5, ..usual() };
        assert_eq!(Runs::of(&map, &options), Runs { along_rows: 5, along_columns: 4 });
        assert_eq!(Runs::of(&map, &usual()), Runs::default());
        assert_eq!(of_runs(&map, &usual(), &Limits::default()), 0);
        assert_eq!(of_runs(&map, &options, &Limits::default()), 5 * REGION_RUN);
    }
}
