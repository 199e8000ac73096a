//! The engine's index map as the answer's masks, statistics and overlay. Runs on the CPU pool.

use sed_engine::{FinishedMap, ScoreMaps, Vocabulary};
use sed_image::{
    ImageError, RgbImage,
    mask::{self, CategoryStats, IndexMap, png::IndexDepth, polygon::PolygonOptions},
};
use sed_proto::v1::{self, ErrorReason, MaskEncoding};

use crate::{
    limits::Limits,
    memory::Charge,
    request_error::RequestError,
    service::{costs, refusal::Refusal},
    validate::{OverlayOptions, ValidatedOptions},
};

/// Categories that an 8-bit index PNG holds beside its unlabelled index.
pub(crate) const MOST_IN_8_BITS: usize = 255;
const UNLABELLED_8: u32 = 255;
const UNLABELLED_16: u32 = 65_535;

/// A finished map, and the options and limits of its encoding.
#[derive(Debug)]
pub(crate) struct MaskJob {
    pub(crate) map: FinishedMap,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) options: ValidatedOptions,
    /// The upright picture, if an overlay is wanted.
    pub(crate) picture: Option<RgbImage>,
    pub(crate) limits: Limits,
    /// Pays for the picture and the map, and for what is made of them.
    pub(crate) charge: Charge,
}

/// The parts of the answer that come from the map.
#[derive(Debug)]
pub(crate) struct EncodedMasks {
    pub(crate) charge: Charge,
    pub(crate) masks: Vec<v1::Mask>,
    pub(crate) categories: Vec<v1::CategoryResult>,
    pub(crate) unlabelled_pixels: u64,
    pub(crate) overlay_png: Vec<u8>,
}

/// Refuses encodings that cannot hold a vocabulary.
pub(crate) fn check_encodings(
    options: &ValidatedOptions,
    vocabulary: &Vocabulary,
) -> Result<(), RequestError> {
    let narrow = options.mask_encodings.iter().position(|encoding| *encoding == MaskEncoding::IndexPng8);
    match narrow {
        Some(index) if vocabulary.size() > MOST_IN_8_BITS => {
            let field = format!("options.mask_encodings[{index}]");
            let message = format!("8 bits hold {MOST_IN_8_BITS} categories; ask for INDEX_PNG_16");
            Err(RequestError::option(field, message).with_limit(MOST_IN_8_BITS as u64))
        }
        _ => Ok(()),
    }
}

/// Encodes everything that was asked for.
pub(crate) fn encode(job: MaskJob) -> Result<EncodedMasks, Refusal> {
    let MaskJob { map, vocabulary, options, picture, limits, mut charge } = job;
    let FinishedMap { width, height, indices, mean_scores, score_maps, .. } = map;
    let mut index_map = IndexMap::new(width, height, indices).map_err(|error| own_fault(&error))?;
    let cost = costs::of_runs(&index_map, &options, &limits);
    charge.try_grow(cost).map_err(|shortage| shortage.into_status(cost))?;
    if options.min_area > 1 {
        mask::remove_small_regions(&mut index_map, u64::from(options.min_area));
    }

    // A vocabulary never has more categories than an index map can hold.
    let stats =
        mask::category_stats(&index_map, vocabulary.size() as u16).map_err(|error| own_fault(&error))?;
    let area = u64::from(width) * u64::from(height);
    let labelled: u64 = stats.iter().map(|stats| stats.pixels).sum();

    let masks = options
        .mask_encodings
        .iter()
        .map(|encoding| {
            encode_one(*encoding, &index_map, score_maps.as_ref(), &vocabulary, &options, &limits)
        })
        .collect::<Result<_, RequestError>>()?;
    let overlay_png = match (options.overlay, picture) {
        (Some(look), Some(picture)) => overlay(&picture, &index_map, &vocabulary, look)?,
        _ => Vec::new(),
    };
    Ok(EncodedMasks {
        charge,
        masks,
        categories: category_results(&vocabulary, &stats, &mean_scores, area),
        unlabelled_pixels: area - labelled,
        overlay_png,
    })
}

fn encode_one(
    encoding: MaskEncoding,
    map: &IndexMap,
    score_maps: Option<&ScoreMaps>,
    vocabulary: &Vocabulary,
    options: &ValidatedOptions,
    limits: &Limits,
) -> Result<v1::Mask, RequestError> {
    use v1::mask::Content;
    // The depth follows from the vocabulary, not from the picture: callers see the same one every time.
    let encoding = match encoding {
        MaskEncoding::IndexPng if vocabulary.size() <= MOST_IN_8_BITS => MaskEncoding::IndexPng8,
        MaskEncoding::IndexPng => MaskEncoding::IndexPng16,
        other => other,
    };
    let png = |depth| mask::png::encode(map, depth).map_err(|error| own_fault(&error));
    let content = match encoding {
        MaskEncoding::IndexPng8 => Content::IndexPng(png(IndexDepth::Bits8)?.into()),
        MaskEncoding::IndexPng16 => Content::IndexPng(png(IndexDepth::Bits16)?.into()),
        MaskEncoding::CocoRle => Content::Rle(rle(map)),
        MaskEncoding::Polygons => Content::Polygons(polygons(map, options, limits)?),
        MaskEncoding::Raw => Content::RawIndices(mask::raw::encode_u16(map).into()),
        MaskEncoding::ScoreMaps => Content::ScoreMaps(scores(score_maps)?),
        MaskEncoding::Unspecified | MaskEncoding::IndexPng => {
            return Err(RequestError::new(
                ErrorReason::Internal,
                "options.mask_encodings",
                "was not resolved",
            ));
        }
    };
    let unlabelled_index = if encoding == MaskEncoding::IndexPng8 { UNLABELLED_8 } else { UNLABELLED_16 };
    Ok(v1::Mask { encoding: encoding.into(), unlabelled_index, content: Some(content) })
}

