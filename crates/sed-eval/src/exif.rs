//! The EXIF orientation of pictures whose labels are stored without one.

use std::io::Cursor;

use image::{ImageDecoder, ImageFormat, ImageReader, metadata::Orientation};

use crate::error::{Error, Result};

/// The treatment of a picture's EXIF orientation. That of a label never counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exif {
    /// The picture is segmented as it was stored.
    Ignore,
    /// The picture is turned upright, as detectron2 does; its label stays as it was stored.
    Apply,
}

/// Reports whether a picture would be turned; one that cannot be read would not.
pub(crate) fn is_turned(picture: &[u8]) -> bool {
    turn(picture).is_some()
}

/// Removes the orientation from a picture. The pixels stay the same, bit for bit.
///
/// # Errors
/// The orientation cannot be removed.
pub(crate) fn as_stored(mut picture: Vec<u8>) -> Result<Vec<u8>> {
    let Some(Turn { format, chunk }) = turn(&picture) else { return Ok(picture) };
    if format == ImageFormat::Tiff {
        // A TIFF file has the structure of an EXIF chunk.
        let _ = Orientation::remove_from_exif_chunk(&mut picture);
    } else {
        let chunk =
            chunk.ok_or(Error::Exif("the picture has an EXIF orientation outside of its EXIF data"))?;
        let at = picture.windows(chunk.len()).position(|bytes| bytes == chunk);
        let at = at.ok_or(Error::Exif("the EXIF data of the picture is split up; save it without"))?;
        if format == ImageFormat::Png {
            // Length and type stand before the data, a checksum behind it.
            picture.drain(at - 8..at + chunk.len() + 4);
        } else {
            let _ = Orientation::remove_from_exif_chunk(&mut picture[at..at + chunk.len()]);
        }
    }
    if is_turned(&picture) {
        return Err(Error::Exif(
            "the EXIF orientation of the picture cannot be ignored; save the picture without it",
        ));
    }
    Ok(picture)
}

/// The format of a picture with an orientation, and its EXIF chunk.
struct Turn {
    format: ImageFormat,
    chunk: Option<Vec<u8>>,
}

/// Reads the header; `None` if the picture is upright or cannot be read.
fn turn(picture: &[u8]) -> Option<Turn> {
    let reader = ImageReader::new(Cursor::new(picture)).with_guessed_format().ok()?;
    let format = reader.format()?;
    let mut decoder = reader.into_decoder().ok()?;
    let upright = decoder.orientation().ok()? == Orientation::NoTransforms;
    (!upright).then(|| Turn { format, chunk: decoder.exif_metadata().ok().flatten() })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_format_gives_its_stored_pixels() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sed-image/tests/fixtures/images");
        let limits = sed_image::DecodeLimits::default();
        let turned = ["exif2.png", "exif5.png", "exif6.png", "exif8.png", "exif6.jpg", "exif6.webp"];
        for name in turned {
            let picture = std::fs::read(folder.join(name)).unwrap();
            assert!(is_turned(&picture), "{name}");
            let upright = sed_image::decode(&picture, &limits).unwrap();
            let stored = sed_image::decode(&as_stored(picture).unwrap(), &limits).unwrap();
            assert_eq!(stored.orientation, Orientation::NoTransforms, "{name}");
            let swapped = upright.orientation.to_exif() > 4;
            let (width, height) = (upright.image.width(), upright.image.height());
            let size = if swapped { (height, width) } else { (width, height) };
            assert_eq!((stored.image.width(), stored.image.height()), size, "{name}");
            assert_ne!(stored.image.pixels(), upright.image.pixels(), "{name}");
        }
        let upright = std::fs::read(folder.join("exif1.png")).unwrap();
        assert!(!is_turned(&upright));
        assert_eq!(as_stored(upright.clone()).unwrap(), upright);
        assert_eq!(as_stored(b"no picture".to_vec()).unwrap(), b"no picture");
    }

    #[test]
    fn a_tiff_says_it_in_its_own_directory() {
        // Little-endian, one pixel of grey 7 behind a directory of nine entries, orientation 3.
        let entries: [(u16, u16, u32); 9] = [
            (256, 3, 2),   // width
            (257, 3, 1),   // height
            (258, 3, 8),   // bits
            (259, 3, 1),   // no compression
            (262, 3, 1),   // grey
            (273, 4, 122), // where the pixels are
            (274, 3, 3),   // orientation
            (278, 3, 1),   // rows of the strip
            (279, 4, 2),   // its bytes
        ];
        let mut tiff = b"II*\0\x08\0\0\0\x09\0".to_vec();
        for (tag, kind, value) in entries {
            tiff.extend(tag.to_le_bytes());
            tiff.extend(kind.to_le_bytes());
            tiff.extend(1_u32.to_le_bytes());
            tiff.extend(value.to_le_bytes());
        }
        tiff.extend([0; 4]);
        assert_eq!(tiff.len(), 122);
        tiff.extend([7, 90]);
        let pixels = |tiff: &[u8]| {
            let decoded = sed_image::decode(tiff, &sed_image::DecodeLimits::default()).unwrap();
            decoded.image.pixels().iter().step_by(3).copied().collect::<Vec<_>>()
        };
        assert_eq!(pixels(&tiff), [90, 7]);
        assert_eq!(pixels(&as_stored(tiff).unwrap()), [7, 90]);
    }
}
