//! A picture of the result for a person: tinted regions with crisp borders, names on the larger ones, and
//! a legend with every category's share.

mod canvas;
mod labels;
mod layout;
mod legend;
mod text;
mod tint;

use std::borrow::Cow;

use crate::error::{ImageError, Result};
use crate::mask::{GreyMap, IndexMap, UNLABELLED};
use crate::png_out::encode_png;
use crate::resize::resize_antialiased;
use crate::rgb::RgbImage;

use canvas::Canvas;
pub use text::{FONT_REGULAR, FONT_SEMI_BOLD};

/// Options of an overlay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OverlayOptions<'a> {
    /// Strength of the regions' tint, 0 (none) to 1 (only the colour is left).
    pub tint: f32,
    /// Longest side of the picture within the overlay, in pixels; larger pictures are scaled down.
    pub max_side: u32,
    /// Draw the legend beside or below the picture.
    pub legend: bool,
    /// Write names onto the larger regions.
    pub labels: bool,
    /// Most categories that the legend lists one by one; the rest are summed up in one line.
    pub max_entries: usize,
    /// The margin between the best and the second best category of every pixel: the tint fades where it is
    /// below 0.1, evenly to none at 0. Borders stay. As the map, it is stretched over the picture.
    pub margins: Option<&'a GreyMap>,
}

impl Default for OverlayOptions<'_> {
    /// Half tinted, at most 2048 pixels, with labels and a legend of up to 20 categories, nothing faded.
    fn default() -> Self {
        Self { tint: 0.5, max_side: 2048, legend: true, labels: true, max_entries: 20, margins: None }
    }
}

/// A category of the vocabulary as an overlay shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverlayCategory<'a> {
    /// Its name.
    pub name: &'a str,
    /// Pixels of the map that have it; the legend's share, and the order of legend and labels. Not checked
    /// against the map.
    pub pixels: u64,
}

/// Shortest length of the picture's longer side: below it, text would outgrow the picture, which is
/// therefore enlarged.
const MIN_SIDE: u32 = 640;

/// Draws the overlay of `map` on `image`. `categories` is the whole vocabulary, by index. The map may have
/// another size than the picture; it is stretched over it.
///
/// # Errors
/// [`ImageError::CategoryOutOfRange`] when the map holds a category that `categories` lacks;
/// [`ImageError::Option`] for a tint outside 0 to 1 or a `max_side` outside 64 to 16384.
pub fn overlay(
    image: &RgbImage,
    map: &IndexMap,
    categories: &[OverlayCategory<'_>],
    options: &OverlayOptions<'_>,
) -> Result<RgbImage> {
    check_options(options)?;
    let entries = entries(map, categories)?;
    let (width, height) = shown_size(image.width(), image.height(), options.max_side);
    let shown = if (width, height) == (image.width(), image.height()) {
        Cow::Borrowed(image)
    } else {
        Cow::Owned(resize_antialiased(image, width, height)?)
    };
    let map = stretched(map, (width, height))?;
    let margins = options
        .margins
        .map(|margins| nearest(margins.values(), (margins.width(), margins.height()), (width, height)));
    let metrics = layout::Metrics::of(width, height);

    let mut picture = shown.into_owned().into_pixels();
    tint::tint(&mut picture, &map, margins.as_deref(), options.tint, metrics.border);
    let mut picture = Canvas::of(RgbImage::new(width, height, picture)?);
    if options.labels {
        labels::draw(&mut picture, &map, &entries, &metrics);
    }
    if !options.legend {
        return picture.into_image();
    }
    let legend = legend::Legend::new(&entries, options.max_entries, &metrics);
    legend.beside(picture).into_image()
}

/// As [`overlay`], encoded as PNG.
///
/// # Errors
/// As [`overlay`].
pub fn overlay_png(
    image: &RgbImage,
    map: &IndexMap,
    categories: &[OverlayCategory<'_>],
    options: &OverlayOptions<'_>,
) -> Result<Vec<u8>> {
    encode_png(&overlay(image, map, categories, options)?)
}

/// A category that the map shows.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    category: u16,
    name: String,
    /// Its share of the picture, 0 to 1.
    share: f64,
}

/// The categories with pixels, the largest first.
fn entries(map: &IndexMap, categories: &[OverlayCategory<'_>]) -> Result<Vec<Entry>> {
    map.check_categories(u16::try_from(categories.len()).unwrap_or(UNLABELLED))?;
    let total = map.indices().len() as f64;
    let mut entries: Vec<Entry> = (0..UNLABELLED)
        .zip(categories)
        .filter(|(_, category)| category.pixels > 0)
        .map(|(index, category)| Entry {
            category: index,
            name: text::printable(category.name),
            share: category.pixels as f64 / total,
        })
        .collect();
    // A stable sort: equal shares stay in the vocabulary's order.
    entries.sort_by(|a, b| b.share.total_cmp(&a.share));
    Ok(entries)
}

fn check_options(options: &OverlayOptions<'_>) -> Result<()> {
    if !(0.0..=1.0).contains(&options.tint) {
        let actual = options.tint.to_string();
        return Err(ImageError::Option { name: "tint", actual, expected: "it must be 0 to 1" });
    }
    if !(64..=16_384).contains(&options.max_side) {
        let actual = options.max_side.to_string();
        return Err(ImageError::Option {
            name: "max_side",
            actual,
            expected: "it must be 64 to 16384 pixels",
        });
    }
    Ok(())
}

/// The size at which the picture is shown.
fn shown_size(width: u32, height: u32, max_side: u32) -> (u32, u32) {
    let longest = width.max(height);
    let wanted = longest.clamp(MIN_SIDE.min(max_side), max_side);
    let scale = f64::from(wanted) / f64::from(longest);
    let scaled = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
    (scaled(width), scaled(height))
}

/// The map at another size, by the nearest pixel.
fn stretched(map: &IndexMap, (width, height): (u32, u32)) -> Result<Cow<'_, IndexMap>> {
    match nearest(map.indices(), (map.width(), map.height()), (width, height)) {
        Cow::Borrowed(_) => Ok(Cow::Borrowed(map)),
        Cow::Owned(indices) => IndexMap::new(width, height, indices).map(Cow::Owned),
    }
}

/// Values, H × W, at another size `(width, height)`, by the nearest pixel.
fn nearest<T: Copy>(values: &[T], from: (u32, u32), to: (u32, u32)) -> Cow<'_, [T]> {
    if from == to {
        return Cow::Borrowed(values);
    }
    let source = |at: u32, from: u32, to: u32| {
        ((u64::from(at) * 2 + 1) * u64::from(from) / (u64::from(to) * 2)) as usize
    };
    let columns: Vec<usize> = (0..to.0).map(|x| source(x, from.0, to.0)).collect();
    let mut stretched = Vec::with_capacity(to.0 as usize * to.1 as usize);
    for y in 0..to.1 {
        let row = &values[source(y, from.1, to.1) * from.0 as usize..][..from.0 as usize];
        stretched.extend(columns.iter().map(|&x| row[x]));
    }
    Cow::Owned(stretched)
}

#[cfg(test)]
mod tests;
