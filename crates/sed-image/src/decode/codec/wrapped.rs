//! WebP, GIF, BMP and TIFF by the image crate.

use std::io::Cursor;

use image::{ImageDecoder, ImageReader, error::UnsupportedErrorKind};

use super::{Stored, check_size, malformed};
use crate::decode::{DecodeLimits, ImageFormat, Orientation, colour::Layout, header::ImageHeader, message};
use crate::error::{ImageError, Result};

/// Decodes the first frame.
pub(super) fn read(header: &ImageHeader, bytes: &[u8], limits: &DecodeLimits) -> Result<Stored> {
    let format = header.format;
    let translate = |error| translate(header, limits, error);
    let mut codec_limits = image::Limits::no_limits();
    codec_limits.max_alloc = Some(limits.max_alloc_bytes);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), codec(format));
    reader.limits(codec_limits);
    let mut decoder = reader.into_decoder().map_err(translate)?;
    let (width, height) = decoder.dimensions();
    check_size(header, width, height)?;
    let layout = Layout::of(format, decoder.color_type(), decoder.original_color_type())?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    // In bounds: the header's memory was counted for this size.
    let mut buffer = vec![0u8; decoder.total_bytes() as usize];
    decoder.read_image(&mut buffer).map_err(translate)?;
    Ok(Stored { width, height, layout, buffer, orientation })
}

fn codec(format: ImageFormat) -> image::ImageFormat {
    match format {
        ImageFormat::Jpeg => image::ImageFormat::Jpeg,
        ImageFormat::Png => image::ImageFormat::Png,
        ImageFormat::WebP => image::ImageFormat::WebP,
        ImageFormat::Gif => image::ImageFormat::Gif,
        ImageFormat::Bmp => image::ImageFormat::Bmp,
        ImageFormat::Tiff => image::ImageFormat::Tiff,
    }
}

fn translate(header: &ImageHeader, limits: &DecodeLimits, error: image::ImageError) -> ImageError {
    use image::error::LimitErrorKind::InsufficientMemory;
    let format = header.format;
    match error {
        image::ImageError::Limits(limit) if limit.kind() == InsufficientMemory => {
            ImageError::TooMuchMemory { format, needed: header.decode_bytes, limit: limits.max_alloc_bytes }
        }
        image::ImageError::Unsupported(unsupported) => {
            let what = match unsupported.kind() {
                UnsupportedErrorKind::Color(colour) => format!("{colour:?} pixels"),
                UnsupportedErrorKind::GenericFeature(feature) => message::one_line(&feature),
                _ => message::one_line(&unsupported.to_string()),
            };
            ImageError::UnsupportedVariant { format, what }
        }
        other => malformed(format, &other),
    }
}
