//! JPEG by zune-jpeg, strict about coded pixels: what cannot be read is an error, not grey.

use zune_jpeg::{
    JpegDecoder,
    errors::DecodeErrors,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use super::{Stored, malformed, orientation};
use crate::decode::{ImageFormat::Jpeg, colour::Layout, header::jpeg::Walk};
use crate::error::{ImageError, Result};

/// Decodes a file, after its metadata were left out: they are not needed, and the decoder copies them.
pub(super) fn read(bytes: &[u8]) -> Result<Stored> {
    let walk = Walk::new(bytes)?;
    let content = walk.without_metadata();
    let options = DecoderOptions::default().set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(content.as_slice()), options);
    decoder.decode_headers().map_err(translate)?;
    let (colours, channels) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (ColorSpace::Luma, 1),
        _ => (ColorSpace::RGB, 3),
    };
    decoder.set_options(options.set_strict_mode(true).jpeg_set_out_colorspace(colours));
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let mut buffer = vec![0u8; width * height * channels];
    decoder.decode_into(&mut buffer).map_err(translate)?;
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX); // the format's sides have 16 bits
    let (width, height) = (side(width), side(height));
    let layout = Layout::Bits8 { channels };
    Ok(Stored { width, height, layout, buffer, orientation: orientation(walk.exif) })
}

fn translate(error: DecodeErrors) -> ImageError {
    match error {
        DecodeErrors::Unsupported(scheme) => {
            ImageError::UnsupportedVariant { format: Jpeg, what: format!("{scheme:?}") }
        }
        DecodeErrors::ExhaustedData => {
            ImageError::Malformed { format: Jpeg, reason: crate::decode::CUT.to_owned() }
        }
        other => malformed(Jpeg, &other),
    }
}
