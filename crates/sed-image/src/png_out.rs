//! Pictures as PNG.

use crate::error::{ImageError, Result};
use crate::rgb::RgbImage;

/// Encodes a picture as 8-bit RGB PNG, fast rather than small.
///
/// # Errors
/// [`ImageError::Encode`], which means a defect here: every picture can be encoded.
pub fn encode_png(image: &RgbImage) -> Result<Vec<u8>> {
    let failed = |error: png::EncodingError| ImageError::Encode { reason: error.to_string() };
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, image.width(), image.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    // One filter that suits pictures; trying all of them a row costs more time than it saves bytes.
    encoder.set_compression(png::Compression::Fast);
    encoder.set_filter(png::Filter::Paeth);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(image.pixels()).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}
