//! The pictures of a mix, as files in memory.

use std::{path::PathBuf, str::FromStr};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};
use rayon::prelude::*;
use sed_image::{DecodeLimits, resize_antialiased};

use crate::{embedded, pictures};

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
pub(crate) struct Picture {
    /// The file's name, and its size where it was changed.
    pub(crate) name: String,
    /// The encoded file.
    pub(crate) content: Bytes,
}

/// Width and height of `--sizes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) width: u32,
    pub(crate) height: u32,
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

/// Loads the pictures in `paths`, or those of the demo, each at every size; without sizes, at its own.
pub(crate) fn load(paths: &[PathBuf], sizes: &[Size]) -> Result<Vec<Picture>> {
    let originals = if paths.is_empty() { of_the_demo()? } else { from_files(paths)? };
    if sizes.is_empty() {
        return Ok(originals);
    }
    if originals.len() * sizes.len() > MOST_PICTURES {
        let (pictures, sizes) = (originals.len(), sizes.len());
        bail!("{pictures} pictures in {sizes} sizes are more than {MOST_PICTURES}; give fewer");
    }
    let scaled: Vec<Picture> = originals
        .par_iter()
        .map(|original| scaled(original, sizes).with_context(|| original.name.clone()))
        .collect::<Result<Vec<_>>>()?
        .concat();
    check_bytes(&scaled)?;
    Ok(scaled)
}

fn of_the_demo() -> Result<Vec<Picture>> {
    let picture = |example: embedded::Example| {
        Some(Picture { content: Bytes::from_static(example.content()?), name: example.file.clone() })
    };
    let pictures: Vec<Picture> = embedded::examples()?.into_iter().filter_map(picture).collect();
    if pictures.is_empty() {
        bail!("this build carries no pictures; give files or folders");
    }
    Ok(pictures)
}

fn from_files(paths: &[PathBuf]) -> Result<Vec<Picture>> {
    let files = pictures::find(paths)?;
    if files.len() > MOST_PICTURES {
        bail!("{} pictures are more than {MOST_PICTURES}; give fewer", files.len());
    }
    let mut pictures = Vec::with_capacity(files.len());
    let mut left = MOST_BYTES as u64;
    for file in files {
        let read = || -> std::io::Result<(u64, Vec<u8>)> {
            let bytes = std::fs::metadata(&file)?.len();
            Ok((bytes, if bytes <= left { std::fs::read(&file)? } else { Vec::new() }))
        };
        let (bytes, content) = read().with_context(|| format!("cannot read {}", file.display()))?;
        if bytes > left {
            bail!("the pictures have more than {MOST_BYTES} bytes; give fewer");
        }
        left -= bytes;
        pictures.push(Picture { name: file.display().to_string(), content: content.into() });
    }
    Ok(pictures)
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
        bail!("the pictures have {bytes} bytes, more than {MOST_BYTES}; give fewer or smaller sizes");
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

    #[cfg(feature = "embedded-model")]
    #[test]
    fn every_picture_comes_in_every_size_as_jpeg() {
        let sizes = [Size { width: 64, height: 48 }, Size { width: 33, height: 20 }];
        let originals = load(&[], &[]).unwrap();
        let pictures = load(&[], &sizes).unwrap();
        assert_eq!(pictures.len(), 2 * originals.len());
        for (picture, size) in pictures.iter().zip(sizes.iter().cycle()) {
            let decoded = sed_image::decode(&picture.content, &DecodeLimits::default()).unwrap();
            assert_eq!(decoded.format, sed_image::ImageFormat::Jpeg);
            assert_eq!((decoded.image.width(), decoded.image.height()), (size.width, size.height));
        }
    }
}
