//! Broken uploads: a file cut anywhere gives an error or, where only what follows the pixels is missing, the
//! whole picture; never a part of it. What stands behind a picture does not matter.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test or bench fails by panicking"
)]

use proptest::prelude::*;
use sed_image::{DecodeLimits, ImageError, decode};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/images");

/// The fixtures that can be decoded and have at most `most` bytes.
fn fixtures(most: usize) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(FIXTURES)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.to_string_lossy().ends_with(".expected.png"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .filter(|(_, bytes)| bytes.len() <= most && decode(bytes, &DecodeLimits::default()).is_ok())
        .collect();
    files.sort();
    files
}

/// Checks one cut: an error of the caller, or the picture of the whole file.
fn check_cut(name: &str, bytes: &[u8], cut: usize) -> Result<(), ImageError> {
    let limits = DecodeLimits::default();
    let part = decode(&bytes[..cut], &limits)?;
    let whole = decode(bytes, &limits).unwrap();
    assert!(part == whole, "{name} cut at {cut} of {} bytes is another picture", bytes.len());
    Ok(())
}

#[test]
fn a_cut_file_is_an_error_or_the_whole_picture() {
    let files = fixtures(2000);
    assert!(files.len() > 25);
    for (name, bytes) in files {
        let mut refused = 0;
        for cut in 1..bytes.len() {
            if let Err(error) = check_cut(&name, &bytes, cut) {
                assert!(error.is_callers_fault(), "{name}: {error}");
                refused += 1;
            }
        }
        // At most the end of the stream, checksums and further frames are dispensable.
        let several = name.starts_with("frames");
        let dispensable = if several { bytes.len() * 2 / 3 } else { 40 };
        assert!(refused + dispensable >= bytes.len() - 1, "{name}: {refused} of {} cuts", bytes.len());
    }
}

#[test]
fn half_a_jpeg_is_malformed() {
    for name in ["large.jpg", "large_progressive.jpg", "large_restarts.jpg"] {
        let bytes = std::fs::read(format!("{FIXTURES}/{name}")).unwrap();
        for share in [5, 50, 90, 99] {
            let error = decode(&bytes[..bytes.len() * share / 100], &DecodeLimits::default()).unwrap_err();
            assert_eq!(error.reason(), "IMAGE_MALFORMED", "{name} {share} %");
            assert_eq!(error.to_string(), "the jpeg image is damaged: the file ends before its picture does");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn large_files_are_cut_anywhere(share in 0.0f64..1.0) {
        for (name, bytes) in fixtures(usize::MAX) {
            let cut = ((bytes.len() as f64 * share) as usize).clamp(1, bytes.len() - 1);
            let _either_is_right = check_cut(&name, &bytes, cut);
        }
    }

    #[test]
    fn junk_behind_a_picture_does_not_matter(junk in prop::collection::vec(any::<u8>(), 1..200)) {
        let limits = DecodeLimits::default();
        for (name, bytes) in fixtures(800) {
            let longer = [bytes.as_slice(), &junk].concat();
            prop_assert!(decode(&longer, &limits).unwrap() == decode(&bytes, &limits).unwrap(), "{}", name);
        }
    }
}

/// A JPEG of 8 by 8 grey pixels with `scans` passes, progressive.
fn many_scans(scans: usize) -> Vec<u8> {
    let mut jpeg = vec![0xff, 0xd8];
    let mut segment = |marker: u8, content: &[u8]| {
        jpeg.extend([0xff, marker]);
        jpeg.extend((content.len() as u16 + 2).to_be_bytes());
        jpeg.extend(content);
    };
    segment(0xdb, &[&[0][..], &[1; 64]].concat());
    segment(0xc2, &[8, 0, 8, 0, 8, 1, 1, 0x11, 0]);
    // One code of one bit: no bits follow, or the end of the block.
    for class in [0x00, 0x10] {
        segment(0xc4, &[&[class, 1][..], &[0; 15], &[0]].concat());
    }
    segment(0xda, &[1, 1, 0, 0, 0, 0]);
    jpeg.push(0x7f);
    for _ in 1..scans {
        jpeg.extend([0xff, 0xda, 0, 8, 1, 1, 0, 1, 63, 0, 0x7f]);
    }
    jpeg.extend([0xff, 0xd9]);
    jpeg
}

#[test]
fn the_passes_of_a_jpeg_are_bounded() {
    for scans in [1, 2, 40] {
        let decoded = decode(&many_scans(scans), &DecodeLimits::default()).unwrap();
        assert_eq!(decoded.image.pixels(), [128; 8 * 8 * 3], "{scans} scans");
    }
    let error = decode(&many_scans(41), &DecodeLimits::default()).unwrap_err();
    assert_eq!(error.to_string(), "the jpeg image is damaged: it has more than 40 scans");
}
