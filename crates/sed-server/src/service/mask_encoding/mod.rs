//! The engine's index map as the answer's masks, statistics and overlay. Runs on the CPU pool.
//!
//! Each encoding is a [`form::Form`] in a file of its own; [`table::FORMS`] lists them.

mod coco_rle;
mod form;
mod index_png;
mod overlay;
mod polygons;
mod raw;
mod runs;
mod score_maps;
mod table;

use std::sync::Arc;

use sed_engine::{FinishedMap, Vocabulary};
use sed_image::{
    ImageError, RgbImage,
    mask::{self, CategoryStats, IndexMap},
};
use sed_proto::v1::{self, ErrorReason};

use self::{
    form::Source,
    table::{bytes_of_runs, form_of},
};
pub(super) use self::{
    overlay::{OVERLAY_SIDE, picture_for_overlay},
    table::{bytes_of_size, check_encodings, is_compressed, need_scores, published},
};
use super::refusal::Refusal;
use crate::{
    config::Settings, field::Field, memory::Charge, request_error::RequestError, validate::ValidatedOptions,
};

/// A finished map, and the options and limits of its encoding.
#[derive(Debug)]
pub(super) struct MaskJob {
    pub(super) map: FinishedMap,
    pub(super) vocabulary: Vocabulary,
    pub(super) options: ValidatedOptions,
    /// The upright picture, if an overlay is wanted.
    pub(super) picture: Option<RgbImage>,
    pub(super) limits: Arc<Settings>,
    /// Pays for the picture and the map, and for what is made of them.
    pub(super) charge: Charge,
}

/// The parts of the answer that come from the map.
#[derive(Debug)]
pub(super) struct EncodedMasks {
    pub(super) charge: Charge,
    pub(super) masks: Vec<v1::Mask>,
    pub(super) categories: Vec<v1::CategoryResult>,
    pub(super) unlabelled_pixels: u64,
    pub(super) overlay_png: Vec<u8>,
}

/// Encodes everything that was asked for.
pub(super) fn encode(job: MaskJob) -> Result<EncodedMasks, Refusal> {
    let MaskJob { map, vocabulary, options, picture, limits, mut charge } = job;
    let FinishedMap { width, height, indices, mean_scores, score_maps, .. } = map;
    let mut index_map = IndexMap::new(width, height, indices).map_err(|error| own_fault(&error))?;
    let cost = bytes_of_runs(&index_map, &options, &limits);
    charge.try_grow(cost).map_err(|shortage| shortage.into_status(cost))?;
    if options.min_area > 1 {
        mask::remove_small_regions(&mut index_map, u64::from(options.min_area));
    }

    // A vocabulary never has more categories than an index map can hold.
    let stats =
        mask::category_stats(&index_map, vocabulary.size() as u16).map_err(|error| own_fault(&error))?;
    let area = u64::from(width) * u64::from(height);
    let labelled: u64 = stats.iter().map(|stats| stats.pixels).sum();

    let source =
        Source { map: &index_map, score_maps: score_maps.as_ref(), options: &options, limits: &limits };
    let masks = options
        .mask_encodings
        .iter()
        .map(|encoding| form_of(*encoding, vocabulary.size()).mask(&source))
        .collect::<Result<_, RequestError>>()?;
    let overlay_png = match (options.overlay, picture) {
        (Some(look), Some(picture)) => overlay::png(&picture, &index_map, &vocabulary, look)?,
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

fn own_fault(error: &ImageError) -> RequestError {
    RequestError::new(ErrorReason::Internal, Field::Options, error.to_string())
}
