//! WebP: the chunks of the file, and the header of the stream of pixels.
//!
//! The decoder makes room for a metadata chunk of whatever length the chunk claims, and for a stream of
//! whatever size the stream claims, before it compares that with the size of the canvas.

use super::{Facts, bytes::Numbers, cut, malformed};
use crate::error::Result;
use crate::format::ImageFormat::WebP;

/// The most that code tables take for a byte of a lossless stream: a code of eleven bytes may have a table of
/// 4 KiB. Encoders write far smaller ones, but nothing in the header tells.
const TABLES_FOR_BYTE: u64 = 400;
/// The most that the tables of a group take: five of 4 KiB, and what holds them.
const GROUP_BYTES: u64 = 24 << 10;
/// The most groups of a picture.
const MOST_GROUPS: u64 = 1 << 16;
/// The most bytes of a lossless stream for a pixel, and for any picture: noise takes four for a pixel.
const MOST_LOSSLESS_BYTES: (u64, u64) = (5, 64 << 10);

/// A chunk: its name and its content.
#[derive(Debug, Clone, Copy)]
struct Chunk<'a> {
    name: &'a [u8],
    content: &'a [u8],
}

/// The chunks of one level, in order.
struct Chunks<'a> {
    rest: &'a [u8],
}

impl<'a> Chunks<'a> {
    /// Returns the next chunk; `None` at the end. Chunks begin at even places; the last one's filler may be
    /// missing.
    fn next(&mut self) -> Result<Option<Chunk<'a>>> {
        let Some((header, rest)) = self.rest.split_first_chunk::<8>() else { return Ok(None) };
        let [.., a, b, c, d] = *header;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let Some(content) = rest.get(..length) else { return Err(cut(WebP)) };
        let name = self.rest.get(..4).unwrap_or_default();
        self.rest = rest.get(length.next_multiple_of(2)..).unwrap_or_default();
        Ok(Some(Chunk { name, content }))
    }

    /// Returns the next chunk of one of these names; `None` if there is none.
    fn find(&mut self, names: &[&[u8]]) -> Result<Option<Chunk<'a>>> {
        while let Some(chunk) = self.next()? {
            if names.contains(&chunk.name) {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }
}

/// Reads the size of the canvas and of the first frame's stream, which must agree.
pub(super) fn facts(bytes: &[u8], check_size: impl Fn(u32, u32) -> Result<()>) -> Result<Facts> {
    let file = riff_content(bytes)?;
    let mut chunks = Chunks { rest: file };
    let missing = || malformed(WebP, "it holds no picture");
    let first = chunks.next()?.ok_or_else(missing)?;
    if first.name != b"VP8X" {
        let (width, height) = stream_size(first)?.ok_or_else(missing)?;
        check_size(width, height)?;
        all_within(chunks)?;
        return Ok(Facts { width, height, pixel_bytes: 4, work_bytes: stream_bytes(first, width, height) });
    }
    let numbers = Numbers::little(first.content);
    let (Some(flags), Some(width), Some(height)) =
        (numbers.at(0, 1), numbers.u32_at(4, 3), numbers.u32_at(7, 3))
    else {
        return Err(cut(WebP));
    };
    let (width, height) = (width + 1, height + 1);
    check_size(width, height)?;
    let metadata = largest_metadata(Chunks { rest: chunks.rest })?;
    let animated = flags & 2 != 0;
    let (frame, mut streams) = if animated {
        let frame = chunks.find(&[b"ANMF"])?.ok_or_else(missing)?;
        let numbers = Numbers::little(frame.content);
        let (Some(frame_width), Some(frame_height)) = (numbers.u32_at(6, 3), numbers.u32_at(9, 3)) else {
            return Err(cut(WebP));
        };
        const FRAME_HEADER_BYTES: usize = 16;
        let rest = frame.content.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        ((frame_width + 1, frame_height + 1), Chunks { rest })
    } else {
        ((width, height), Chunks { rest: chunks.rest })
    };
    if frame.0 > width || frame.1 > height {
        return Err(malformed(WebP, "its first frame is larger than its canvas"));
    }
    let (mut alpha_bytes, mut work_bytes) = (0, None);
    while let Some(chunk) = streams.next()? {
        if chunk.name == b"ALPH" {
            check_lossless(chunk.content.len(), frame.0, frame.1)?;
            alpha_bytes = lossless_bytes(chunk.content.len(), frame.0, frame.1) + pixels(frame.0, frame.1);
        }
        let Some(size) = stream_size(chunk)? else { continue };
        if size != frame {
            let reason =
                format!("its stream is {}x{} pixels, its frame {}x{}", size.0, size.1, frame.0, frame.1);
            return Err(malformed(WebP, reason));
        }
        if work_bytes.is_none() {
            work_bytes = Some(stream_bytes(chunk, size.0, size.1));
        }
    }
    // An animation's frame is decoded by itself and drawn on a canvas.
    let canvas = if animated { 4 * (pixels(width, height) + pixels(frame.0, frame.1)) } else { 0 };
    let work_bytes = work_bytes.ok_or_else(missing)? + alpha_bytes + canvas + metadata;
    Ok(Facts { width, height, pixel_bytes: 4, work_bytes })
}

