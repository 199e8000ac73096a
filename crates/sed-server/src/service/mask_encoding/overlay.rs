//! The overlay: the picture with its regions tinted and labelled, as a PNG.

use sed_engine::Vocabulary;
use sed_image::{ImageError, OverlayCategory, RgbImage};

use super::{form::Source, own_fault};
use crate::{request_error::RequestError, validate::OverlayOptions};

/// Longer side of an overlay without its legend, in pixels.
pub(in crate::service) const OVERLAY_SIDE: u32 = 2048;

/// Scales a picture down to the size of its overlay. It is held while the device works, so it should not be
/// larger.
pub(in crate::service) fn picture_for_overlay(picture: RgbImage) -> Result<RgbImage, ImageError> {
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

/// Draws the overlay. `pixels` are those of each category of the vocabulary in the map.
pub(super) fn png(
    picture: &RgbImage,
    source: &Source<'_>,
    vocabulary: &Vocabulary,
    pixels: &[u64],
    look: OverlayOptions,
) -> Result<Vec<u8>, RequestError> {
    let categories: Vec<_> = vocabulary
        .categories()
        .iter()
        .zip(pixels)
        .map(|(category, &pixels)| OverlayCategory { name: &category.name, pixels })
        .collect();
    let margins = || source.planes()?.margins.to_grey().map_err(|error| own_fault(&error));
    let margins = look.fade_unsure.then(margins).transpose()?;
    let usual = sed_image::OverlayOptions::default();
    let options = sed_image::OverlayOptions {
        tint: look.opacity.unwrap_or(usual.tint),
        max_side: OVERLAY_SIDE,
        legend: look.legend,
        labels: look.labels,
        margins: margins.as_ref(),
        ..usual
    };
    sed_image::overlay_png(picture, source.map, &categories, &options).map_err(|error| own_fault(&error))
}
