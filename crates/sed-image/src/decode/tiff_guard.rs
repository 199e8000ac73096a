//! A look at a TIFF's directory before the decoder reads it.
//!
//! The decoder makes room for as many values as a directory entry claims, some 70 bytes for each, before
//! its own limits can be set. Here a claim that the file cannot hold is refused, and so are more values
//! than any picture within the limits needs.

use super::ImageFormat;
use crate::error::{ImageError, Result};

/// Tags below this describe the picture and are read by the decoder; above are metadata, which are not.
const FIRST_METADATA_TAG: u64 = 512;

/// Most values of one describing tag: strips or tiles, or a colour map.
const MOST_VALUES: u64 = 1 << 18;

/// Checks the first directory of a classic or big TIFF. What cannot be read is left to the decoder.
///
/// # Errors
/// [`ImageError::Malformed`] for an entry that claims more than the file holds or than a picture needs.
pub(super) fn check(bytes: &[u8]) -> Result<()> {
    let little = bytes.starts_with(b"II");
    let number = |at: u64, length: usize| -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let field = bytes.get(at..at.checked_add(length)?)?;
        let join = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
        Some(if little { field.iter().rev().fold(0, join) } else { field.iter().fold(0, join) })
    };
    // Widths of the offset to the directory, of its length, of an entry, and of a count.
    let big = number(2, 2) == Some(43);
    let (offset_at, offset_bytes, length_bytes, entry_bytes, count_bytes) =
        if big { (8, 8, 8, 20, 8) } else { (4, 4, 2, 12, 4) };
    let Some(directory) = number(offset_at, offset_bytes) else { return Ok(()) };
    let Some(entries) = number(directory, length_bytes) else { return Ok(()) };
    // The decoder reads entries until the file ends; so does this.
    for entry in 0..entries.min(bytes.len() as u64 / entry_bytes) {
        // No overflow: the directory's length was read at `directory`, so it lies within the file.
        let at = directory + length_bytes as u64 + entry * entry_bytes;
        let (Some(tag), Some(kind), Some(count)) =
            (number(at, 2), number(at + 2, 2), number(at + 4, count_bytes))
        else {
            return Ok(());
        };
        let held = count.checked_mul(value_bytes(kind)).is_some_and(|length| length <= bytes.len() as u64);
        if !held || (tag < FIRST_METADATA_TAG && count > MOST_VALUES) {
            let reason = format!("tag {tag} claims {count} values");
            return Err(ImageError::Malformed { format: ImageFormat::Tiff, reason });
        }
    }
    Ok(())
}

/// Bytes of one value of a field type; 1 for unknown types.
fn value_bytes(kind: u64) -> u64 {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    /// A little-endian file of one directory entry.
    fn file(tag: u16, kind: u16, count: u32) -> Vec<u8> {
        let mut bytes = b"II*\0\x08\0\0\0\x01\0".to_vec();
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend([0; 400_000]);
        bytes
    }

    #[test]
    fn claims_beyond_the_file_or_the_need_are_refused() {
        assert!(check(&file(273, 4, 1000)).is_ok());
        assert!(check(&file(273, 4, 200_000)).is_err());
        assert!(check(&file(273, 1, 300_000)).is_err());
        assert!(check(&file(34_675, 7, 300_000)).is_ok());
        assert!(check(&file(34_675, 12, u32::MAX)).is_err());
        assert!(check(b"II*\0\xff\xff\xff\xff").is_ok());
        assert!(check(b"MM\0\x2b\0\x08\0\0\xff\xff\xff\xff\xff\xff\xff\xff").is_ok());
    }
}
