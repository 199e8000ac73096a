//! BMP: the bitmap header.

use super::{Facts, bytes::Numbers, cut};
use crate::error::Result;
use crate::format::ImageFormat::Bmp;

/// Reads the size; all variants decode to three or four channels of 8 bits.
pub(super) fn facts(bytes: &[u8], check_size: impl Fn(u32, u32) -> Result<()>) -> Result<Facts> {
    const HEADER_AT: u64 = 14;
    /// The header of OS/2, with sides of 16 bits.
    const CORE_BYTES: u64 = 12;
    const BITFIELDS: u64 = 3;
    let numbers = Numbers::little(bytes);
    let Some(header_bytes) = numbers.at(HEADER_AT, 4) else { return Err(cut(Bmp)) };
    let core = header_bytes == CORE_BYTES;
    let side = if core { 2 } else { 4 };
    let sides = (numbers.u32_at(HEADER_AT + 4, side), numbers.u32_at(HEADER_AT + 4 + side as u64, side));
    let (Some(width), Some(height)) = sides else { return Err(cut(Bmp)) };
    // A negative height means that the first row is the top one.
    let height = if core { height } else { height.cast_signed().unsigned_abs() };
    check_size(width, height)?;
    let fields = !core && numbers.at(HEADER_AT + 16, 4) == Some(BITFIELDS);
    let pixel_bytes = if fields { 4 } else { 3 };
    Ok(Facts { width, height, pixel_bytes, work_bytes: 4 * u64::from(width) })
}
