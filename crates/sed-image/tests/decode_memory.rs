//! The memory that a header announces is never less than what decoding takes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test or bench fails by panicking"
)]

use std::io::Cursor;

use image::{ExtendedColorType, ImageBuffer, ImageEncoder, codecs};
use peak_alloc::PeakAlloc;
use sed_image::{DecodeLimits, ImageError, decode, probe};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/images");

/// Every fixture, and larger pictures of every format that can be written here.
fn files() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(FIXTURES)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.to_string_lossy().ends_with(".expected.png"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    let (width, height) = (700u32, 500u32);
    // Noise: nothing is compressed well, so buffers of compressed bytes count.
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let bytes: Vec<u8> = (0..width * height * 8).map(|_| noise()).collect();
    let pixels = |channels: u32| &bytes[..(width * height * channels) as usize];
    for colour in
        [ExtendedColorType::L8, ExtendedColorType::Rgb8, ExtendedColorType::Rgba8, ExtendedColorType::Rgba16]
    {
        let data = pixels(
            u32::from(colour.channel_count())
                * u32::from(colour.bits_per_pixel() / colour.channel_count() as u16 / 8),
        );
        let mut file = Vec::new();
        codecs::png::PngEncoder::new(&mut file).write_image(data, width, height, colour).unwrap();
        files.push((format!("{colour:?}.png"), file));
        if colour != ExtendedColorType::Rgba16 {
            let mut file = Vec::new();
            codecs::bmp::BmpEncoder::new(&mut file).write_image(data, width, height, colour).unwrap();
            files.push((format!("{colour:?}.bmp"), file));
            let mut file = Vec::new();
            codecs::webp::WebPEncoder::new_lossless(&mut file)
                .write_image(data, width, height, colour)
                .unwrap();
            files.push((format!("{colour:?}.webp"), file));
        }
        let mut file = Cursor::new(Vec::new());
        codecs::tiff::TiffEncoder::new(&mut file).write_image(data, width, height, colour).unwrap();
        files.push((format!("{colour:?}.tif"), file.into_inner()));
    }
    let mut file = Vec::new();
    codecs::jpeg::JpegEncoder::new_with_quality(&mut file, 95)
        .write_image(pixels(3), width, height, ExtendedColorType::Rgb8)
        .unwrap();
    files.push(("noise.jpg".to_owned(), file));
    let mut file = Vec::new();
    let frame = ImageBuffer::from_raw(width, height, pixels(4).to_vec()).unwrap();
    codecs::gif::GifEncoder::new_with_speed(&mut file, 30).encode_frame(image::Frame::new(frame)).unwrap();
    files.push(("noise.gif".to_owned(), file));
    files
}

// One test: the memory count is the whole process's.
#[test]
fn decoding_takes_no_more_than_the_header_announces() {
    let limits = DecodeLimits::default();
    for (name, bytes) in files() {
        // The thread pool's own memory does not count.
        let _warm = decode(&bytes, &limits);
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let header = probe(&bytes, &limits);
        let probing = MEMORY.peak_usage().saturating_sub(before);
        assert!(probing <= 1 << 16, "{name}: reading the header took {probing} bytes");
        let Ok(header) = header else {
            assert!(
                ["float.tif", "int32.tif", "palette.tif", "jpeg.tif", "frame_outside.gif"]
                    .contains(&name.as_str()),
                "{name}: {header:?}"
            );
            continue;
        };
        MEMORY.reset_peak_usage();
        let decoded = decode(&bytes, &limits).unwrap();
        let taken = MEMORY.peak_usage().saturating_sub(before) as u64;
        assert!(
            taken <= header.decode_bytes,
            "{name}: took {taken} bytes, announced {}",
            header.decode_bytes
        );
        // The bound is of use only where it is not far above.
        let pixels = u64::from(header.width) * u64::from(header.height);
        // Code tables of a lossless WebP may be large, and nothing in the header tells.
        let for_byte = if bytes.windows(4).any(|name| name == b"VP8L") { 440 } else { 40 };
        let most = 24 * pixels + for_byte * bytes.len() as u64 + (2 << 20);
        assert!(header.decode_bytes <= most, "{name}: announced {} bytes", header.decode_bytes);
        let (width, height) = (decoded.image.width(), decoded.image.height());
        let upright = if decoded.orientation.to_exif() > 4 { (height, width) } else { (width, height) };
        assert_eq!(
            (header.width, header.height, header.format),
            (upright.0, upright.1, decoded.format),
            "{name}"
        );

        let exact = DecodeLimits { max_alloc_bytes: header.decode_bytes, ..limits };
        assert!(decode(&bytes, &exact).is_ok(), "{name}");
        let tight = DecodeLimits { max_alloc_bytes: header.decode_bytes - 1, ..limits };
        let error = probe(&bytes, &tight).unwrap_err();
        assert!(matches!(error, ImageError::TooMuchMemory { .. }), "{name}: {error}");
    }
    compressed_metadata_is_not_unpacked();
}

/// A PNG of a few pixels whose colour profile and text unpack to 512 MiB each.
fn compressed_metadata_is_not_unpacked() {
    const UNPACKED: usize = 512 << 20;
    let mut content = b"icc\0\0".to_vec();
    content.extend(zeros_packed(UNPACKED));
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |name: &[u8; 4], content: &[u8]| {
        png.extend((content.len() as u32).to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(name);
        crc.update(content);
        png.extend(name);
        png.extend(content);
        png.extend(crc.sum().to_be_bytes());
    };
    chunk(b"IHDR", &[0, 0, 0, 16, 0, 0, 0, 16, 8, 0, 0, 0, 0]);
    chunk(b"iCCP", &content);
    chunk(b"zTXt", &content);
    chunk(b"IDAT", &zeros_packed(16 * 17));
    chunk(b"IEND", &[]);
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let decoded = decode(&png, &DecodeLimits::default()).unwrap();
    let taken = MEMORY.peak_usage().saturating_sub(before);
    assert_eq!(decoded.image.pixels(), [0; 16 * 16 * 3]);
    assert!(taken < 2 << 20, "{taken} bytes for a picture of 256 pixels");
}

fn zeros_packed(length: usize) -> Vec<u8> {
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), length as u64), &mut packed).unwrap();
    packed.finish().unwrap()
}
