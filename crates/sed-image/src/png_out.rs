//! Pictures as PNG.

use crate::error::{ImageError, Result};
use crate::rgb::RgbImage;

/// Encodes a picture as 8-bit RGB PNG, fast rather than small.
///
/// # Errors
/// [`ImageError::Encode`], which means a defect here: every picture can be encoded.
pub fn encode_png(image: &RgbImage) -> Result<Vec<u8>> {
    let mut info = png::Info::with_size(image.width(), image.height());
    (info.color_type, info.bit_depth) = (png::ColorType::Rgb, png::BitDepth::Eight);
    // One filter that suits pictures; trying all of them a row costs more time than it saves bytes.
    write_png(info, png::Filter::Paeth, image.pixels())
}

/// Writes a PNG of one frame with the fast compressor.
pub(crate) fn write_png(info: png::Info<'_>, filter: png::Filter, pixels: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let write = || -> Result<(), png::EncodingError> {
        let mut encoder = png::Encoder::with_info(&mut bytes, info)?;
        encoder.set_compression(png::Compression::Fast);
        encoder.set_filter(filter);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(pixels)?;
        writer.finish()
    };
    write().map_err(|error| ImageError::Encode { reason: error.to_string() })?;
    Ok(bytes)
}
