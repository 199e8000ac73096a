//! Speed of the image path: `cargo bench -p sed-image`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test or bench fails by panicking"
)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sed_image::mask::{category_boxes, grey, png, polygon, remove_small_regions, rle};
use sed_image::{
    GreyMap, IndexMap, OverlayCategory, OverlayOptions, ResizeMode, RgbImage, network_input, overlay,
    resize_antialiased,
};

/// A picture with gradients and texture, so that no path is flattered by constant pixels.
fn picture(width: u32, height: u32) -> RgbImage {
    let mut noise = 0x2545_F491_4F6C_DD1Du64;
    let pixels = (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .flat_map(|(x, y)| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            let grain = (noise >> 60) as u32;
            [(x / 16 + grain) as u8, (y / 16 + grain) as u8, ((x + y) / 32 + grain) as u8]
        })
        .collect();
    RgbImage::new(width, height, pixels).expect("the size fits")
}

fn resize(criterion: &mut Criterion) {
    let photo = picture(4000, 3000);
    let mut group = criterion.benchmark_group("12 megapixels");
    group.sample_size(20);
    group.bench_function("antialiased to short side 640", |bench| {
        bench.iter(|| resize_antialiased(black_box(&photo), 853, 640));
    });
    group.bench_function("network input, direct", |bench| {
        bench.iter(|| network_input(black_box(&photo), 768, ResizeMode::Direct));
    });
    group.bench_function("network input, official", |bench| {
        bench.iter(|| network_input(black_box(&photo), 768, ResizeMode::TwoStep));
    });
    group.finish();
}

/// A smooth surface between about -3 and 3, in row-major order.
fn waves(width: u32, height: u32) -> impl Iterator<Item = f32> {
    let wave = |x: f32, y: f32| {
        let slow = (x * 0.003).sin() + (y * 0.0041).cos() + ((x + y) * 0.0063).sin() * 0.7;
        slow + (x * 0.05).sin() * (y * 0.043).cos() * 0.25
    };
    (0..width * height).map(move |i| wave((i % width) as f32, (i / width) as f32))
}

/// A map of rounded regions, some large, some small, as a network gives them.
fn index_map(width: u32, height: u32) -> IndexMap {
    let indices = waves(width, height).map(|wave| ((wave + 3.0) * 4.0) as u16).collect();
    IndexMap::new(width, height, indices).expect("the size fits")
}

/// Scores that change as slowly as interpolated ones.
fn grey_map(width: u32, height: u32) -> GreyMap {
    let values = waves(width, height).map(|wave| ((wave + 3.0) * 42.0) as u8).collect();
    GreyMap::new(width, height, values).expect("the size fits")
}

fn masks(criterion: &mut Criterion) {
    let map = index_map(4618, 3464);
    let mut group = criterion.benchmark_group("16 megapixels");
    group.sample_size(10);
    group.bench_function("index png, 8 bits", |bench| {
        bench.iter(|| png::encode(black_box(&map), png::IndexDepth::Bits8));
    });
    group.bench_function("index png, 16 bits", |bench| {
        bench.iter(|| png::encode(black_box(&map), png::IndexDepth::Bits16));
    });
    let scores = grey_map(4618, 3464);
    group.bench_function("grey png", |bench| bench.iter(|| grey::encode(black_box(&scores))));
    group.bench_function("run lengths", |bench| bench.iter(|| rle::encode(black_box(&map))));
    group.bench_function("polygons", |bench| {
        bench.iter(|| polygon::encode(black_box(&map), &polygon::PolygonOptions::default()));
    });
    group.bench_function("bounding boxes", |bench| bench.iter(|| category_boxes(black_box(&map), 24)));
    group.bench_function("small regions removed", |bench| {
        bench.iter_batched(
            || map.clone(),
            |mut map| remove_small_regions(&mut map, 500),
            criterion::BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn overlays(criterion: &mut Criterion) {
    let (photo, map) = (picture(1280, 960), index_map(1280, 960));
    let names: Vec<String> = (0..24).map(|i| format!("category {i}")).collect();
    let mut pixels = [0; 24];
    map.indices().iter().for_each(|&index| pixels[usize::from(index)] += 1);
    let categories: Vec<_> =
        names.iter().zip(pixels).map(|(name, pixels)| OverlayCategory { name, pixels }).collect();
    criterion.bench_function("overlay of 1280x960", |bench| {
        bench.iter(|| overlay(black_box(&photo), &map, &categories, &OverlayOptions::default()));
    });
}

criterion_group!(benches, resize, masks, overlays);
criterion_main!(benches);
