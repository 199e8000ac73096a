//! Content that is no picture of a format we read, but is recognised: what it is, and what to send instead.

const CONVERT: &str = "convert it to jpeg or png";
const SEND: &str = "send the bytes of a jpeg, png, webp, gif, bmp or tiff file";
const DECODE: &str = "decode it and send the bytes that it stands for";

/// Starts of files.
const MAGIC: &[(&[u8], &str, &str)] = &[
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "a JPEG XL picture", CONVERT),
    (b"\xff\x0a", "a JPEG XL picture", CONVERT),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "a JPEG 2000 picture", CONVERT),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture", CONVERT),
    (b"%PDF", "a PDF document", "render its page to jpeg or png"),
    (b"%!PS", "a PostScript document", "render its page to jpeg or png"),
    (b"8BPS", "a Photoshop document", CONVERT),
    (b"\x00\x00\x01\x00", "an icon file", CONVERT),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture", CONVERT),
    (b"#?RADIANCE", "a Radiance HDR picture", CONVERT),
    (b"DDS ", "a DirectDraw surface", CONVERT),
    (b"qoif", "a QOI picture", CONVERT),
    (b"\x93NUMPY", "a NumPy array", "send raw pixels, or encode it as png"),
    (b"PK\x03\x04", "a ZIP archive", "unpack it and send one picture"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it and send the picture"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it and send the picture"),
    (b"\x1a\x45\xdf\xa3", "a Matroska or WebM video", "send one of its frames as jpeg or png"),
    (b"FUJIFILMCCD-RAW", "a raw photograph", CONVERT),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run `git lfs pull`"),
];

/// Brands of the container that HEIC, AVIF and videos share.
const BRANDS: &[(&[u8], &str, &str)] = &[
    (b"hei", "a HEIC picture", CONVERT),
    (b"hev", "a HEIC picture", CONVERT),
    (b"mif1", "a HEIF picture", CONVERT),
    (b"msf1", "a HEIF picture", CONVERT),
    (b"avif", "an AVIF picture", CONVERT),
    (b"avis", "an AVIF picture", CONVERT),
    (b"crx ", "a raw photograph", CONVERT),
];

/// First characters of the formats that we read, in base64.
const BASE64: &[&[u8]] =
    &[b"/9j/", b"iVBORw0KGgo", b"R0lGOD", b"UklGR", b"Qk", b"SUkq", b"TU0AK", b"SUkrA", b"TU0AKw"];

/// Describes content: "the image is {found}: {advice}".
pub(super) fn describe(bytes: &[u8]) -> (&'static str, &'static str) {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    if let Some(&(_, found, advice)) = MAGIC.iter().find(|(magic, ..)| starts(magic)) {
        return (found, advice);
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        let brand = bytes.get(8..12).unwrap_or_default();
        let known = BRANDS.iter().find(|(start, ..)| brand.starts_with(start));
        return known.map_or(
            ("a video or a file of its container", "send one frame as jpeg or png"),
            |&(_, found, advice)| (found, advice),
        );
    }
    describe_text(bytes).unwrap_or(("not of a format that is recognised from its content", SEND))
}

/// Describes what begins as text.
fn describe_text(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    const LOOKED_AT: usize = 512;
    let head = &bytes[..bytes.len().min(LOOKED_AT)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The look may end within a character.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    if text.is_empty() || text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return None;
    }
    let text = text.trim_start_matches('\u{feff}').trim_start().trim_start_matches(['"', '\'']);
    let lower = text.to_ascii_lowercase();
    let starts = |start: &str| lower.starts_with(start);
    Some(if starts("data:") {
        ("a data URL", DECODE)
    } else if starts("http://") || starts("https://") || starts("s3://") || starts("file://") {
        ("a URL", "download it and send the bytes of the file")
    } else if lower.contains("<svg") {
        ("an SVG drawing", "render it to png")
    } else if starts("<!doctype") || starts("<html") {
        ("a web page", SEND)
    } else if is_base64(text.as_bytes()) {
        ("base64 text", DECODE)
    } else {
        ("text", SEND)
    })
}

/// Reports whether a text is base64 of a picture that we read, or long and of nothing but its alphabet.
fn is_base64(text: &[u8]) -> bool {
    const LEAST: usize = 64;
    let mut content = text.iter().filter(|byte| !byte.is_ascii_whitespace()).peekable();
    let alphabet = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+/-_=\"'".contains(byte);
    content.peek().is_some()
        && content.all(|byte| alphabet(&byte))
        && (text.len() >= LEAST || BASE64.iter().any(|start| text.starts_with(start)))
}

#[cfg(test)]
mod tests {
    use super::describe;

    #[test]
    fn what_people_send_is_named() {
        for (content, expected) in [
            (&b"\0\0\0\x18ftypheic\0\0\0\0"[..], "a HEIC picture"),
            (b"\0\0\0\x18ftypmif1\0\0\0\0", "a HEIF picture"),
            (b"\0\0\0\x18ftypavif\0\0\0\0", "an AVIF picture"),
            (b"\0\0\0\x18ftypisom\0\0\0\0", "a video or a file of its container"),
            (b"\xff\x0a\0\0", "a JPEG XL picture"),
            (b"%PDF-1.7", "a PDF document"),
            (b"<?xml version=\"1.0\"?>\n<svg width='1'/>", "an SVG drawing"),
            (b"<!DOCTYPE html><html>", "a web page"),
            (b"/9j/4AAQSkZJRgABAQ==", "base64 text"),
            (b"\"iVBORw0KGgoAAAANSUhEUg\"", "base64 text"),
            (b"data:image/png;base64,iVBORw0KGgo", "a data URL"),
            (b"https://example.org/cat.jpg", "a URL"),
            (b"/home/me/cat.jpg", "text"),
            ("né à Orléans".as_bytes(), "text"),
            (b"PK\x03\x04\x14", "a ZIP archive"),
            (&[0; 64], "not of a format that is recognised from its content"),
            (&[0x80, 0xfe, 1, 2], "not of a format that is recognised from its content"),
        ] {
            assert_eq!(describe(content).0, expected, "{}", String::from_utf8_lossy(content));
        }
    }
}