fn rle(map: &IndexMap) -> v1::RleMasks {
    let mask = |found: mask::rle::CategoryRle| v1::RleMask {
        category_index: found.category.into(),
        counts: found.rle.to_compressed().into(),
    };
    v1::RleMasks { masks: mask::rle::encode(map).into_iter().map(mask).collect() }
}

fn polygons(
    map: &IndexMap,
    options: &ValidatedOptions,
    limits: &Limits,
) -> Result<v1::PolygonMasks, RequestError> {
    let wanted = PolygonOptions {
        tolerance: options.polygon_tolerance,
        min_pixels: u64::from(options.min_area),
        max_vertices: limits.polygon_points,
    };
    let found = mask::polygon::encode(map, &wanted).map_err(|error| match error {
        ImageError::TooManyVertices { limit } => {
            let message = "the polygons have too many points; set min_area, or ask for COCO_RLE";
            RequestError::new(ErrorReason::OutputTooLarge, "options.mask_encodings", message)
                .with_limit(limit as u64)
        }
        other => own_fault(&other),
    })?;
    let ring = |ring: Vec<[u32; 2]>| v1::Ring { coordinates: ring.into_iter().flatten().collect() };
    let polygon = |found: mask::polygon::Polygon| v1::Polygon {
        category_index: found.category.into(),
        pixels: found.pixels,
        exterior: Some(ring(found.outer)),
        holes: found.holes.into_iter().map(ring).collect(),
    };
    Ok(v1::PolygonMasks { polygons: found.into_iter().map(polygon).collect() })
}

fn scores(maps: Option<&ScoreMaps>) -> Result<v1::ScoreMaps, RequestError> {
    let Some(maps) = maps else {
        return Err(RequestError::new(
            ErrorReason::Internal,
            "options.mask_encodings",
            "the model gave no scores",
        ));
    };
    let bytes: Vec<u8> = maps.scores.iter().flat_map(|score| score.to_le_bytes()).collect();
    Ok(v1::ScoreMaps {
        width: maps.width,
        height: maps.height,
        category_indices: maps.categories.clone(),
        scores: bytes.into(),
    })
}

fn category_results(
    vocabulary: &Vocabulary,
    stats: &[CategoryStats],
    mean_scores: &[f32],
    area: u64,
) -> Vec<v1::CategoryResult> {
    let parts = vocabulary.categories().iter().zip(stats).zip(mean_scores);
    let result = |((category, stats), mean_score): ((&sed_engine::Category, &CategoryStats), &f32)| {
        v1::CategoryResult {
            index: stats.category.into(),
            name: category.name.clone(),
            pixels: stats.pixels,
            area_share: (stats.pixels as f64 / area as f64) as f32,
            // Where min_area took everything out, a mean would be the mean of nothing.
            mean_score: if stats.pixels == 0 { 0.0 } else { *mean_score },
            bounding_box: stats.bounds.map(|bounds| v1::BoundingBox {
                x: bounds.x,
                y: bounds.y,
                width: bounds.width,
                height: bounds.height,
            }),
        }
    };
    parts.map(result).collect()
}

/// Longer side of an overlay without its legend, in pixels.
pub(crate) const OVERLAY_SIDE: u32 = 2048;

/// Scales a picture down to the size of its overlay. It is held while the device works, so it should not be
/// larger.
pub(crate) fn picture_for_overlay(picture: RgbImage) -> Result<RgbImage, ImageError> {
    let (width, height) = (picture.width(), picture.height());
    let longer = width.max(height);
    if longer <= OVERLAY_SIDE {
        return Ok(picture);
    }
    let scaled = |side: u32| {
        let rounded = (u64::from(side) * u64::from(OVERLAY_SIDE) + u64::from(longer) / 2) / u64::from(longer);
        (rounded as u32).max(1)
    };
    sed_image::resize_antialiased(&picture, scaled(width), scaled(height))
}

fn overlay(
    picture: &RgbImage,
    map: &IndexMap,
    vocabulary: &Vocabulary,
    look: OverlayOptions,
) -> Result<Vec<u8>, RequestError> {
    let names: Vec<&str> = vocabulary.categories().iter().map(|category| category.name.as_str()).collect();
    let usual = sed_image::OverlayOptions::default();
    let options = sed_image::OverlayOptions {
        tint: look.opacity.unwrap_or(usual.tint),
        max_side: OVERLAY_SIDE,
        legend: look.legend,
        labels: look.labels,
        ..usual
    };
    sed_image::overlay_png(picture, map, &names, &options).map_err(|error| own_fault(&error))
}

fn own_fault(error: &ImageError) -> RequestError {
    RequestError::new(ErrorReason::Internal, "options", error.to_string())
}
