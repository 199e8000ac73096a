//! The header of a picture: its size, and the memory that decoding it takes.
//!
//! Headers are read here, before any decoder sees the file: a decoder makes room for whatever a header
//! claims. A claim that the file cannot hold, a file that ends before its picture does, and a picture that
//! breaks a limit are refused without an allocation of their size.

mod bmp;
mod bytes;
mod gif;
pub(super) mod jpeg;
mod png;
mod tiff;
mod webp;

use super::{DecodeLimits, ImageFormat};
use crate::error::{ImageError, Result};

/// Memory of a decoder that does not grow with the picture: code tables, windows, read buffers.
const FIXED_BYTES: u64 = 384 << 10;

/// The header of a picture, read without decoding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageHeader {
    /// Width in pixels as stored, before an EXIF orientation is applied.
    pub width: u32,
    /// Height in pixels as stored.
    pub height: u32,
    /// The format of the content.
    pub format: ImageFormat,
    /// Upper bound of the bytes that [`super::decode`] holds at once for this picture, beside the encoded
    /// bytes themselves: pixels at their stored depth, the RGB picture and its turned copy, the decoder's
    /// working memory, metadata.
    pub decode_bytes: u64,
}

/// Header facts that a format's reader finds.
#[derive(Debug, Clone, Copy)]
struct Facts {
    width: u32,
    height: u32,
    /// Bytes of a pixel in the decoder's output.
    pixel_bytes: u64,
    /// Bytes that the decoder holds beside its output.
    work_bytes: u64,
}

/// Reads the header of `bytes` and checks it against `limits`, in a time that grows at most with the number
/// of bytes. It allocates no more than a list of a JPEG's segments.
///
/// # Errors
/// [`ImageError::Empty`], [`ImageError::TooManyBytes`], [`ImageError::UnknownFormat`],
/// [`ImageError::ZeroSize`], [`ImageError::SideTooLong`], [`ImageError::TooManyPixels`],
/// [`ImageError::TooMuchMemory`], [`ImageError::UnsupportedVariant`], and [`ImageError::Malformed`] for a
/// header that cannot be read or a file that ends too early.
pub fn probe(bytes: &[u8], limits: &DecodeLimits) -> Result<ImageHeader> {
    let actual = bytes.len() as u64;
    if actual > limits.max_encoded_bytes {
        return Err(ImageError::TooManyBytes { actual, limit: limits.max_encoded_bytes });
    }
    let format = ImageFormat::of_content(bytes)?;
    let check_size = |width, height| limits.check_size(width, height);
    let facts = match format {
        ImageFormat::Jpeg => jpeg::facts(bytes, check_size),
        ImageFormat::Png => png::facts(bytes, check_size),
        ImageFormat::WebP => webp::facts(bytes, check_size),
        ImageFormat::Gif => gif::facts(bytes, check_size),
        ImageFormat::Bmp => bmp::facts(bytes, check_size),
        ImageFormat::Tiff => tiff::facts(bytes, check_size),
    }?;
    let decode_bytes = decode_bytes(&facts);
    if decode_bytes > limits.max_alloc_bytes {
        return Err(ImageError::TooMuchMemory {
            format,
            needed: decode_bytes,
            limit: limits.max_alloc_bytes,
        });
    }
    Ok(ImageHeader { width: facts.width, height: facts.height, format, decode_bytes })
}

/// The largest of the three steps of a decoding: decoder and its output, output and its RGB copy, RGB picture
/// and its turned copy.
fn decode_bytes(facts: &Facts) -> u64 {
    let pixels = u64::from(facts.width) * u64::from(facts.height);
    let decoded = pixels.saturating_mul(facts.pixel_bytes);
    let rgb = pixels.saturating_mul(3);
    let decoding = decoded.saturating_add(facts.work_bytes);
    let converting = decoded.saturating_add(rgb);
    let turning = rgb.saturating_mul(2);
    decoding.max(converting).max(turning).saturating_add(FIXED_BYTES)
}

fn malformed(format: ImageFormat, reason: impl Into<String>) -> ImageError {
    ImageError::Malformed { format, reason: reason.into() }
}

/// The error of a file that ends before its picture does.
fn cut(format: ImageFormat) -> ImageError {
    malformed(format, super::CUT)
}
