//! Raw indices: no header, row-major, for callers that know the size.

use super::{IndexMap, UNLABELLED, check_categories};
use crate::error::{ImageError, Result};

/// One byte a pixel, H × W; 255 is unlabelled.
///
/// # Errors
/// [`ImageError::CategoryOutOfRange`] for a category above 254.
pub fn encode_u8(map: &IndexMap) -> Result<Vec<u8>> {
    check_categories(map, 254, "raw 8-bit", "ask for raw 16-bit")?;
    // UNLABELLED's low byte is 255 already.
    Ok(map.indices().iter().map(|&index| index as u8).collect())
}

/// Two bytes a pixel, little endian, H × W; 65535 is unlabelled.
pub fn encode_u16(map: &IndexMap) -> Vec<u8> {
    let mut bytes = vec![0u8; map.indices().len() * 2];
    for (to, index) in bytes.chunks_exact_mut(2).zip(map.indices()) {
        to.copy_from_slice(&index.to_le_bytes());
    }
    bytes
}

/// Reads what [`encode_u8`] wrote.
///
/// # Errors
/// [`ImageError::MapLength`], [`ImageError::ZeroSize`], [`ImageError::TooManyPixels`].
pub fn decode_u8(width: u32, height: u32, bytes: &[u8]) -> Result<IndexMap> {
    let indices = bytes.iter().map(|&byte| if byte == 255 { UNLABELLED } else { u16::from(byte) }).collect();
    IndexMap::new(width, height, indices)
}

/// Reads what [`encode_u16`] wrote.
///
/// # Errors
/// [`ImageError::MalformedMask`] for an odd number of bytes; [`ImageError::MapLength`],
/// [`ImageError::ZeroSize`], [`ImageError::TooManyPixels`].
pub fn decode_u16(width: u32, height: u32, bytes: &[u8]) -> Result<IndexMap> {
    if !bytes.len().is_multiple_of(2) {
        let reason = format!("{} bytes are no whole number of 16-bit indices", bytes.len());
        return Err(ImageError::MalformedMask { encoding: "raw 16-bit", reason });
    }
    let indices = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    IndexMap::new(width, height, indices)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mask::tests::maps;

    proptest! {
        #[test]
        fn raw_maps_survive(map in maps(255), wide in maps(65_535)) {
            prop_assert_eq!(&decode_u8(map.width(), map.height(), &encode_u8(&map)?)?, &map);
            prop_assert_eq!(&decode_u16(wide.width(), wide.height(), &encode_u16(&wide))?, &wide);
        }
    }

    #[test]
    fn category_255_does_not_fit_8_bits() {
        let map = IndexMap::new(1, 1, vec![255]).unwrap();
        assert_eq!(encode_u8(&map).unwrap_err().reason(), "MASK_CATEGORY_OUT_OF_RANGE");
        assert_eq!(decode_u16(1, 1, &[1]).unwrap_err().reason(), "MASK_MALFORMED");
        assert_eq!(decode_u16(1, 1, &[1, 2, 3, 4]).unwrap_err().reason(), "MASK_LENGTH");
    }
}
