//! Index maps as PNG: a palette image of one byte a pixel, or 16-bit grey.

use std::io::Cursor;

use super::{IndexMap, UNLABELLED, check_map_size, palette};
use crate::error::{ImageError, Result};
use crate::png_out::write_png;

/// The bit depth of the indices in a PNG.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IndexDepth {
    /// Palette image; categories 0 to 254, unlabelled is 255 (transparent black in the palette).
    Bits8,
    /// 16-bit grey; categories 0 to 65534, unlabelled is 65535.
    Bits16,
}

/// Index of an unlabelled pixel in an 8-bit PNG.
const UNLABELLED_8: u8 = u8::MAX;

/// Regions are taller than one row, so the difference to the row above is nearly all zeros, of which the fast
/// compressor makes long runs.
const FILTER: png::Filter = png::Filter::Up;

/// Encodes `map` as PNG.
///
/// # Errors
/// [`ImageError::CategoryOutOfRange`] for a category above 254 at [`IndexDepth::Bits8`].
pub fn encode(map: &IndexMap, depth: IndexDepth) -> Result<Vec<u8>> {
    match depth {
        IndexDepth::Bits8 => encode_8(map),
        IndexDepth::Bits16 => encode_16(map),
    }
}

fn encode_8(map: &IndexMap) -> Result<Vec<u8>> {
    let most = u16::from(UNLABELLED_8) - 1;
    if let Some(category) = map.max_category().filter(|&category| category > most) {
        let (context, advice) = ("an 8-bit index png", "ask for the 16-bit one");
        return Err(ImageError::CategoryOutOfRange { category, context, most, advice });
    }
    // UNLABELLED's low byte is UNLABELLED_8.
    let pixels: Vec<u8> = map.indices().iter().map(|&index| index as u8).collect();
    let mut colours: Vec<u8> = (0..255).flat_map(palette::colour).collect();
    colours.extend([0, 0, 0]);
    let mut opacity = [255u8; 256];
    opacity[usize::from(UNLABELLED_8)] = 0;
    let mut info = png::Info::with_size(map.width(), map.height());
    (info.color_type, info.bit_depth) = (png::ColorType::Indexed, png::BitDepth::Eight);
    (info.palette, info.trns) = (Some(colours.into()), Some(opacity.to_vec().into()));
    write_png(info, FILTER, &pixels)
}

fn encode_16(map: &IndexMap) -> Result<Vec<u8>> {
    let mut pixels = vec![0u8; map.indices().len() * 2];
    for (to, index) in pixels.chunks_exact_mut(2).zip(map.indices()) {
        to.copy_from_slice(&index.to_be_bytes());
    }
    let mut info = png::Info::with_size(map.width(), map.height());
    (info.color_type, info.bit_depth) = (png::ColorType::Grayscale, png::BitDepth::Sixteen);
    write_png(info, FILTER, &pixels)
}

/// Reads an index PNG: a palette or grey image of 8 bits (255 is unlabelled) or 16-bit grey (65535 is).
///
/// # Errors
/// [`ImageError::MalformedMask`] for other kinds of PNG and for damaged ones; [`ImageError::ZeroSize`],
/// [`ImageError::TooManyPixels`] for more than `max_pixels`.
pub fn decode(bytes: &[u8], max_pixels: u64) -> Result<IndexMap> {
    let (width, height, channel) = read_channel(bytes, max_pixels, "index png")?;
    let indices = match channel {
        Channel::Palette(bytes) | Channel::Grey8(bytes) => {
            let wide = |&byte: &u8| if byte == UNLABELLED_8 { UNLABELLED } else { u16::from(byte) };
            bytes.iter().map(wide).collect()
        }
        Channel::Grey16(bytes) => {
            bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
        }
    };
    IndexMap::new(width, height, indices)
}

