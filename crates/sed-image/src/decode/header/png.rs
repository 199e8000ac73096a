//! PNG: the chunks before the first one of pixels.

use super::{Facts, bytes::Numbers, cut, malformed};
use crate::error::Result;
use crate::format::ImageFormat::Png;

/// Reads size, depth and colour type, whether a transparent colour is declared, and how long EXIF is.
pub(super) fn facts(bytes: &[u8], check_size: impl Fn(u32, u32) -> Result<()>) -> Result<Facts> {
    const SIGNATURE_BYTES: u64 = 8;
    let numbers = Numbers::big(bytes);
    let (mut header, mut transparent, mut exif_bytes) = (None, false, 0u64);
    let mut at = SIGNATURE_BYTES;
    loop {
        let Some(length) = numbers.at(at, 4) else { return Err(cut(Png)) };
        let name = bytes.get(at as usize + 4..at as usize + 8).unwrap_or_default();
        let content = at + 8;
        match name {
            b"IHDR" => {
                let (Some(width), Some(height), Some(depth), Some(colour)) = (
                    numbers.u32_at(content, 4),
                    numbers.u32_at(content + 4, 4),
                    numbers.at(content + 8, 1),
                    numbers.at(content + 9, 1),
                ) else {
                    return Err(cut(Png));
                };
                check_size(width, height)?;
                header = Some((width, height, depth, colour));
            }
            b"tRNS" => transparent = true,
            b"eXIf" => exif_bytes += length,
            b"IDAT" | b"IEND" => break,
            _ => {}
        }
        // The length has 31 bits by the standard and 32 here, and `at` is within the file.
        at = content + length + 4;
        if at > bytes.len() as u64 {
            return Err(cut(Png));
        }
    }
    let Some((width, height, depth, colour)) = header else {
        return Err(malformed(Png, "it has no header chunk"));
    };
    let channels = match colour {
        0 => 1 + u64::from(transparent),
        2 | 3 => 3 + u64::from(transparent),
        4 => 2,
        _ => 4,
    };
    let pixel_bytes = channels * if depth == 16 { 2 } else { 1 };
    // The decoder keeps a window of at least 128 KiB and of some rows, in a buffer that grows by doubling.
    let row_bytes = u64::from(width) * pixel_bytes + 1;
    let work_bytes = 16 * row_bytes + (512 << 10) + 3 * exif_bytes;
    Ok(Facts { width, height, pixel_bytes, work_bytes })
}
