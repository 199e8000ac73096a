//! The engine's index map as the answer's masks, categories and overlay. Runs on the CPU pool.
//!
//! Each encoding is a [`form::Form`] in a file of its own; [`table::FORMS`] lists them.

mod coco_rle;
mod form;
mod index_png;
mod overlay;
mod planes;
mod polygons;
mod raw;
mod runner_up;
mod runs;
mod score_maps;
mod table;
mod values;

use std::sync::Arc;

use sed_engine::{Category, FinishedMap, Vocabulary};
use sed_image::{
    ImageError, RgbImage,
    mask::{self, IndexMap, PixelBox},
};
use sed_proto::v1::{self, ErrorReason};

use self::{
    form::Source,
    planes::Planes,
    table::{bytes_of_runs, form_of},
};
pub(super) use self::{
    overlay::{OVERLAY_SIDE, picture_for_overlay},
    table::{
        bytes_of_size, check_encodings, is_compressed, least_content, need_scores, need_sureness, published,
    },
};
use super::{
    ambiguities::{self, ambiguities},
    refusal::Refusal,
};
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

/// Fills in the parts of the answer that come from the map; the others are left empty. The charge pays for
/// them.
pub(super) fn encode(job: MaskJob) -> Result<(v1::SegmentResponse, Charge), Refusal> {
    let MaskJob { map, vocabulary, options, picture, limits, mut charge } = job;
    let FinishedMap { width, height, indices, pixels, mean_scores, score_maps, sureness } = map;
    let mut index_map = IndexMap::new(width, height, indices).map_err(|error| own_fault(&error))?;
    let planes = sureness.map(|sureness| Planes::new((width, height), sureness)).transpose();
    let planes = planes.map_err(|error| own_fault(&error))?;
    let area = u64::from(width) * u64::from(height);
    let reported = planes.as_ref().filter(|_| options.report_ambiguities);
    // As the model decided: min_area is a matter of taste, not of doubt.
    let found = reported.map_or_else(Vec::new, |planes| {
        let planes = ambiguities::Planes {
            indices: index_map.indices(),
            runner_up: planes.runner_up.indices(),
            scores: &planes.scores.values,
            margins: &planes.margins.values,
        };
        ambiguities(planes, vocabulary.size())
    });
    let cost = bytes_of_runs(&index_map, &options, &limits);
    charge.try_grow(cost).map_err(|shortage| shortage.into_status(cost))?;
    // The model has counted the pixels, so only those that leave the map are counted here.
    let mut pixels: Vec<u64> = pixels.into_iter().map(u64::from).collect();
    let lost = mask::remove_small_regions(&mut index_map, u64::from(options.min_area));
    pixels.iter_mut().zip(lost).for_each(|(pixels, lost)| *pixels -= lost);

    // A vocabulary never has more categories than an index map can hold.
    let boxes =
        mask::category_boxes(&index_map, vocabulary.size() as u16).map_err(|error| own_fault(&error))?;

    let source = Source {
        map: &index_map,
        score_maps: score_maps.as_ref(),
        planes: planes.as_ref(),
        options: &options,
        limits: &limits,
    };
    let masks = options
        .mask_encodings
        .iter()
        .map(|encoding| form_of(*encoding, vocabulary.size()).mask(&source))
        .collect::<Result<_, RequestError>>()?;
    let overlay_png = match (options.overlay, picture) {
        (Some(look), Some(picture)) => overlay::png(&picture, &source, &vocabulary, &pixels, look)?,
        _ => Vec::new(),
    };
    let answer = v1::SegmentResponse {
        mask_size: Some(v1::Size { width, height }),
        masks,
        categories: category_results(&vocabulary, area, &pixels, &mean_scores, &boxes),
        unlabelled_pixels: area - pixels.iter().sum::<u64>(),
        overlay_png: overlay_png.into(),
        ambiguities: ambiguities::report(&found, area),
        ..Default::default()
    };
    Ok((answer, charge))
}

/// The results of the categories of a map of `area` pixels. The engine has checked that its lists have an
/// entry for each category.
fn category_results(
    vocabulary: &Vocabulary,
    area: u64,
    pixels: &[u64],
    mean_scores: &[f32],
    boxes: &[Option<PixelBox>],
) -> Vec<v1::CategoryResult> {
    let result = |(index, category): (usize, &Category)| v1::CategoryResult {
        index: index as u32,
        name: category.name.clone(),
        pixels: pixels[index],
        area_share: (pixels[index] as f64 / area as f64) as f32,
        // Where min_area took everything out, a mean would be the mean of nothing.
        mean_score: if pixels[index] == 0 { 0.0 } else { mean_scores[index] },
        bounding_box: boxes[index].map(|PixelBox { x, y, width, height }| v1::BoundingBox {
            x,
            y,
            width,
            height,
        }),
    };
    vocabulary.categories().iter().enumerate().map(result).collect()
}

fn own_fault(error: &ImageError) -> RequestError {
    RequestError::new(ErrorReason::Internal, Field::Options, error.to_string())
}
