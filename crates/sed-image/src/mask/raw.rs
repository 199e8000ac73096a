//! Raw indices: no header, row-major, for callers that know the size.

use super::IndexMap;
#[cfg(any(test, feature = "test-util"))]
use crate::error::{ImageError, Result};

/// Two bytes a pixel, little endian, H × W; 65535 is unlabelled.
pub fn encode_u16(map: &IndexMap) -> Vec<u8> {
    let mut bytes = vec![0u8; map.indices().len() * 2];
    for (to, index) in bytes.chunks_exact_mut(2).zip(map.indices()) {
        to.copy_from_slice(&index.to_le_bytes());
    }
    bytes
}

/// Reads what [`encode_u16`] wrote, for tests.
///
/// # Errors
/// [`ImageError::MalformedMask`] for an odd number of bytes; [`ImageError::MapLength`],
/// [`ImageError::ZeroSize`], [`ImageError::TooManyPixels`].
#[cfg(any(test, feature = "test-util"))]
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
        fn raw_maps_survive(map in maps(65_535)) {
            prop_assert_eq!(&decode_u16(map.width(), map.height(), &encode_u16(&map))?, &map);
        }
    }

    #[test]
    fn wrong_lengths_are_refused() {
        assert_eq!(decode_u16(1, 1, &[1]).unwrap_err().reason(), "MASK_MALFORMED");
        assert_eq!(decode_u16(1, 1, &[1, 2, 3, 4]).unwrap_err().reason(), "MASK_LENGTH");
    }
}
