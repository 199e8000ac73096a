//! Pictures of measurements, as SVG or PNG.

mod axis;
mod categories;
mod chart;
mod percentiles;
mod sweep;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use plotters::{
    coord::Shift,
    prelude::{BitMapBackend, DrawingArea, DrawingBackend, IntoDrawingArea, SVGBackend},
    style::{FontStyle, register_font},
};
use sed_image::{FONT_REGULAR, FONT_SEMI_BOLD, RgbImage, encode_png};

pub(crate) use categories::categories;
pub(crate) use percentiles::percentiles;
pub(crate) use sweep::sweep;

/// Size of a picture in units; a PNG has two pixels for each.
const SIZE: (u32, u32) = (960, 600);
const PIXELS_PER_UNIT: u32 = 2;
/// The font family of all text, in PNG files and for the viewer of an SVG file.
const FONT: &str = "sans-serif";

/// Parses the file of `--plot`.
pub(crate) fn file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match format(&path) {
        Some(_) => Ok(path),
        None => Err("expected a file that ends in .svg or .png".to_owned()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Svg,
    Png,
}

fn format(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()?.to_lowercase().as_str() {
        "svg" => Some(Format::Svg),
        "png" => Some(Format::Png),
        _ => None,
    }
}

/// Something that can be drawn on either kind of picture.
trait Drawing {
    /// Draws on `area`, at `scale` pixels for a unit.
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: f64) -> Result<()>
    where
        B::ErrorType: 'static;
}

/// Draws to a file, in the format that its ending says.
fn write(path: &Path, drawing: &impl Drawing) -> Result<()> {
    let content = match format(path) {
        Some(Format::Png) => png(drawing)?,
        _ => svg(drawing)?.into_bytes(),
    };
    std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

fn svg(drawing: &impl Drawing) -> Result<String> {
    register_fonts()?;
    let mut text = String::new();
    drawing.draw(&SVGBackend::with_string(&mut text, SIZE).into_drawing_area(), 1.0)?;
    Ok(text)
}

fn png(drawing: &impl Drawing) -> Result<Vec<u8>> {
    register_fonts()?;
    let (width, height) = (SIZE.0 * PIXELS_PER_UNIT, SIZE.1 * PIXELS_PER_UNIT);
    let mut pixels = vec![0; (width * height * 3) as usize];
    let backend = BitMapBackend::with_buffer(&mut pixels, (width, height));
    drawing.draw(&backend.into_drawing_area(), PIXELS_PER_UNIT.into())?;
    Ok(encode_png(&RgbImage::new(width, height, pixels)?)?)
}

/// The fonts are the program's own, so that none of the system's are needed.
fn register_fonts() -> Result<()> {
    let fonts = [(FontStyle::Normal, FONT_REGULAR), (FontStyle::Bold, FONT_SEMI_BOLD)];
    for (style, font) in fonts {
        register_font(FONT, style, font).map_err(|_| anyhow!("the embedded font cannot be read"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_end_in_what_can_be_drawn() {
        assert!(file("a.svg").is_ok() && file("b.PNG").is_ok());
        assert!(file("a.pdf").is_err() && file("svg").is_err());
    }
}
