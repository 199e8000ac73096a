//! Speed of the image path: `cargo bench -p sed-image`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sed_image::{ResizeMode, RgbImage, network_input, resize_antialiased};

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
        bench.iter(|| network_input(black_box(&photo), 768, ResizeMode::Official));
    });
    group.finish();
}

criterion_group!(benches, resize);
criterion_main!(benches);
