//! The one picture type of this crate: 8-bit RGB, rows packed.

use crate::error::{ImageError, Result};

/// An 8-bit RGB picture, row-major, H × W × 3 without padding.
///
/// Both sides are at least 1 and `pixels().len() == width * height * 3`; the constructors check it.
#[derive(Clone, PartialEq, Eq)]
pub struct RgbImage {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl RgbImage {
    /// Wraps `pixels` (H × W × 3, row-major, packed).
    ///
    /// # Errors
    /// [`ImageError::ZeroSize`] for an empty side, [`ImageError::RawLength`] when the length differs from
    /// `width * height * 3`.
    pub fn new(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self> {
        let expected = packed_length(width, height)?;
        if pixels.len() as u64 != expected {
            return Err(ImageError::RawLength {
                width,
                height,
                row_stride: u64::from(width) * 3,
                expected,
                actual: pixels.len() as u64,
            });
        }
        Ok(Self { width, height, pixels })
    }

    /// Copies raw RGB pixels whose rows lie `row_stride` bytes apart (the last row may end at its last
    /// pixel). `row_stride` 0 means packed rows.
    ///
    /// # Errors
    /// [`ImageError::ZeroSize`], [`ImageError::RowStride`] for a stride shorter than a row,
    /// [`ImageError::RawLength`] for too few bytes, or for more than `row_stride * height`.
    pub fn from_strided(width: u32, height: u32, row_stride: u64, bytes: &[u8]) -> Result<Self> {
        let total = packed_length(width, height)?;
        let row = u64::from(width) * 3;
        let stride = if row_stride == 0 { row } else { row_stride };
        if stride < row {
            return Err(ImageError::RowStride { row_stride, width, least: row });
        }
        let actual = bytes.len() as u64;
        // u128: a stride from a request may be anything.
        let least = u128::from(stride) * u128::from(height - 1) + u128::from(row);
        let most = u128::from(stride) * u128::from(height);
        if u128::from(actual) < least || u128::from(actual) > most {
            let expected = u64::try_from(least).unwrap_or(u64::MAX);
            return Err(ImageError::RawLength { width, height, row_stride: stride, expected, actual });
        }
        if stride == row {
            return Self::new(width, height, bytes.to_vec());
        }
        // All three fit in usize: they are at most bytes.len(), checked above.
        let mut pixels = Vec::with_capacity(total as usize);
        for line in bytes.chunks(stride as usize).take(height as usize) {
            pixels.extend_from_slice(&line[..row as usize]);
        }
        Self::new(width, height, pixels)
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels, H × W × 3, row-major, packed.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Consumes the picture and returns its pixels, H × W × 3, row-major, packed.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// Bytes of one row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.width as usize * 3
    }

    /// Row `y`, W × 3.
    pub(crate) fn row(&self, y: usize) -> &[u8] {
        let bytes = self.row_bytes();
        &self.pixels[y * bytes..][..bytes]
    }
}

impl std::fmt::Debug for RgbImage {
    // The pixels would drown a log line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RgbImage({}x{})", self.width, self.height)
    }
}

/// Checks that raw pixels keep the limits of a decoded image, before they are copied.
///
/// # Errors
/// [`ImageError::ZeroSize`], [`ImageError::SideTooLong`], [`ImageError::TooManyPixels`].
pub(crate) fn check_size(width: u32, height: u32, max_side: u32, max_pixels: u64) -> Result<()> {
    if width.min(height) > 0 && width.max(height) > max_side {
        return Err(ImageError::SideTooLong { width, height, limit: max_side });
    }
    count_pixels(width, height, max_pixels).map(|_| ())
}

/// Counts the pixels of a picture or a map.
///
/// # Errors
/// [`ImageError::ZeroSize`], [`ImageError::TooManyPixels`] for more than `limit`.
pub(crate) fn count_pixels(width: u32, height: u32, limit: u64) -> Result<u64> {
    let pixels = u64::from(width) * u64::from(height);
    match pixels {
        0 => Err(ImageError::ZeroSize { width, height }),
        _ if pixels > limit => Err(ImageError::TooManyPixels { width, height, pixels, limit }),
        _ => Ok(pixels),
    }
}

/// Bytes of a packed picture. Three for each pixel must be countable; no real picture comes near.
fn packed_length(width: u32, height: u32) -> Result<u64> {
    Ok(3 * count_pixels(width, height, u64::MAX / 3)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_are_removed() {
        let bytes = [1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 9, 10, 11, 12];
        let image = RgbImage::from_strided(2, 2, 8, &bytes).unwrap();
        assert_eq!(image.pixels(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(RgbImage::from_strided(2, 2, 0, image.pixels()).unwrap(), image);
    }

    #[test]
    fn wrong_lengths_and_strides_are_refused() {
        let reason =
            |w, h, stride, bytes: &[u8]| RgbImage::from_strided(w, h, stride, bytes).unwrap_err().reason();
        assert_eq!(reason(0, 2, 0, &[]), "IMAGE_ZERO_SIZE");
        assert_eq!(reason(2, 2, 5, &[0; 10]), "IMAGE_ROW_STRIDE");
        assert_eq!(reason(2, 2, 8, &[0; 13]), "IMAGE_RAW_LENGTH");
        assert_eq!(reason(2, 2, 8, &[0; 17]), "IMAGE_RAW_LENGTH");
        assert_eq!(reason(u32::MAX, u32::MAX, u64::MAX, &[0; 17]), "IMAGE_TOO_MANY_PIXELS");
        assert!(RgbImage::new(2, 2, vec![0; 11]).is_err());
    }
}
