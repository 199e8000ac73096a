//! A look at a WebP's chunks before the decoder reads them: it makes room for a metadata chunk of whatever
//! length the chunk claims. A claim beyond the end of the file is refused here.

use super::ImageFormat;
use crate::error::{ImageError, Result};

/// Checks the chunks of the outermost level.
///
/// # Errors
/// [`ImageError::Malformed`] for a chunk that claims more than the file holds.
pub(super) fn check(bytes: &[u8]) -> Result<()> {
    /// "RIFF", the length of the rest, "WEBP".
    const HEADER: usize = 12;
    let mut rest = bytes.get(HEADER..).unwrap_or_default();
    while let Some((header, content)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, length @ ..] = *header;
        let length = u32::from_le_bytes(length) as usize;
        if length > content.len() {
            let name = String::from_utf8_lossy(&[a, b, c, d]).escape_default().to_string();
            let reason = format!("chunk {name} claims {length} bytes, {} are left", content.len());
            return Err(ImageError::Malformed { format: ImageFormat::WebP, reason });
        }
        // Chunks begin at even places; the last one's filler may be missing.
        rest = content.get(length.next_multiple_of(2)..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn chunks_must_lie_within_the_file() {
        let file = |length: u32, content: &[u8]| {
            [b"RIFF\0\0\0\0WEBPEXIF", &length.to_le_bytes()[..], content].concat()
        };
        assert!(check(&file(4, b"abcd")).is_ok());
        assert!(check(&file(3, b"abc")).is_ok());
        assert!(check(&file(3, b"abc\0rest")).is_ok());
        assert!(check(&file(5, b"abcd")).is_err());
        assert!(check(&file(u32::MAX, b"abcd")).is_err());
        assert!(check(b"RIFF").is_ok());
    }
}
