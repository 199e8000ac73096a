//! Every format and colour layout against the reference's reader (Pillow); see `fixtures/make.py`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test or bench fails by panicking"
)]

use sed_image::{DecodeLimits, Decoded, ImageError, ImageFormat, Orientation, decode};

const IMAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/images");

fn read(name: &str) -> Result<Decoded, ImageError> {
    decode(&std::fs::read(format!("{IMAGES}/{name}")).unwrap(), &DecodeLimits::default())
}

/// Largest and mean difference of a picture to what the reference's reader makes of it.
fn difference(name: &str) -> (u8, f64) {
    let ours = read(name).unwrap().image;
    let theirs = read(&format!("{name}.expected.png")).unwrap().image;
    assert_eq!((ours.width(), ours.height()), (theirs.width(), theirs.height()), "{name}");
    let pairs = || ours.pixels().iter().zip(theirs.pixels()).map(|(a, b)| a.abs_diff(*b));
    let sum: f64 = pairs().map(f64::from).sum();
    (pairs().max().unwrap(), sum / ours.pixels().len() as f64)
}

#[test]
fn lossless_layouts_are_equal() {
    for name in [
        "rgb.webp",
        "rgba.webp",
        "rgb.bmp",
        "palette.bmp",
        "one_bit.bmp",
        "palette.gif",
        "frames.gif",
        "transparent.gif",
        "rgb.tif",
        "lzw.tif",
        "deflate.tif",
        "grey.tif",
        "grey16.tif",
        "one_bit.tif",
        "rgba.tif",
        "one_bit.png",
        "palette4.png",
        "transparent.png",
        "exif6.webp",
        "cmyk.tif",
    ] {
        assert_eq!(difference(name), (0, 0.0), "{name}");
    }
}

#[test]
fn every_exif_orientation_is_applied() {
    for value in 1..=8u8 {
        let name = format!("exif{value}.png");
        assert_eq!(read(&name).unwrap().orientation.to_exif(), value);
        assert_eq!(difference(&name), (0, 0.0), "{name}");
    }
    assert_eq!(read("exif6.jpg").unwrap().orientation, Orientation::Rotate90);
    assert_eq!(read("rgb.jpg").unwrap().orientation, Orientation::NoTransforms);
}

#[test]
fn lossy_formats_are_close() {
    // Decoders round the inverse transform and the chroma upsampling in their own ways.
    for (name, most, mean) in [
        ("rgb.jpg", 4, 0.8),
        ("rgb420.jpg", 12, 1.5),
        ("progressive.jpg", 12, 1.5),
        ("grey.jpg", 2, 0.3),
        ("exif6.jpg", 4, 0.8),
        ("lossy.webp", 8, 1.0),
        ("cmyk.jpg", 6, 1.5),
    ] {
        let found = difference(name);
        assert!(found.0 <= most && found.1 <= mean, "{name}: {found:?}");
    }
}

#[test]
fn what_has_no_faithful_8_bit_form_is_refused_in_one_sentence() {
    for (name, what) in [
        ("float.tif", "signed or floating-point samples"),
        ("int32.tif", "signed or floating-point samples"),
        ("palette.tif", "palette colours"),
        ("jpeg.tif", "jpeg data"),
    ] {
        let error = read(name).unwrap_err();
        assert_eq!(error.reason(), "IMAGE_VARIANT_UNSUPPORTED", "{name}: {error}");
        let message = format!("tiff with {what} is not supported: convert the image to 8-bit rgb");
        assert_eq!(error.to_string(), message, "{name}");
    }
}

/// Found by fuzzing: the decoder panicked, because it enlarges every component to the grid of the first.
#[test]
fn chroma_finer_than_luma_is_refused() {
    let mut file = std::fs::read(format!("{IMAGES}/rgb.jpg")).unwrap();
    let frame = file.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    let sampling_of_the_last = frame + 2 + 2 + 6 + 3 * 2 + 1;
    assert_eq!(file[sampling_of_the_last], 0x11);
    file[sampling_of_the_last] = 0x41;
    let error = decode(&file, &DecodeLimits::default()).unwrap_err();
    assert_eq!(error.reason(), "IMAGE_VARIANT_UNSUPPORTED");
    assert_eq!(
        error.to_string(),
        "jpeg with a component sampled more finely than the first one is not supported: convert the image to \
         8-bit rgb"
    );
}

#[test]
fn a_frame_beyond_its_screen_is_refused() {
    let error = read("frame_outside.gif").unwrap_err();
    assert_eq!(error.reason(), "IMAGE_MALFORMED");
    assert_eq!(
        error.to_string(),
        "the gif image is damaged: its first frame, 36x24 at 36,0, reaches beyond its screen of 36x24"
    );
}

#[test]
fn other_content_is_named() {
    let message = |bytes: &[u8]| decode(bytes, &DecodeLimits::default()).unwrap_err().to_string();
    assert_eq!(
        message(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
        "the image is a HEIC picture: convert it to jpeg or png"
    );
    assert_eq!(
        message(b"/9j/4AAQSkZJRgABAQAAAQABAAD/2wBD"),
        "the image is base64 text: decode it and send the bytes that it stands for"
    );
}

#[test]
fn the_content_tells_the_format() {
    for (name, format) in [
        ("rgb.jpg", ImageFormat::Jpeg),
        ("one_bit.png", ImageFormat::Png),
        ("rgb.webp", ImageFormat::WebP),
        ("palette.gif", ImageFormat::Gif),
        ("rgb.bmp", ImageFormat::Bmp),
        ("rgb.tif", ImageFormat::Tiff),
    ] {
        assert_eq!(read(name).unwrap().format, format, "{name}");
    }
}
