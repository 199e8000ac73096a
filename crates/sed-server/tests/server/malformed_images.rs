//! A corpus of damaged image files: each is read or refused with a reason, and the server goes on.

use std::collections::BTreeMap;

use sed_server::Settings;
use tonic::Code;

use crate::{
    harness::{Running, facts, request, request_for},
    images,
};

/// Well mixed bits, the same in every run.
struct Bits(u64);

impl Bits {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }
}

/// Each format cut short, with flipped bits, with zeros, with doubled pieces, and with strange sizes.
fn corpus() -> Vec<Vec<u8>> {
    let mut bits = Bits(7);
    let mut corpus =
        vec![vec![0], vec![0xff; 100], b"RIFF\xff\xff\xff\xffWEBPVP8 ".to_vec(), b"GIF89a".to_vec()];
    for format in images::FORMATS {
        let good = images::encoded(&images::picture(33, 21), format);
        for part in [2, 8, 16, good.len() / 4, good.len() / 2, good.len() - 1] {
            corpus.push(good[..part].to_vec());
        }
        for _ in 0..25 {
            let mut flipped = good.clone();
            for _ in 0..1 + bits.below(6) {
                let at = bits.below(flipped.len());
                flipped[at] ^= 1 << bits.below(8);
            }
            corpus.push(flipped);
        }
        for _ in 0..5 {
            let (start, length) = (bits.below(good.len()), bits.below(good.len() / 2));
            let end = (start + length).min(good.len());
            let mut zeroed = good.clone();
            zeroed[start..end].fill(0);
            corpus.push(zeroed);
            corpus.push([&good[..end], &good[start..]].concat());
        }
    }
    corpus.extend(bombs());
    corpus
}

/// Small files that say they are enormous.
fn bombs() -> Vec<Vec<u8>> {
    let mut png = images::png(4, 4);
    png[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    let mut bmp = images::encoded(&images::picture(4, 4), image::ImageFormat::Bmp);
    bmp[18..26].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f]);
    let mut gif = images::encoded(&images::picture(4, 4), image::ImageFormat::Gif);
    gif[6..10].fill(0xff);
    vec![png, bmp, gif]
}

#[tokio::test]
async fn damaged_files_are_refused_with_a_reason() {
    let server = Running::start(Settings::default()).await;
    let mut refusals = BTreeMap::new();
    for (number, file) in corpus().into_iter().enumerate() {
        let Err(refused) = server.segment(request_for(file, 2)).await else { continue };
        let (code, reason, field) = facts(&refused);
        assert_eq!((code, field.as_str()), (Code::InvalidArgument, "image.encoded"), "{number}: {refused:?}");
        assert!(reason.starts_with("IMAGE_"), "{number}: {refused:?}");
        assert!(refused.message().len() < 600, "{number}: {refused:?}");
        *refusals.entry(reason).or_insert(0) += 1;
    }
    assert!(refusals.values().sum::<u32>() > 60, "{refusals:?}");
    assert_eq!(refusals.len(), 3, "{refusals:?}");
    server.segment(request(2)).await.unwrap();
}

#[tokio::test]
async fn bombs_are_refused_before_they_are_unpacked() {
    let server = Running::start(Settings::default()).await;
    for bomb in bombs() {
        let refused = server.segment(request_for(bomb, 2)).await.unwrap_err();
        assert_eq!(facts(&refused).0, Code::InvalidArgument, "{refused:?}");
    }
    server.segment(request(2)).await.unwrap();
}
