//! Turns stored pixels upright, as the EXIF orientation says.

use image::metadata::Orientation;
use rayon::prelude::*;

use crate::rgb::RgbImage;

/// Turns stored pixels upright.
pub(super) fn upright(stored: RgbImage, orientation: Orientation) -> RgbImage {
    if orientation == Orientation::NoTransforms {
        return stored;
    }
    let (width, height) = (stored.width() as usize, stored.height() as usize);
    let (out_width, out_height) = if orientation.to_exif() > 4 { (height, width) } else { (width, height) };
    // Where the upright pixel (x, y) is stored.
    let source = move |x: usize, y: usize| match orientation {
        Orientation::NoTransforms => (x, y),
        Orientation::FlipHorizontal => (width - 1 - x, y),
        Orientation::Rotate180 => (width - 1 - x, height - 1 - y),
        Orientation::FlipVertical => (x, height - 1 - y),
        Orientation::Rotate90FlipH => (y, x),
        Orientation::Rotate90 => (y, height - 1 - x),
        Orientation::Rotate270FlipH => (width - 1 - y, height - 1 - x),
        Orientation::Rotate270 => (width - 1 - y, x),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixels named by one byte each: a b c / d e f.
    fn turned(orientation: Orientation) -> (u32, u32, String) {
        let pixels = b"abcdef".iter().flat_map(|&name| [name; 3]).collect();
        let image = upright(RgbImage::new(3, 2, pixels).unwrap(), orientation);
        let names = image.pixels().iter().step_by(3).map(|&name| name as char).collect();
        (image.width(), image.height(), names)
    }

    #[test]
    fn each_exif_value_turns_as_the_standard_says() {
        let expect = [
            (Orientation::NoTransforms, (3, 2, "abcdef")),
            (Orientation::FlipHorizontal, (3, 2, "cbafed")),
            (Orientation::Rotate180, (3, 2, "fedcba")),
            (Orientation::FlipVertical, (3, 2, "defabc")),
            (Orientation::Rotate90FlipH, (2, 3, "adbecf")),
            (Orientation::Rotate90, (2, 3, "daebfc")),
            (Orientation::Rotate270FlipH, (2, 3, "fcebda")),
            (Orientation::Rotate270, (2, 3, "cfbead")),
        ];
        for (value, (orientation, (width, height, names))) in (1..).zip(expect) {
            assert_eq!(turned(orientation), (width, height, names.to_owned()), "{orientation:?}");
            assert_eq!(orientation.to_exif(), value);
        }
    }
}
