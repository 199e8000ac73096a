//! Encoded bytes to RGB pixels, within limits that are checked before anything is decoded.
//!
//! The format is told from the content. The colour conversion is the one of the reference's reader
//! (Pillow's `convert("RGB")`): alpha is dropped, not blended; palettes are expanded; 16-bit colour keeps
//! its high byte; 16-bit grey is clipped to 255. Embedded colour profiles are ignored, as there.

mod colour;
mod orientation;
mod tiff_guard;
mod webp_guard;

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::{ImageDecoder, ImageReader};

pub use orientation::Orientation;

use crate::error::{ImageError, Result};
use crate::rgb::{RgbImage, check_size};

/// What an image may cost, published by the server and checked before decoding.
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

/// The encodings that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ImageFormat {
    /// JPEG, baseline and progressive.
    Jpeg,
    /// PNG; of an animation the default picture.
    Png,
    /// WebP, lossy and lossless; of an animation the first frame.
    WebP,
    /// GIF; the first frame.
    Gif,
    /// Windows bitmap.
    Bmp,
    /// TIFF; the first picture.
    Tiff,
}

impl ImageFormat {
    /// Every format, for the server's description of itself.
    pub const ALL: [Self; 6] = [Self::Jpeg, Self::Png, Self::WebP, Self::Gif, Self::Bmp, Self::Tiff];

    /// The IANA media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
            Self::Bmp => "image/bmp",
            Self::Tiff => "image/tiff",
        }
    }

    /// Tells the format from the first bytes of the content.
    ///
    /// # Errors
    /// [`ImageError::Empty`], [`ImageError::UnknownFormat`].
    pub fn of_content(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Err(ImageError::Empty);
        }
        match image::guess_format(bytes) {
            Ok(image::ImageFormat::Jpeg) => Ok(Self::Jpeg),
            Ok(image::ImageFormat::Png) => Ok(Self::Png),
            Ok(image::ImageFormat::WebP) => Ok(Self::WebP),
            Ok(image::ImageFormat::Gif) => Ok(Self::Gif),
            Ok(image::ImageFormat::Bmp) => Ok(Self::Bmp),
            Ok(image::ImageFormat::Tiff) => Ok(Self::Tiff),
            _ => Err(ImageError::UnknownFormat),
        }
    }

    fn as_codec(self) -> image::ImageFormat {
        match self {
            Self::Jpeg => image::ImageFormat::Jpeg,
            Self::Png => image::ImageFormat::Png,
            Self::WebP => image::ImageFormat::WebP,
            Self::Gif => image::ImageFormat::Gif,
            Self::Bmp => image::ImageFormat::Bmp,
            Self::Tiff => image::ImageFormat::Tiff,
        }
    }
}

impl std::fmt::Display for ImageFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.media_type().trim_start_matches("image/"))
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
/// # Errors
/// [`ImageError::Empty`], [`ImageError::TooManyBytes`], [`ImageError::UnknownFormat`],
/// [`ImageError::SideTooLong`], [`ImageError::TooManyPixels`], [`ImageError::TooMuchMemory`] (all from the
/// header, before decoding), [`ImageError::UnsupportedVariant`], [`ImageError::Malformed`].
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Decoded> {
    if bytes.len() as u64 > limits.max_encoded_bytes {
        let actual = bytes.len() as u64;
        return Err(ImageError::TooManyBytes { actual, limit: limits.max_encoded_bytes });
    }
    let format = ImageFormat::of_content(bytes)?;
    match format {
        ImageFormat::Tiff => tiff_guard::check(bytes)?,
        ImageFormat::WebP => webp_guard::check(bytes)?,
        // Its decoder checks its memory first; the size says better what is wrong.
        ImageFormat::Png => check_png_size(bytes, limits)?,
        _ => {}
    }
    // Fuzzing made a decoder panic on damaged input (a PNG palette shorter than one colour). The input is at
    // fault there, and nothing of the decoder's state outlives the call.
    catch_unwind(AssertUnwindSafe(|| decode_as(format, bytes, limits))).unwrap_or_else(|_panic| {
        Err(ImageError::Malformed { format, reason: "the decoder could not go on".to_owned() })
    })
}

fn decode_as(format: ImageFormat, bytes: &[u8], limits: &DecodeLimits) -> Result<Decoded> {
    let translate = |error| translate(format, limits, error);

    let mut codec_limits = image::Limits::no_limits();
    codec_limits.max_alloc = Some(limits.max_alloc_bytes);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format.as_codec());
    reader.limits(codec_limits);
    let mut decoder = reader.into_decoder().map_err(translate)?;

    let (width, height) = decoder.dimensions();
    limits.check_size(width, height)?;
    let layout = colour::Layout::of(format, decoder.color_type(), decoder.original_color_type())?;
    let decoded_bytes = decoder.total_bytes();
    let rgb_bytes = u64::from(width) * u64::from(height) * 3;
    // Two pictures live at once: the decoder's and the RGB one, or the latter and its turned copy.
    if decoded_bytes.max(rgb_bytes).saturating_add(rgb_bytes) > limits.max_alloc_bytes {
        return Err(ImageError::TooMuchMemory { format, limit: limits.max_alloc_bytes });
    }
    // A damaged EXIF block costs the orientation, not the picture.
    let orientation = decoder.orientation().map_or(Orientation::Upright, Orientation::from);

    // In bounds: decoded_bytes is below max_alloc_bytes, and a buffer that the machine could not hold
    // would fail here as any allocation does.
    let mut buffer = vec![0u8; decoded_bytes as usize];
    decoder.read_image(&mut buffer).map_err(translate)?;
    let image = RgbImage::new(width, height, layout.into_rgb(buffer))?;
    Ok(Decoded { image: orientation.apply(image), format, orientation })
}

/// Checks the size in the header chunk, which is the first; what is not there the decoder will miss.
fn check_png_size(bytes: &[u8], limits: &DecodeLimits) -> Result<()> {
    let side = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    match (side(16), side(20)) {
        (Some(width), Some(height)) => limits.check_size(width, height),
        _ => Ok(()),
    }
}

fn translate(format: ImageFormat, limits: &DecodeLimits, error: image::ImageError) -> ImageError {
    use image::error::LimitErrorKind;
    match error {
        image::ImageError::Limits(limit) => match limit.kind() {
            LimitErrorKind::InsufficientMemory => {
                ImageError::TooMuchMemory { format, limit: limits.max_alloc_bytes }
            }
            _ => ImageError::Malformed { format, reason: limit.to_string() },
        },
        image::ImageError::Unsupported(what) => {
            ImageError::UnsupportedVariant { format, what: one_line(&what.to_string()) }
        }
        other => ImageError::Malformed { format, reason: one_line(&other.to_string()) },
    }
}

/// The decoder's words in one line of bounded length: some decoders quote the input.
fn one_line(text: &str) -> String {
    const MOST: usize = 200;
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST).collect();
    if text.chars().count() > MOST {
        line.push('…');
    }
    line
}
