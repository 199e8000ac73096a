//! Pixels out of each format, by the decoder that suits it.

mod jpeg;
mod png;
mod wrapped;

use super::colour::Layout;
use super::header::ImageHeader;
use super::{DecodeLimits, ImageFormat, Orientation, message};
use crate::error::{ImageError, Result};

/// Pixels as a decoder lays them out.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) layout: Layout,
    pub(super) buffer: Vec<u8>,
    pub(super) orientation: Orientation,
}

/// Decodes a picture whose header was checked.
///
/// # Errors
/// [`ImageError::UnsupportedVariant`], [`ImageError::Malformed`], among them one for a size that is not the
/// header's.
pub(super) fn read(header: &ImageHeader, bytes: &[u8], limits: &DecodeLimits) -> Result<Stored> {
    let stored = match header.format {
        ImageFormat::Jpeg => jpeg::read(bytes),
        ImageFormat::Png => png::read(bytes, limits),
        _ => wrapped::read(header, bytes, limits),
    }?;
    check_size(header, stored.width, stored.height)?;
    Ok(stored)
}

/// Compares the decoder's size with the header's, for which the memory was counted.
fn check_size(header: &ImageHeader, width: u32, height: u32) -> Result<()> {
    if (width, height) == (header.width, header.height) {
        return Ok(());
    }
    let reason = format!("it names two sizes, {}x{} and {width}x{height}", header.width, header.height);
    Err(ImageError::Malformed { format: header.format, reason })
}

/// The orientation of an EXIF block. A damaged block costs the orientation, not the picture.
fn orientation(exif: Option<&[u8]>) -> Orientation {
    exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
}

/// The error of a decoder that could not go on.
fn malformed(format: ImageFormat, error: &(dyn std::error::Error + 'static)) -> ImageError {
    ImageError::Malformed { format, reason: message::cause(error) }
}
