//! PNG by the png crate. Text and colour profiles, compressed or not, are passed over unread.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, DecodingError, Limits, Transformations};

use super::{Stored, malformed, orientation};
use crate::decode::{DecodeLimits, ImageFormat::Png, colour::Layout};
use crate::error::{ImageError, Result};

/// Decodes the default picture, palettes and less than 8 bits expanded.
pub(super) fn read(bytes: &[u8], limits: &DecodeLimits) -> Result<Stored> {
    let most = usize::try_from(limits.max_alloc_bytes).unwrap_or(usize::MAX);
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: most });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(translate)?;
    let (colour, depth) = reader.output_color_type();
    let info = reader.info();
    let (width, height) = info.size();
    let orientation = orientation(info.exif_metadata.as_deref());
    let grey = info.color_type == ColorType::Grayscale;
    let channels = match colour {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb | ColorType::Indexed => 3, // palettes are expanded
        ColorType::Rgba => 4,
    };
    let wide = depth == BitDepth::Sixteen;
    let layout = match (wide, grey) {
        (false, _) => Layout::Bits8 { channels },
        (true, false) => Layout::Bits16 { channels },
        (true, true) => Layout::ClippedGrey16 { channels },
    };
    let length = reader.output_buffer_size().unwrap_or(usize::MAX);
    let expected = (width as usize) * (height as usize) * channels * if wide { 2 } else { 1 };
    if length != expected {
        let reason = format!("its rows have {length} bytes instead of {expected}");
        return Err(ImageError::Malformed { format: Png, reason });
    }
    let mut buffer = vec![0u8; length];
    reader.next_frame(&mut buffer).map_err(translate)?;
    if wide {
        for sample in buffer.as_chunks_mut::<2>().0 {
            *sample = u16::from_be_bytes(*sample).to_ne_bytes();
        }
    }
    Ok(Stored { width, height, layout, buffer, orientation })
}

fn translate(error: DecodingError) -> ImageError {
    match error {
        DecodingError::IoError(error) => malformed(Png, &error),
        other => malformed(Png, &other),
    }
}
