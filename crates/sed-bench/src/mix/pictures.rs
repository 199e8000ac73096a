//! The pictures of a mix, as files in memory.

use std::{fs, path::PathBuf, str::FromStr};

use bytes::Bytes;
use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};
use rayon::prelude::*;
use sed_image::{DecodeLimits, resize_antialiased};

use crate::error::{Error, Result};

/// Largest size of all pictures of a mix together, in bytes; they are held in memory.
const MOST_BYTES: usize = 1 << 30;
/// Largest number of pictures of a mix, at all sizes together.
const MOST_PICTURES: usize = 4096;
/// JPEG quality of scaled pictures, as usual for cameras and web sites.
const QUALITY: u8 = 90;
/// Longest side of a scaled picture, in pixels.
const MOST_SIDE: u32 = 16_384;

/// A picture as it is sent.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The file's name, and its size where it was changed.
    pub name: String,
    /// The encoded file.
    pub content: Bytes,
}

/// Width and height of `--sizes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let side = |text: &str| text.parse().ok().filter(|side| (1..=MOST_SIDE).contains(side));
        let sides = text.split_once('x').and_then(|(w, h)| Some((side(w)?, side(h)?)));
        let (width, height) =
            sides.ok_or_else(|| format!("expected WIDTHxHEIGHT, each 1 to {MOST_SIDE}, such as 640x480"))?;
        Ok(Self { width, height })
    }
}

/// Reads the files of pictures.
///
/// # Errors
/// A file cannot be read, or there are more or larger ones than are held in memory.
pub fn read_pictures(files: Vec<PathBuf>) -> Result<Vec<Picture>> {
    if files.len() > MOST_PICTURES {
        return Err(Error::TooManyPictures { pictures: files.len(), most: MOST_PICTURES });
    }
    let mut pictures = Vec::with_capacity(files.len());
    let mut left = MOST_BYTES as u64;
    for file in files {
        let read = || -> std::io::Result<Option<Vec<u8>>> {
            let fits = fs::metadata(&file)?.len() <= left;
            fits.then(|| fs::read(&file)).transpose()
        };
        let content = read().map_err(|source| Error::Read { file: file.clone(), source })?;
        let Some(content) = content else { return Err(Error::TooManyBytes(MOST_BYTES)) };
        left = left.saturating_sub(content.len() as u64);
        pictures.push(Picture { name: file.display().to_string(), content: content.into() });
    }
    Ok(pictures)
}

/// Scales every picture to each of the sizes, as JPEG; without sizes, returns the pictures as they are.
///
/// # Errors
/// A picture cannot be decoded, or the scaled ones are more or larger than are held in memory.
pub fn scale(originals: Vec<Picture>, sizes: &[Size]) -> Result<Vec<Picture>> {
    if sizes.is_empty() {
        return Ok(originals);
    }
    if originals.len() * sizes.len() > MOST_PICTURES {
        return Err(Error::TooManySizes {
            pictures: originals.len(),
            sizes: sizes.len(),
            most: MOST_PICTURES,
        });
    }
    let named = |original: &Picture| {
        let name = original.name.clone();
        scaled(original, sizes).map_err(|error| Error::Picture { name, source: Box::new(error) })
    };
    let scaled: Vec<Picture> = originals.par_iter().map(named).collect::<Result<Vec<_>>>()?.concat();
    check_bytes(&scaled)?;
    Ok(scaled)
}

fn scaled(original: &Picture, sizes: &[Size]) -> Result<Vec<Picture>> {
    let decoded = sed_image::decode(&original.content, &DecodeLimits::default())?.image;
    let at = |&Size { width, height }: &Size| {
        let small = resize_antialiased(&decoded, width, height)?;
        let mut content = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut content, QUALITY);
        encoder.encode(small.pixels(), width, height, ExtendedColorType::Rgb8)?;
        Ok(Picture { name: format!("{} at {width}x{height}", original.name), content: content.into() })
    };
    sizes.iter().map(at).collect()
}

fn check_bytes(pictures: &[Picture]) -> Result<()> {
    let bytes: usize = pictures.iter().map(|picture| picture.content.len()).sum();
    if bytes > MOST_BYTES {
        return Err(Error::ScaledTooLarge { bytes, most: MOST_BYTES });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_width_times_height() {
        assert_eq!("640x480".parse(), Ok(Size { width: 640, height: 480 }));
        for wrong in ["640", "640x", "0x480", "640x480x3", "20000x1", "-1x4"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }
}