/// The values of a PNG with one channel, row by row.
pub(super) enum Channel {
    /// Places in a palette.
    Palette(Vec<u8>),
    Grey8(Vec<u8>),
    /// Two bytes each, big endian.
    Grey16(Vec<u8>),
}

/// Reads width, height and values of a PNG with one channel of 8 or 16 bits. `encoding` is its name in
/// errors.
///
/// # Errors
/// As [`decode`].
pub(super) fn read_channel(
    bytes: &[u8],
    max_pixels: u64,
    encoding: &'static str,
) -> Result<(u32, u32, Channel)> {
    let malformed = |reason: String| ImageError::MalformedMask { encoding, reason };
    let damaged = |error: png::DecodingError| malformed(error.to_string());
    let header = png::Decoder::new(Cursor::new(bytes)).read_header_info().map_err(damaged)?.size();
    let pixels = check_map_size(header.0, header.1, max_pixels)?;
    // Twice 16 bits a pixel and some for the tables.
    let limits = png::Limits { bytes: (pixels as usize).saturating_mul(4).saturating_add(1 << 20) };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(damaged)?;
    let (width, height) = reader.info().size();
    let (form, value_bytes): (fn(Vec<u8>) -> Channel, usize) = match reader.output_color_type() {
        (png::ColorType::Indexed, png::BitDepth::Eight) => (Channel::Palette, 1),
        (png::ColorType::Grayscale, png::BitDepth::Eight) => (Channel::Grey8, 1),
        (png::ColorType::Grayscale, png::BitDepth::Sixteen) => (Channel::Grey16, 2),
        (colour, depth) => {
            return Err(malformed(format!("{colour:?} of {depth:?} bits is not one value for each pixel")));
        }
    };
    let mut values = vec![0u8; pixels as usize * value_bytes];
    reader.next_frame(&mut values).map_err(damaged)?;
    Ok((width, height, form(values)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mask::tests::maps;

    proptest! {
        #[test]
        fn maps_survive(map in maps(255), wide in maps(65_535)) {
            for depth in [IndexDepth::Bits8, IndexDepth::Bits16] {
                prop_assert_eq!(&decode(&encode(&map, depth)?, 1000)?, &map);
            }
            prop_assert_eq!(&decode(&encode(&wide, IndexDepth::Bits16)?, 1000)?, &wide);
        }

        #[test]
        fn damage_is_an_error_or_a_map(map in maps(4), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut bytes = encode(&map, IndexDepth::Bits8)?;
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let _ = decode(&bytes, 1000);
            let _ = decode(&bytes[..at], 1000);
        }
    }

    #[test]
    fn wrong_pngs_and_sizes_are_refused() {
        let map = IndexMap::new(300, 1, (0..300).collect()).unwrap();
        assert_eq!(encode(&map, IndexDepth::Bits8).unwrap_err().reason(), "MASK_CATEGORY_OUT_OF_RANGE");
        let bytes = encode(&map, IndexDepth::Bits16).unwrap();
        assert_eq!(decode(&bytes, 299).unwrap_err().reason(), "IMAGE_TOO_MANY_PIXELS");
        assert_eq!(decode(b"not a png", 299).unwrap_err().reason(), "MASK_MALFORMED");
    }

    #[test]
    fn the_palette_tells_unlabelled_pixels_by_transparency() {
        let map = IndexMap::new(2, 1, vec![1, UNLABELLED]).unwrap();
        let bytes = encode(&map, IndexDepth::Bits8).unwrap();
        let mut reader = png::Decoder::new(Cursor::new(&bytes)).read_info().unwrap();
        let mut raw = vec![0; 2];
        reader.next_frame(&mut raw).unwrap();
        assert_eq!(raw, [1, 255]);
        let info = reader.info();
        let (colours, opacity) = (info.palette.as_ref().unwrap(), info.trns.as_ref().unwrap());
        assert_eq!(colours[3..6], palette::colour(1));
        assert_eq!((opacity[1], opacity[255]), (255, 0));
    }
}
