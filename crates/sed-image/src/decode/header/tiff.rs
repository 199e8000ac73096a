//! TIFF: the first directory.
//!
//! The decoder makes room for as many values as a directory entry claims, some 70 bytes for each, before
//! its own limits can be set. Here a claim that the file cannot hold is refused, and so are more values
//! than any picture within the limits needs.

use super::{Facts, bytes::Numbers, cut, jpeg, malformed};
use crate::decode::ImageFormat::Tiff;
use crate::error::{ImageError, Result};

/// Tags below this describe the picture and are read by the decoder; above are metadata, which are not.
const FIRST_METADATA_TAG: u64 = 512;
/// Most values of one describing tag: strips or tiles, or a colour map.
const MOST_VALUES: u64 = 1 << 18;
/// Most entries of the directory; real ones have some dozens.
const MOST_ENTRIES: u64 = 4096;
/// Bytes that the decoder holds for a value that it reads, and for an entry.
const VALUE_BYTES: u64 = 96;

const COMPRESSION_NONE: u64 = 1;
const COMPRESSION_JPEG: u64 = 7;

/// A directory entry: where its values are.
#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: u64,
    value_bytes: usize,
    count: u64,
    at: u64,
}

/// The first directory of a file.
struct Directory<'a> {
    bytes: &'a [u8],
    numbers: Numbers<'a>,
    entries_at: u64,
    entries: u64,
    big: bool,
}

/// Reads the size, the layout of samples and how they are stored.
pub(super) fn facts(bytes: &[u8], check_size: impl Fn(u32, u32) -> Result<()>) -> Result<Facts> {
    let directory = Directory::open(bytes)?;
    let mut values = 0;
    for index in 0..directory.entries {
        values += directory.check(directory.entry(index)?)?;
    }
    let required = |tag: u64, name: &str| {
        directory.number(tag).ok_or_else(|| malformed(Tiff, format!("its directory has no {name}")))
    };
    let side = |tag, name| required(tag, name).map(|side| u32::try_from(side).unwrap_or(u32::MAX));
    let (width, height) = (side(256, "width")?, side(257, "height")?);
    check_size(width, height)?;
    let photometric = directory.number(262).unwrap_or(1);
    let bits = directory.number(258).unwrap_or(1);
    check_colours(&directory, photometric, bits)?;
    let samples = directory.number(277).unwrap_or(1).clamp(1, 64);
    let sample_bytes = bits.div_ceil(8).clamp(1, 8);
    let pixels = u64::from(width) * u64::from(height);
    let chunk_bytes = directory.check_chunks(width, height, samples * sample_bytes)?;
    // The decoder's own buffer, from which the output is copied, and one row.
    let row = u64::from(width) * samples * sample_bytes;
    let work_bytes = pixels * samples * sample_bytes + 2 * row + chunk_bytes + values * VALUE_BYTES;
    Ok(Facts { width, height, pixel_bytes: samples.min(4) * sample_bytes, work_bytes })
}

/// Refuses, in words of ours, colours and samples that the decoder does not know.
fn check_colours(directory: &Directory<'_>, photometric: u64, bits: u64) -> Result<()> {
    const UNSIGNED: u64 = 1;
    let what = match photometric {
        3 => "palette colours".to_owned(),
        4 => "a transparency mask".to_owned(),
        6 => "YCbCr colours".to_owned(),
        8..=10 => "Lab colours".to_owned(),
        32_803 | 34_892 => "raw sensor data".to_owned(),
        0..=2 | 5 if directory.number(339).unwrap_or(UNSIGNED) != UNSIGNED => {
            "signed or floating-point samples".to_owned()
        }
        0 | 1 if matches!(bits, 1 | 8 | 16) => return Ok(()),
        2 | 5 if matches!(bits, 8 | 16) => return Ok(()),
        0..=2 | 5 => format!("{bits} bits a sample"),
        other => format!("photometric interpretation {other}"),
    };
    Err(ImageError::UnsupportedVariant { format: Tiff, what })
}

