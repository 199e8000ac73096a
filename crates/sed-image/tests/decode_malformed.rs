//! Damaged, lying and random images: each gives a typed error or a sound picture, within bounded memory.
//!
//! The corpus is made from the fixtures by a fixed generator, so a failure can be repeated.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test or bench fails by panicking"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use peak_alloc::PeakAlloc;
use sed_image::{DecodeLimits, ImageError, decode};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const LIMITS: DecodeLimits = DecodeLimits {
    max_encoded_bytes: 1 << 20,
    max_pixels: 1_000_000,
    max_side: 4096,
    max_alloc_bytes: 8 << 20,
};

/// A small generator of numbers (xorshift), the same on every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

fn originals() -> Vec<(String, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/images");
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.to_string_lossy().ends_with(".expected.png"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    assert!(files.len() > 30);
    files
}

/// Decodes `bytes` and checks the rules; a broken one fails the test with `name`.
fn check(name: &str, bytes: &[u8]) -> Option<ImageError> {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = catch_unwind(AssertUnwindSafe(|| decode(bytes, &LIMITS)));
    let used = MEMORY.peak_usage().saturating_sub(before);
    // Lossy WebP claims up to 16 MiB of coded pixels in its own stream, zeroed memory that is never touched.
    let claimed = if bytes.starts_with(b"RIFF") { 16 << 20 } else { 1 << 20 };
    assert!(used <= LIMITS.max_alloc_bytes as usize + claimed, "{name}: {used} bytes at the peak");
    match result.unwrap_or_else(|_| panic!("{name}: decode panicked on {bytes:02x?}")) {
        Ok(decoded) => {
            let (width, height) = (decoded.image.width() as usize, decoded.image.height() as usize);
            assert_eq!(decoded.image.pixels().len(), width * height * 3, "{name}");
            assert!(width * height <= LIMITS.max_pixels as usize, "{name}");
            None
        }
        Err(error) => {
            assert!(error.is_callers_fault() && error.to_string().len() < 500, "{name}: {error}");
            Some(error)
        }
    }
}

// One test: the memory count is the whole process's.
#[test]
fn every_damage_is_an_error_or_a_picture() {
    let rounds = std::env::var("SED_IMAGE_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    for (name, bytes) in originals() {
        for cut in (0..bytes.len()).step_by(1 + bytes.len() / 100) {
            check(&format!("{name} cut at {cut}"), &bytes[..cut]);
        }
        for round in 0..rounds {
            let mut damaged = bytes.clone();
            for _ in 0..=numbers.below(8) {
                // Half of the damage goes into the header, where it tells the most lies.
                let reach = if numbers.below(2) == 0 { damaged.len().min(64) } else { damaged.len() };
                let at = numbers.below(reach);
                match numbers.below(4) {
                    0 => damaged[at] ^= 1 << numbers.below(8),
                    1 => damaged[at] = [0, 1, 0x7f, 0x80, 0xff][numbers.below(5)],
                    2 => damaged[at] = numbers.below(256) as u8,
                    _ => {
                        let length = numbers.below(16).min(damaged.len() - at);
                        damaged.drain(at..at + length);
                        if damaged.is_empty() {
                            break;
                        }
                    }
                }
            }
            mend_png(&mut damaged);
            check(&format!("{name} round {round}"), &damaged);
        }
    }
    for magic in [
        &b"\xff\xd8\xff"[..],
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"BM",
        b"II*\0",
        b"MM\0*",
        b"RIFF\x40\0\0\0WEBPVP8 ",
    ] {
        for round in 0..rounds {
            let mut bytes = magic.to_vec();
            let length = numbers.below(200);
            bytes.extend((0..length).map(|_| numbers.below(256) as u8));
            check(&format!("random after {magic:02x?}, round {round}"), &bytes);
        }
    }
    lies_about_the_size_are_told();
    a_panic_of_a_decoder_is_an_error();
}

/// A 1x1 palette image whose palette has one byte: found by a long run of the corpus above.
fn a_panic_of_a_decoder_is_an_error() {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let stored = [0x78, 1, 1, 2, 0, 0xfd, 0xff, 0, 0, 0, 2, 0, 1];
    for (name, content) in [
        (b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 3, 0, 0, 0][..]),
        (b"PLTE", &[7]),
        (b"tRNS", &[9]),
        (b"IDAT", &stored),
        (b"IEND", &[]),
    ] {
        png.extend((content.len() as u32).to_be_bytes());
        png.extend(name);
        png.extend(content);
        png.extend([0; 4]);
    }
    mend_png(&mut png);
    assert_eq!(check("short palette", &png).unwrap().reason(), "IMAGE_MALFORMED");
}

/// Corrects the checksums of PNG chunks, so that damage reaches the code behind them.
fn mend_png(bytes: &mut [u8]) {
    let mut at = 8;
    while bytes.starts_with(b"\x89PNG") && at + 12 <= bytes.len() {
        let length = u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
        let Some(end) = (at + 8).checked_add(length).filter(|end| end + 4 <= bytes.len()) else { return };
        let sum = crc32(&bytes[at + 4..end]);
        bytes[end..end + 4].copy_from_slice(&sum.to_be_bytes());
        at = end + 4;
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(
            sum ^ u32::from(byte),
            |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 },
        )
    })
}

fn lies_about_the_size_are_told() {
    let file = |name: &str| originals().into_iter().find(|(other, _)| other == name).unwrap().1;
    let mut png = file("one_bit.png");
    for (width, height, reason) in [
        (u32::MAX >> 1, u32::MAX >> 1, "IMAGE_SIDE_TOO_LONG"),
        (4097, 1, "IMAGE_SIDE_TOO_LONG"),
        (4000, 4000, "IMAGE_TOO_MANY_PIXELS"),
        (0, 5, "IMAGE_ZERO_SIZE"),
    ] {
        png[16..20].copy_from_slice(&width.to_be_bytes());
        png[20..24].copy_from_slice(&height.to_be_bytes());
        mend_png(&mut png);
        assert_eq!(check("png size", &png).unwrap().reason(), reason, "{width}x{height}");
    }
    let mut gif = file("palette.gif");
    gif[6..10].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    assert_eq!(check("gif size", &gif).unwrap().reason(), "IMAGE_SIDE_TOO_LONG");
    let mut bmp = file("rgb.bmp");
    bmp[18..26].copy_from_slice(&[0, 8, 0, 0, 0, 8, 0, 0]);
    assert_eq!(check("bmp size", &bmp).unwrap().reason(), "IMAGE_TOO_MANY_PIXELS");
    let mut jpeg = file("rgb.jpg");
    let frame = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    assert_eq!(check("jpeg size", &jpeg).unwrap().reason(), "IMAGE_SIDE_TOO_LONG");

    assert_eq!(check("empty", &[]).unwrap().reason(), "IMAGE_EMPTY");
    assert_eq!(check("text", b"hello, world, this is no image").unwrap().reason(), "IMAGE_FORMAT_UNKNOWN");
    assert_eq!(check("zeros", &[0; 5000]).unwrap().reason(), "IMAGE_FORMAT_UNKNOWN");
    assert_eq!(check("long", &vec![0xff; (1 << 20) + 1]).unwrap().reason(), "IMAGE_TOO_MANY_BYTES");
    let tight = DecodeLimits { max_alloc_bytes: 2000, ..LIMITS };
    assert_eq!(decode(&file("rgb.jpg"), &tight).unwrap_err().reason(), "IMAGE_TOO_MUCH_MEMORY");
}
