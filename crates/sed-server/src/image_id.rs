//! Ids of pictures, by which a later request can refer to a picture without its bytes.

use data_encoding::HEXLOWER;
use sed_engine::ImageKey;
use sed_image::{ResizeMode, RgbImage};
use sha2::{Digest, Sha256};

const PREFIX: &str = "img-";

/// SHA-256 of the picture's size, resize mode and pixels, whatever file they came from.
pub(crate) fn key_of(picture: &RgbImage, mode: ResizeMode) -> ImageKey {
    let mut hasher = Sha256::new();
    hasher.update(picture.width().to_le_bytes());
    hasher.update(picture.height().to_le_bytes());
    hasher.update([match mode {
        ResizeMode::Direct => 0,
        ResizeMode::TwoStep => 1,
    }]);
    hasher.update(picture.pixels());
    ImageKey(hasher.finalize().into())
}

/// The id of a key: `img-` and 64 hexadecimal digits.
pub(crate) fn text_of(key: &ImageKey) -> String {
    format!("{PREFIX}{}", HEXLOWER.encode(&key.0))
}

/// The key of an id; `None` if the text is no id.
pub(crate) fn parse(text: &str) -> Option<ImageKey> {
    let digits = text.strip_prefix(PREFIX)?;
    HEXLOWER.decode(digits.as_bytes()).ok()?.try_into().ok().map(ImageKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written() {
        let key = ImageKey(std::array::from_fn(|index| (index * 9) as u8));
        let text = text_of(&key);
        assert_eq!(text.len(), 68);
        assert_eq!(parse(&text), Some(key));
        for wrong in
            ["", "img-", "img-00", &text[1..], &text[..67], &text.to_uppercase(), &format!("{text}00")]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn size_mode_and_every_pixel_count() {
        let picture =
            |width, height, pixels: [u8; 18]| RgbImage::new(width, height, pixels.to_vec()).unwrap();
        let first = key_of(&picture(3, 2, [7; 18]), ResizeMode::Direct);
        assert_eq!(first, key_of(&picture(3, 2, [7; 18]), ResizeMode::Direct));
        let mut other = [7; 18];
        other[17] = 8;
        for different in [
            key_of(&picture(2, 3, [7; 18]), ResizeMode::Direct),
            key_of(&picture(3, 2, [7; 18]), ResizeMode::TwoStep),
            key_of(&picture(3, 2, other), ResizeMode::Direct),
        ] {
            assert_ne!(first, different);
        }
    }
}