impl<'a> Directory<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self> {
        let numbers = if bytes.starts_with(b"II") { Numbers::little(bytes) } else { Numbers::big(bytes) };
        let big = numbers.at(2, 2) == Some(43);
        let (offset_at, offset_bytes, length_bytes) = if big { (8, 8, 8) } else { (4, 4, 2) };
        let at = numbers.at(offset_at, offset_bytes).ok_or_else(|| cut(Tiff))?;
        let entries = numbers.at(at, length_bytes).ok_or_else(|| cut(Tiff))?;
        if entries > MOST_ENTRIES {
            return Err(malformed(Tiff, format!("its directory claims {entries} entries")));
        }
        // No overflow: the directory's length was read at `at`, so it lies within the file.
        Ok(Self { bytes, numbers, entries_at: at + length_bytes as u64, entries, big })
    }

    fn entry(&self, index: u64) -> Result<Entry> {
        let (entry_bytes, count_bytes) = if self.big { (20, 8) } else { (12, 4) };
        let at = self.entries_at + index * entry_bytes;
        let (Some(tag), Some(kind), Some(count), Some(offset)) = (
            self.numbers.at(at, 2),
            self.numbers.at(at + 2, 2),
            self.numbers.at(at + 4, count_bytes),
            self.numbers.at(at + 4 + count_bytes as u64, count_bytes),
        ) else {
            return Err(cut(Tiff));
        };
        let value_bytes = value_bytes(kind);
        let inline = count.saturating_mul(value_bytes as u64) <= count_bytes as u64;
        let at = if inline { at + 4 + count_bytes as u64 } else { offset };
        Ok(Entry { tag, value_bytes, count, at })
    }

    /// Checks a claim, and returns how many values the decoder will read for it.
    fn check(&self, entry: Entry) -> Result<u64> {
        let Entry { tag, value_bytes, count, at } = entry;
        let end = count.checked_mul(value_bytes as u64).and_then(|length| length.checked_add(at));
        let describing = tag < FIRST_METADATA_TAG;
        if end.is_none_or(|end| end > self.bytes.len() as u64) && describing {
            return Err(cut(Tiff));
        }
        if describing && count > MOST_VALUES {
            return Err(malformed(Tiff, format!("tag {tag} claims {count} values")));
        }
        Ok(if describing { count + 1 } else { 1 })
    }

    /// The last entry of a tag: the one that the decoder uses.
    fn find(&self, tag: u64) -> Option<Entry> {
        (0..self.entries).rev().filter_map(|index| self.entry(index).ok()).find(|entry| entry.tag == tag)
    }

    /// The first value of a tag.
    fn number(&self, tag: u64) -> Option<u64> {
        self.find(tag).and_then(|entry| self.value(entry, 0))
    }

    fn value(&self, entry: Entry, index: u64) -> Option<u64> {
        let offset = index.checked_mul(entry.value_bytes as u64)?;
        (index < entry.count).then(|| self.numbers.at(entry.at.checked_add(offset)?, entry.value_bytes))?
    }

    /// Checks that strips or tiles lie within the file, and what is inside them. Returns the memory that
    /// decoding one of them takes.
    fn check_chunks(&self, width: u32, height: u32, pixel_bytes: u64) -> Result<u64> {
        let compression = self.number(259).unwrap_or(COMPRESSION_NONE);
        let tiled = self.find(322).is_some();
        let (offsets, lengths) = if tiled { (324, 325) } else { (273, 279) };
        let (Some(offsets), Some(lengths)) = (self.find(offsets), self.find(lengths)) else {
            return Ok(0); // the decoder names what is missing
        };
        let most = |tag, most| self.number(tag).map_or(most, |side| side.min(u64::from(u32::MAX)));
        let chunk = if tiled {
            (most(322, 0), most(323, 0))
        } else {
            (u64::from(width), most(278, u64::from(height)).min(u64::from(height)))
        };
        let mut longest = 0;
        for index in 0..offsets.count {
            let (Some(offset), Some(length)) = (self.value(offsets, index), self.value(lengths, index))
            else {
                break;
            };
            // Lengths of unpacked strips are not used by any reader, and wrong in some files.
            if compression == COMPRESSION_NONE {
                continue;
            }
            longest = longest.max(length);
            let end = offset.saturating_add(length);
            let Some(content) = self.bytes.get(offset as usize..end.min(usize::MAX as u64) as usize) else {
                return Err(cut(Tiff));
            };
            if compression == COMPRESSION_JPEG {
                let size = jpeg::stream_size(content).map_err(of_tiff)?;
                if u64::from(size.0) > chunk.0 || u64::from(size.1) > chunk.1 {
                    let reason = format!("a strip or tile of {}x{} pixels", chunk.0, chunk.1);
                    return Err(malformed(Tiff, format!("{reason} holds {}x{}", size.0, size.1)));
                }
            }
        }
        if compression != COMPRESSION_JPEG {
            return Ok(2 * longest.min(1 << 16) + (64 << 10));
        }
        // The stream, its pixels, and coefficients of whole blocks.
        let pixels = (chunk.0 + 32).saturating_mul(chunk.1 + 32);
        Ok((2 * longest).saturating_add(pixels.saturating_mul(6 * pixel_bytes)))
    }
}

/// An error of a JPEG stream inside, as one of the TIFF.
fn of_tiff(error: ImageError) -> ImageError {
    match error {
        ImageError::Malformed { reason, .. } => malformed(Tiff, format!("in its jpeg data, {reason}")),
        ImageError::UnsupportedVariant { what, .. } => {
            ImageError::UnsupportedVariant { format: Tiff, what: format!("jpeg data with {what}") }
        }
        other => other,
    }
}

/// Bytes of one value of a field type; 1 for unknown types.
fn value_bytes(kind: u64) -> usize {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::Directory;

    /// A little-endian file of one directory entry, checked.
    fn check(tag: u16, kind: u16, count: u32) -> bool {
        let mut bytes = b"II*\0\x08\0\0\0\x01\0".to_vec();
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.resize(400_000, 0);
        let directory = Directory::open(&bytes).unwrap();
        directory.entry(0).and_then(|entry| directory.check(entry)).is_ok()
    }

    #[test]
    fn claims_beyond_the_file_or_the_need_are_refused() {
        assert!(check(273, 4, 1000));
        assert!(!check(273, 4, 200_000));
        assert!(!check(273, 1, 300_000));
        assert!(check(34_675, 7, 300_000));
        assert!(Directory::open(b"II*\0\xff\xff\xff\xff").is_err());
        assert!(Directory::open(b"II*\0\x08\0\0\0\xff\xff").is_err());
        assert!(Directory::open(b"MM\0\x2b\0\x08\0\0\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
    }
}