/// The chunks of the file; what is behind them is not part of it.
fn riff_content(bytes: &[u8]) -> Result<&[u8]> {
    /// "RIFF", the length of the rest, "WEBP".
    const HEADER_BYTES: usize = 12;
    let length = Numbers::little(bytes).at(4, 4).ok_or_else(|| cut(WebP))? as usize;
    let end = length + 8;
    // The filler of the last chunk may be missing.
    if end > bytes.len().next_multiple_of(2) {
        return Err(cut(WebP));
    }
    Ok(bytes.get(HEADER_BYTES..end.min(bytes.len())).unwrap_or_default())
}

/// Checks that the remaining chunks lie within the file.
fn all_within(mut chunks: Chunks<'_>) -> Result<()> {
    while chunks.next()?.is_some() {}
    Ok(())
}

/// Bytes of the longest chunk of metadata: the decoder holds one at a time.
fn largest_metadata(mut chunks: Chunks<'_>) -> Result<u64> {
    let mut most = 0;
    while let Some(chunk) = chunks.next()? {
        if matches!(chunk.name, b"EXIF" | b"XMP " | b"ICCP") {
            most = most.max(chunk.content.len() as u64);
        }
    }
    Ok(most)
}

/// Width and height by the header of a stream of pixels; `None` for another chunk.
fn stream_size(chunk: Chunk<'_>) -> Result<Option<(u32, u32)>> {
    let numbers = Numbers::little(chunk.content);
    let sides = match chunk.name {
        b"VP8 " => numbers.u32_at(6, 4).map(|both| (both & 0x3fff, (both >> 16) & 0x3fff)),
        b"VP8L" => numbers.u32_at(1, 4).map(|both| ((both & 0x3fff) + 1, ((both >> 14) & 0x3fff) + 1)),
        _ => return Ok(None),
    };
    let (width, height) = sides.ok_or_else(|| cut(WebP))?;
    if chunk.name == b"VP8L" {
        check_lossless(chunk.content.len(), width, height)?;
    }
    Ok(Some((width, height)))
}

/// Refuses a lossless stream that is longer than its pixels: the rest can only be code tables.
fn check_lossless(length: usize, width: u32, height: u32) -> Result<()> {
    let most = MOST_LOSSLESS_BYTES.0 * pixels(width, height) + MOST_LOSSLESS_BYTES.1;
    if length as u64 > most {
        let reason = format!("its lossless stream has {length} bytes for {width}x{height} pixels");
        return Err(malformed(WebP, reason));
    }
    Ok(())
}

/// Working memory of decoding a stream.
fn stream_bytes(chunk: Chunk<'_>, width: u32, height: u32) -> u64 {
    if chunk.name == b"VP8L" {
        return lossless_bytes(chunk.content.len(), width, height);
    }
    // Planes of whole macroblocks, three copies of the compressed bytes in buffers that grow, a row of
    // macroblocks.
    let (across, down) = (u64::from(width.div_ceil(16)), u64::from(height.div_ceil(16)));
    across * down * 384 + 4 * chunk.content.len() as u64 + across * 256 + 4 * pixels(width, height)
}

/// Working memory of decoding a lossless stream: RGBA pixels, sub-images of at most a sixteenth of the
/// pixels, code tables.
fn lossless_bytes(length: usize, width: u32, height: u32) -> u64 {
    let blocks = u64::from(width.div_ceil(4)) * u64::from(height.div_ceil(4));
    let most_tables = (blocks.min(MOST_GROUPS) + 4) * GROUP_BYTES;
    let tables = (TABLES_FOR_BYTE * length as u64 + (256 << 10)).min(most_tables);
    4 * pixels(width, height) + 20 * blocks + tables
}

fn pixels(width: u32, height: u32) -> u64 {
    u64::from(width) * u64::from(height)
}

#[cfg(test)]
mod tests {
    use super::{Chunks, riff_content};

    #[test]
    fn chunks_must_lie_within_the_file() {
        let check = |length: u32, content: &[u8]| {
            let file = [b"EXIF", &length.to_le_bytes()[..], content].concat();
            super::all_within(Chunks { rest: &file })
        };
        assert!(check(4, b"abcd").is_ok());
        assert!(check(3, b"abc").is_ok());
        assert!(check(3, b"abc\0rest").is_ok());
        assert!(check(5, b"abcd").is_err());
        assert!(check(u32::MAX, b"abcd").is_err());
    }

    #[test]
    fn a_lossless_stream_is_bounded_by_its_pixels() {
        assert!(super::check_lossless(65_536 + 5 * 16 * 16, 16, 16).is_ok());
        assert!(super::check_lossless(65_537 + 5 * 16 * 16, 16, 16).is_err());
    }

    #[test]
    fn the_file_ends_where_its_header_says() {
        assert_eq!(riff_content(b"RIFF\x08\0\0\0WEBPabcdjunk").unwrap(), b"abcd");
        assert_eq!(riff_content(b"RIFF\x08\0\0\0WEBPabc").unwrap(), b"abc");
        assert!(riff_content(b"RIFF\x08\0\0\0WEBPab").is_err());
        assert!(riff_content(b"RIFF").is_err());
    }
}
