//! Encoded bytes to RGB pixels, within limits that are checked before anything is decoded.
//!
//! The format is detected from the content. The colour conversion is the one of the reference's reader
//! (Pillow's `convert("RGB")`): alpha is dropped, not blended; palettes are expanded; 16-bit colour keeps its
//! high byte; 16-bit grey is clipped to 255. Embedded colour profiles are ignored, as there.

mod codec;
mod colour;
mod foreign;
mod format;
mod header;
mod message;
mod orientation;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use header::{ImageHeader, probe};
pub use image::metadata::Orientation;

use crate::error::{ImageError, Result};
use crate::format::ImageFormat;
use crate::rgb::{RgbImage, check_size};

/// The reason of [`ImageError::Malformed`] for a broken upload.
const CUT: &str = "the file ends before its picture does";

/// Limits on an image, published by the server and checked before decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Most encoded bytes.
    pub max_encoded_bytes: u64,
    /// Most pixels (width × height).
    pub max_pixels: u64,
    /// Longest side, in pixels.
    pub max_side: u32,
    /// Most bytes of memory for one image's decoding, the decoded pixels included.
    pub max_alloc_bytes: u64,
}

impl Default for DecodeLimits {
    /// 32 MiB encoded, 64 megapixels, sides to 16384, 768 MiB of memory.
    fn default() -> Self {
        Self {
            max_encoded_bytes: 32 << 20,
            max_pixels: 64_000_000,
            max_side: 16_384,
            max_alloc_bytes: 768 << 20,
        }
    }
}

impl DecodeLimits {
    /// Checks the size of raw pixels, which need no decoding, against the same limits.
    ///
    /// # Errors
    /// [`ImageError::ZeroSize`], [`ImageError::SideTooLong`], [`ImageError::TooManyPixels`].
    pub fn check_size(&self, width: u32, height: u32) -> Result<()> {
        check_size(width, height, self.max_side, self.max_pixels)
    }
}

/// A decoded picture, upright.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The pixels, after [`Decoded::orientation`] was applied.
    pub image: RgbImage,
    /// The format that the content had.
    pub format: ImageFormat,
    /// The EXIF orientation that was applied.
    pub orientation: Orientation,
}

/// Decodes `bytes` to upright RGB pixels.
///
/// A file that ends before its last pixels is refused; what follows the picture in the file does not matter.
///
/// # Errors
/// Those of [`probe`], before anything is decoded; [`ImageError::UnsupportedVariant`],
/// [`ImageError::Malformed`].
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Decoded> {
    let header = probe(bytes, limits)?;
    // Fuzzing made a decoder panic on damaged input (a PNG palette shorter than one colour). The input is at
    // fault there, and nothing of the decoder's state outlives the call.
    let stored = catch_unwind(AssertUnwindSafe(|| codec::read(&header, bytes, limits)));
    let stored = stored.unwrap_or_else(|_panic| {
        Err(ImageError::Malformed { format: header.format, reason: "the decoder could not go on".to_owned() })
    })?;
    let rgb = stored.layout.into_rgb(stored.buffer);
    let image = RgbImage::new(stored.width, stored.height, rgb)?;
    let orientation = stored.orientation;
    Ok(Decoded { image: orientation::upright(image, orientation), format: header.format, orientation })
}
