//! The EXIF orientation: how the stored pixels must be turned to stand upright.

use rayon::prelude::*;

use crate::rgb::RgbImage;

/// The transformation that brings the stored pixels upright (EXIF values 1 to 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Orientation {
    /// Stored upright (1, or no EXIF).
    #[default]
    Upright,
    /// Mirrored left to right (2).
    FlipHorizontal,
    /// Turned by 180° (3).
    Rotate180,
    /// Mirrored top to bottom (4).
    FlipVertical,
    /// Turned by 90° clockwise, then mirrored left to right (5).
    Transpose,
    /// Turned by 90° clockwise (6).
    Rotate90,
    /// Turned by 270° clockwise, then mirrored left to right (7).
    Transverse,
    /// Turned by 270° clockwise (8).
    Rotate270,
}

impl From<image::metadata::Orientation> for Orientation {
    fn from(other: image::metadata::Orientation) -> Self {
        use image::metadata::Orientation as Other;
        match other {
            Other::NoTransforms => Self::Upright,
            Other::FlipHorizontal => Self::FlipHorizontal,
            Other::Rotate180 => Self::Rotate180,
            Other::FlipVertical => Self::FlipVertical,
            Other::Rotate90FlipH => Self::Transpose,
            Other::Rotate90 => Self::Rotate90,
            Other::Rotate270FlipH => Self::Transverse,
            Other::Rotate270 => Self::Rotate270,
        }
    }
}

impl Orientation {
    /// The EXIF value, 1 to 8.
    pub fn exif_value(self) -> u8 {
        match self {
            Self::Upright => 1,
            Self::FlipHorizontal => 2,
            Self::Rotate180 => 3,
            Self::FlipVertical => 4,
            Self::Transpose => 5,
            Self::Rotate90 => 6,
            Self::Transverse => 7,
            Self::Rotate270 => 8,
        }
    }

    /// True when width and height change places.
    pub fn swaps_sides(self) -> bool {
        matches!(self, Self::Transpose | Self::Rotate90 | Self::Transverse | Self::Rotate270)
    }

    /// Turns stored pixels upright.
    pub(crate) fn apply(self, stored: RgbImage) -> RgbImage {
        if self == Self::Upright {
            return stored;
        }
        let (width, height) = (stored.width() as usize, stored.height() as usize);
        let (out_width, out_height) = if self.swaps_sides() { (height, width) } else { (width, height) };
        // Where the upright pixel (x, y) is stored.
        let source = move |x: usize, y: usize| match self {
            Self::Upright => (x, y),
            Self::FlipHorizontal => (width - 1 - x, y),
            Self::Rotate180 => (width - 1 - x, height - 1 - y),
            Self::FlipVertical => (x, height - 1 - y),
            Self::Transpose => (y, x),
            Self::Rotate90 => (y, height - 1 - x),
            Self::Transverse => (width - 1 - y, height - 1 - x),
            Self::Rotate270 => (width - 1 - y, x),
        };
        /// Rows turned together, so that a column of the source is read from cache.
        const BAND: usize = 16;
        let mut upright = vec![0u8; out_width * out_height * 3];
        let pixels = stored.pixels();
        upright.par_chunks_mut(out_width * 3 * BAND).enumerate().for_each(|(band, rows)| {
            let lines = rows.len() / (out_width * 3);
            for x in 0..out_width {
                for line in 0..lines {
                    let (sx, sy) = source(x, band * BAND + line);
                    let to = (line * out_width + x) * 3;
                    let from = (sy * width + sx) * 3;
                    rows[to..to + 3].copy_from_slice(&pixels[from..from + 3]);
                }
            }
        });
        #[expect(clippy::expect_used, reason = "the buffer was made for exactly this size")]
        RgbImage::new(out_width as u32, out_height as u32, upright).expect("a turned image keeps its pixels")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixels named by one byte each: a b c / d e f.
    fn turned(orientation: Orientation) -> (u32, u32, String) {
        let pixels = b"abcdef".iter().flat_map(|&name| [name; 3]).collect();
        let image = orientation.apply(RgbImage::new(3, 2, pixels).unwrap());
        let names = image.pixels().iter().step_by(3).map(|&name| name as char).collect();
        (image.width(), image.height(), names)
    }

    #[test]
    fn each_exif_value_turns_as_the_standard_says() {
        let expect = [
            (Orientation::Upright, (3, 2, "abcdef")),
            (Orientation::FlipHorizontal, (3, 2, "cbafed")),
            (Orientation::Rotate180, (3, 2, "fedcba")),
            (Orientation::FlipVertical, (3, 2, "defabc")),
            (Orientation::Transpose, (2, 3, "adbecf")),
            (Orientation::Rotate90, (2, 3, "daebfc")),
            (Orientation::Transverse, (2, 3, "fcebda")),
            (Orientation::Rotate270, (2, 3, "cfbead")),
        ];
        for (value, (orientation, (width, height, names))) in (1..).zip(expect) {
            assert_eq!(turned(orientation), (width, height, names.to_owned()), "{orientation:?}");
            assert_eq!(orientation.exif_value(), value);
        }
    }
}
