//! The format of a picture, by its first bytes.

use super::foreign;
use crate::error::{ImageError, Result};
use crate::format::ImageFormat;

impl ImageFormat {
    /// Detects the format from the first bytes of the content.
    ///
    /// # Errors
    /// [`ImageError::Empty`], [`ImageError::UnknownFormat`], which names what the content seems to be.
    pub fn of_content(bytes: &[u8]) -> Result<Self> {
        match bytes {
            [] => Err(ImageError::Empty),
            [0xff, 0xd8, 0xff, ..] => Ok(Self::Jpeg),
            [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Ok(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(Self::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Self::Gif),
            [b'B', b'M', ..] => Ok(Self::Bmp),
            [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] => Ok(Self::Tiff),
            _ => {
                let (found, advice) = foreign::describe(bytes);
                Err(ImageError::UnknownFormat { found, advice })
            }
        }
    }
}
