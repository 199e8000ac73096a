//! Values of 0 to 1 for every pixel in 8 bits, and their PNG.

use super::check_map_size;
#[cfg(any(test, feature = "test-util"))]
use super::png::{Channel, read_channel};
use crate::{
    error::{ImageError, Result},
    png_out::write_png,
};

/// A value for every pixel: 0 to 1 as 0 to 255.
#[derive(Clone, PartialEq, Eq)]
pub struct GreyMap {
    width: u32,
    height: u32,
    values: Vec<u8>,
}

impl GreyMap {
    /// Wraps `values` (H × W, row-major).
    ///
    /// # Errors
    /// As [`super::IndexMap::new`].
    pub fn new(width: u32, height: u32, values: Vec<u8>) -> Result<Self> {
        let expected = check_map_size(width, height, u64::from(u32::MAX))?;
        let actual = values.len() as u64;
        if actual != expected {
            return Err(ImageError::MapLength { width, height, expected, actual });
        }
        Ok(Self { width, height, values })
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The values, H × W, row-major.
    pub fn values(&self) -> &[u8] {
        &self.values
    }
}

impl std::fmt::Debug for GreyMap {
    // The values would drown a log line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GreyMap({}x{})", self.width, self.height)
    }
}

/// Encodes `map` as 8-bit grey PNG.
///
/// # Errors
/// [`ImageError::Encode`], which means a defect here: every map can be encoded.
pub fn encode(map: &GreyMap) -> Result<Vec<u8>> {
    let mut info = png::Info::with_size(map.width, map.height);
    (info.color_type, info.bit_depth) = (png::ColorType::Grayscale, png::BitDepth::Eight);
    // Interpolated values change evenly, so that the differences to the row above are small and few.
    write_png(info, png::Filter::Up, &map.values)
}

/// Reads an 8-bit grey PNG, for tests.
///
/// # Errors
/// [`ImageError::MalformedMask`] for other kinds of PNG and for damaged ones; [`ImageError::ZeroSize`],
/// [`ImageError::TooManyPixels`] for more than `max_pixels`.
#[cfg(any(test, feature = "test-util"))]
pub fn decode(bytes: &[u8], max_pixels: u64) -> Result<GreyMap> {
    match read_channel(bytes, max_pixels, "grey png")? {
        (width, height, Channel::Grey8(values)) => GreyMap::new(width, height, values),
        _ => {
            let reason = "it is not grey of 8 bits".to_owned();
            Err(ImageError::MalformedMask { encoding: "grey png", reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mask::{IndexMap, png as index_png};

    proptest! {
        #[test]
        fn maps_survive(
            map in (1u32..24, 1u32..24).prop_flat_map(|(width, height)| {
                proptest::collection::vec(any::<u8>(), (width * height) as usize)
                    .prop_map(move |values| GreyMap::new(width, height, values).unwrap())
            })
        ) {
            let bytes = encode(&map)?;
            prop_assert_eq!(&decode(&bytes, 1000)?, &map);
            // Any other reader sees the values, too.
            let picture = image::load_from_memory(&bytes).unwrap();
            prop_assert_eq!(picture.color(), image::ColorType::L8);
            prop_assert_eq!(picture.as_bytes(), map.values());
        }
    }

    #[test]
    fn wrong_sizes_and_pngs_are_refused() {
        assert_eq!(GreyMap::new(2, 2, vec![0; 3]).unwrap_err().reason(), "MASK_LENGTH");
        assert_eq!(GreyMap::new(2, 0, vec![]).unwrap_err().reason(), "IMAGE_ZERO_SIZE");
        let map = GreyMap::new(3, 1, vec![0, 128, 255]).unwrap();
        let bytes = encode(&map).unwrap();
        assert_eq!(decode(&bytes, 2).unwrap_err().reason(), "IMAGE_TOO_MANY_PIXELS");
        assert_eq!(decode(&bytes[..bytes.len() / 2], 3).unwrap_err().reason(), "MASK_MALFORMED");
        let indices = IndexMap::new(3, 1, vec![0, 1, 2]).unwrap();
        for depth in [index_png::IndexDepth::Bits8, index_png::IndexDepth::Bits16] {
            let bytes = index_png::encode(&indices, depth).unwrap();
            assert_eq!(decode(&bytes, 3).unwrap_err().reason(), "MASK_MALFORMED");
        }
    }
}
