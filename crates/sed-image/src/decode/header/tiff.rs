//! TIFF: the first directory.
//!
//! The decoder makes room for as many values as a directory entry claims, some 70 bytes for each, before
//! its own limits can be set. Here a claim that the file cannot hold is refused, and so are more values
//! than any picture within the limits needs.

use super::{Facts, bytes::Numbers, cut, malformed};
use crate::error::{ImageError, Result};
use crate::format::ImageFormat::Tiff;

/// Tags below this describe the picture and are read by the decoder; above are metadata, which are not.
const FIRST_METADATA_TAG: u64 = 512;
/// Most values of one describing tag: strips or tiles, or a colour map.
const MOST_VALUES: u64 = 1 << 18;
/// Most entries of the directory; real ones have some dozens.
const MOST_ENTRIES: u64 = 4096;
/// Bytes that the decoder holds for a value that it reads, and for an entry.
const VALUE_BYTES: u64 = 96;

const COMPRESSION_NONE: u64 = 1;
/// The old way and the new.
const COMPRESSIONS_JPEG: [u64; 2] = [6, 7];
/// Sides of tiles are multiples of this, and may be so long whatever the picture's size.
const TILE_STEP: u64 = 16;
const USUAL_TILE: u64 = 1024;
/// Most samples of a pixel: four colours and an opacity.
const MOST_SAMPLES: u64 = 5;

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
    let samples = directory.number(277).unwrap_or(1).max(1);
    if samples > MOST_SAMPLES {
        let what = format!("{samples} samples a pixel");
        return Err(ImageError::UnsupportedVariant { format: Tiff, what });
    }
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

    /// Checks that compressed strips or tiles lie within the file, one behind the other: where they share bytes,
    /// a small file costs the decoder any amount of time. Returns the memory that decoding one of them takes.
    fn check_chunks(&self, width: u32, height: u32, pixel_bytes: u64) -> Result<u64> {
        let compression = self.number(259).unwrap_or(COMPRESSION_NONE);
        if COMPRESSIONS_JPEG.contains(&compression) {
            // The frame headers inside would need the checks of a JPEG file, for each strip and their tables.
            return Err(ImageError::UnsupportedVariant { format: Tiff, what: "jpeg data".to_owned() });
        }
        let tiled = self.find(322).is_some();
        let (offsets, lengths) = if tiled { (324, 325) } else { (273, 279) };
        let tile = if tiled { self.tile_bytes(width, height, pixel_bytes)? } else { 0 };
        let (Some(offsets), Some(lengths)) = (self.find(offsets), self.find(lengths)) else {
            return Ok(tile); // the decoder names what is missing
        };
        // Lengths of unpacked strips are not used by any reader, and wrong in some files.
        if compression == COMPRESSION_NONE {
            return Ok(tile);
        }
        let (mut longest, mut together) = (0, 0_u64);
        for index in 0..offsets.count {
            let (Some(offset), Some(length)) = (self.value(offsets, index), self.value(lengths, index))
            else {
                break;
            };
            longest = longest.max(length);
            together = together.saturating_add(length);
            if offset.saturating_add(length) > self.bytes.len() as u64 {
                return Err(cut(Tiff));
            }
            if together > self.bytes.len() as u64 {
                return Err(malformed(Tiff, "its strips or tiles share bytes"));
            }
        }
        Ok(tile + 2 * longest.min(1 << 16) + (64 << 10))
    }

    /// Checks the size of a tile, and returns the bytes of its pixels.
    fn tile_bytes(&self, width: u32, height: u32, pixel_bytes: u64) -> Result<u64> {
        let side = |tag, picture: u32| {
            let most = u64::from(picture).next_multiple_of(TILE_STEP).max(USUAL_TILE);
            let side = self.number(tag).unwrap_or(0);
            let reason = || format!("its tiles have a side of {side} pixels, the picture {width}x{height}");
            if side <= most { Ok(side) } else { Err(malformed(Tiff, reason())) }
        };
        Ok(side(322, width)? * side(323, height)? * pixel_bytes)
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

    /// A compressed picture of 64x64 pixels with these further numbers, checked.
    fn facts(more: &[(u16, u32)]) -> crate::error::Result<super::Facts> {
        let usual = [(256, 64), (257, 64), (258, 8), (259, 5), (262, 1), (273, 4000), (277, 1), (279, 90)];
        let changed = |&(tag, value): &(u16, u32)| {
            let more = more.iter().find(|(other, _)| *other == tag);
            (tag, more.map_or(value, |(_, value)| *value))
        };
        let mut entries: Vec<_> = usual.iter().map(changed).collect();
        entries.extend(more.iter().filter(|(tag, _)| usual.iter().all(|(known, _)| known != tag)));
        let mut bytes = b"II*\0\x08\0\0\0".to_vec();
        bytes.extend((entries.len() as u16).to_le_bytes());
        for (tag, value) in entries {
            bytes.extend([tag.to_le_bytes(), 4_u16.to_le_bytes()].concat());
            bytes.extend([1_u32.to_le_bytes(), value.to_le_bytes()].concat());
        }
        bytes.resize(5000, 0);
        super::facts(&bytes, |_, _| Ok(()))
    }

    #[test]
    fn what_would_cost_more_than_the_picture_is_refused() {
        facts(&[]).unwrap();
        let tiled = |width, height| facts(&[(322, width), (323, height), (324, 4000), (325, 90)]);
        assert!(tiled(256, 256).unwrap().work_bytes > facts(&[]).unwrap().work_bytes + 256 * 256);
        tiled(1 << 20, 16).unwrap_err();
        tiled(16, 1040).unwrap_err();
        facts(&[(277, 60_000)]).unwrap_err();
        facts(&[(259, 7)]).unwrap_err();
        facts(&[(273, 4990)]).unwrap_err(); // beyond the end
    }

    #[test]
    fn strips_that_share_bytes_are_refused() {
        let strips = |length: u32| {
            let mut bytes = b"II*\0\x08\0\0\0\x08\0".to_vec();
            let single = [(256, 64), (257, 64), (258, 8), (259, 5), (262, 1), (278, 1)];
            let listed = [(273_u16, 64, 1000_u32), (279, 64, 2000)];
            let entries = single.into_iter().map(|(tag, value)| (tag, 1, value)).chain(listed);
            for (tag, count, value) in entries {
                bytes.extend([tag.to_le_bytes(), 4_u16.to_le_bytes()].concat());
                bytes.extend([u32::to_le_bytes(count), value.to_le_bytes()].concat());
            }
            bytes.resize(5000, 0);
            for index in 0..64 {
                bytes[1000 + 4 * index..][..4].copy_from_slice(&4000_u32.to_le_bytes());
                bytes[2000 + 4 * index..][..4].copy_from_slice(&length.to_le_bytes());
            }
            super::facts(&bytes, |_, _| Ok(())).is_ok()
        };
        assert!(strips(70));
        assert!(!strips(900));
    }
}
