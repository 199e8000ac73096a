//! GIF: the screen and the blocks before the first frame.

use super::{Facts, bytes::Numbers, cut, malformed};
use crate::error::Result;
use crate::format::ImageFormat::Gif;

const EXTENSION: u8 = 0x21;
const FRAME: u8 = 0x2c;
const APPLICATION: u8 = 0xff;

/// Reads the size of the screen and of the first frame, which must lie within it.
pub(super) fn facts(bytes: &[u8], check_size: impl Fn(u32, u32) -> Result<()>) -> Result<Facts> {
    let numbers = Numbers::little(bytes);
    let (Some(width), Some(height), Some(flags)) =
        (numbers.u32_at(6, 2), numbers.u32_at(8, 2), numbers.at(10, 1))
    else {
        return Err(cut(Gif));
    };
    check_size(width, height)?;
    /// Signature, screen, flags, background, aspect.
    const SCREEN_BYTES: usize = 13;
    let mut at = SCREEN_BYTES + colour_table_bytes(flags);
    let mut metadata_bytes = 0;
    loop {
        match bytes.get(at).copied() {
            Some(EXTENSION) => {
                let end = end_of_blocks(bytes, at + 2).ok_or_else(|| cut(Gif))?;
                if bytes.get(at + 1) == Some(&APPLICATION) {
                    metadata_bytes += (end - at) as u64;
                }
                at = end;
            }
            Some(FRAME) => break,
            None => return Err(cut(Gif)),
            Some(_) => return Err(malformed(Gif, "it holds no frame where one was expected")),
        }
    }
    let side = |offset: u64| numbers.u32_at(at as u64 + 1 + offset, 2);
    let (Some(left), Some(top), Some(frame_width), Some(frame_height)) = (side(0), side(2), side(4), side(6))
    else {
        return Err(cut(Gif));
    };
    if left + frame_width > width || top + frame_height > height {
        let reason = format!(
            "its first frame, {frame_width}x{frame_height} at {left},{top}, reaches beyond its screen of \
             {width}x{height}"
        );
        return Err(malformed(Gif, reason));
    }
    let frame_bytes = 4 * u64::from(frame_width) * u64::from(frame_height);
    let whole_rows = left == 0 && frame_width == width;
    // A frame that is no run of whole rows is decoded by itself and copied; metadata grows by doubling.
    let work_bytes = if whole_rows { 0 } else { frame_bytes } + 2 * metadata_bytes + 8 * u64::from(width);
    Ok(Facts { width, height, pixel_bytes: 4, work_bytes })
}

/// Bytes of the colour table that the flags announce.
fn colour_table_bytes(flags: u64) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// The place behind a run of sub-blocks, each with its length before it, the last one empty.
fn end_of_blocks(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        if length == 0 {
            return Some(at);
        }
    }
}
