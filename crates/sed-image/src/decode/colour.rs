//! A decoder's pixel layout to packed 8-bit RGB, with the reference reader's rules.

use image::{ColorType, ExtendedColorType};

use super::ImageFormat;
use crate::error::{ImageError, Result};

/// The layout of a decoder's pixels, which decides how they become RGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// 8 bits, `channels` a pixel: 1 and 2 are grey (and alpha), 3 and 4 RGB (and alpha).
    Bits8 { channels: usize },
    /// 16 bits native endian, likewise; the high byte is kept.
    Bits16 { channels: usize },
    /// 16-bit grey alone: clipped to 255 instead. The reference's reader (Pillow) holds such a picture in
    /// a 16-bit mode, and its conversion to RGB clips.
    ClippedGrey16 { channels: usize },
}

impl Layout {
    /// Chooses the layout, or refuses what has no faithful 8-bit form.
    pub(super) fn of(format: ImageFormat, decoded: ColorType, stored: ExtendedColorType) -> Result<Self> {
        // The stored type tells plain 16-bit grey (with a transparent value, perhaps) from grey and alpha.
        let clipped = stored == ExtendedColorType::L16;
        let unsupported = |what: &str| ImageError::UnsupportedVariant { format, what: what.to_owned() };
        Ok(match decoded {
            ColorType::L8 => Self::Bits8 { channels: 1 },
            ColorType::La8 => Self::Bits8 { channels: 2 },
            ColorType::Rgb8 => Self::Bits8 { channels: 3 },
            ColorType::Rgba8 => Self::Bits8 { channels: 4 },
            ColorType::L16 => Self::ClippedGrey16 { channels: 1 },
            ColorType::La16 if clipped => Self::ClippedGrey16 { channels: 2 },
            ColorType::La16 => Self::Bits16 { channels: 2 },
            ColorType::Rgb16 => Self::Bits16 { channels: 3 },
            ColorType::Rgba16 => Self::Bits16 { channels: 4 },
            ColorType::Rgb32F | ColorType::Rgba32F => {
                return Err(unsupported("32-bit floating-point colour"));
            }
            _ => return Err(unsupported(&format!("{stored:?} colour"))),
        })
    }

    /// Converts a decoder's buffer; packed RGB is handed through.
    pub(super) fn into_rgb(self, buffer: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Bits8 { channels: 3 } => buffer,
            Self::Bits8 { channels: 1 } => spread(&buffer, 1, |pixel| [pixel[0]; 3]),
            Self::Bits8 { channels: 2 } => spread(&buffer, 2, |pixel| [pixel[0]; 3]),
            Self::Bits8 { channels } => spread(&buffer, channels, |pixel| [pixel[0], pixel[1], pixel[2]]),
            Self::Bits16 { channels: 2 } => spread(&buffer, 4, |pixel| [high(pixel, 0); 3]),
            Self::Bits16 { channels } => {
                spread(&buffer, channels * 2, |pixel| [high(pixel, 0), high(pixel, 1), high(pixel, 2)])
            }
            Self::ClippedGrey16 { channels } => spread(&buffer, channels * 2, |pixel| {
                [u8::try_from(u16::from_ne_bytes([pixel[0], pixel[1]])).unwrap_or(u8::MAX); 3]
            }),
        }
    }
}

/// The high byte of 16-bit channel `channel`.
fn high(pixel: &[u8], channel: usize) -> u8 {
    (u16::from_ne_bytes([pixel[channel * 2], pixel[channel * 2 + 1]]) >> 8) as u8
}

fn spread(buffer: &[u8], pixel_bytes: usize, rgb: impl Fn(&[u8]) -> [u8; 3]) -> Vec<u8> {
    let mut out = vec![0u8; buffer.len() / pixel_bytes * 3];
    for (to, from) in out.chunks_exact_mut(3).zip(buffer.chunks_exact(pixel_bytes)) {
        to.copy_from_slice(&rgb(from));
    }
    out
}
