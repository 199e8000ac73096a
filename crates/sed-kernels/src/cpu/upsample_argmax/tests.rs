//! Comparisons with a naive twin: every map interpolated at every pixel, and all of them sorted.

use half::f16;
use proptest::prelude::*;

use super::*;
use crate::testing::random;

/// The scores of every map at an output pixel.
fn interpolated(
    scores: &[f32],
    (n, rows, columns): (usize, usize, usize),
    spec: &ArgmaxSpec<'_>,
    (y, x): (usize, usize),
) -> Vec<f32> {
    let (wide, high) = spec.crop.unwrap_or((columns, rows));
    let (v, h) = (Sample::new(y, spec.height, high), Sample::new(x, spec.width, wide));
    let of_map = |map: usize| {
        let p = |y: usize, x: usize| scores[(map * rows + y) * columns + x];
        let upper = h.low_weight * p(v.low, h.low) + h.high_weight * p(v.low, h.high);
        let lower = h.low_weight * p(v.high, h.low) + h.high_weight * p(v.high, h.high);
        v.low_weight * upper + v.high_weight * lower
    };
    (0..n).map(of_map).collect()
}

fn naive(scores: &[f32], dims: (usize, usize, usize), spec: &ArgmaxSpec<'_>) -> ArgmaxMap {
    let n = dims.0;
    let mut indices = Vec::new();
    let (mut pixels, mut sums) = (vec![0; n], vec![0.0; n]);
    let mut sureness = Sureness::default();
    for pixel in 0..spec.height * spec.width {
        let values = interpolated(scores, dims, spec, (pixel / spec.width, pixel % spec.width));
        let mut order: Vec<usize> = (0..n).collect();
        // Stable: of equal scores the lowest index comes first.
        order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
        let winner = order.first().copied();
        let rival =
            order.iter().copied().find(|&map| Some(spec.labels[map]) != winner.map(|w| spec.labels[w]));
        let rival = rival.filter(|&map| spec.thresholds[map] != f32::INFINITY);
        let score = winner.map_or(0.0, |winner| values[winner]);
        sureness.scores.push(f16::from_f32(score));
        sureness.runner_up.push(rival.map_or(UNLABELLED, |rival| rival as u16));
        sureness.margins.push(f16::from_f32(score - rival.map_or(0.0, |rival| values[rival])));
        let kept = winner.filter(|&winner| score >= spec.thresholds[winner]);
        indices.push(kept.map_or(UNLABELLED, |winner| winner as u16));
        let contrast = winner.filter(|&winner| spec.thresholds[winner] == f32::INFINITY);
        if let Some(counted) = kept.or(contrast) {
            pixels[counted] += 1;
            sums[counted] += f64::from(score);
        }
    }
    let mean = |(sum, &pixels): (&f64, &u32)| if pixels > 0 { (sum / f64::from(pixels)) as f32 } else { 0.0 };
    let mean_scores = sums.iter().zip(&pixels).map(mean).collect();
    ArgmaxMap { indices, pixels, mean_scores, sureness: spec.sureness.then_some(sureness) }
}

/// Compares all instruction sets with the naive twin, with sureness and without.
fn check(
    scores: &[f32],
    dims: (usize, usize, usize),
    spec: ArgmaxSpec<'_>,
) -> std::result::Result<(), TestCaseError> {
    let used = spec.crop.unwrap_or((dims.2, dims.1));
    for sureness in [false, true] {
        let spec = ArgmaxSpec { sureness, ..spec };
        let want = naive(scores, dims, &spec);
        for isa in Isa::available() {
            let got = best_of(scores, dims, used, &spec, isa);
            prop_assert_eq!(&got.indices, &want.indices, "{:?}", isa);
            prop_assert_eq!(&got.pixels, &want.pixels, "{:?}", isa);
            for (a, b) in got.mean_scores.iter().zip(&want.mean_scores) {
                prop_assert!((a - b).abs() < 1e-6);
            }
            prop_assert_eq!(&got.sureness, &want.sureness, "{:?}", isa);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn equals_interpolating_everything(
        seed in 0u64..1000,
        (n, rows, columns) in (0usize..20, 1usize..13, 1usize..40),
        (width, height) in (1usize..90, 1usize..60),
        crop in any::<bool>(),
        steps in prop::sample::select(vec![1e6f32, 4.0]),
        label_steps in prop::collection::vec(0u16..3, 20),
        thresholds in prop::collection::vec(prop::sample::select(vec![0.0, 0.5, 0.97, f32::INFINITY]), 20),
    ) {
        // Smooth maps, as a decoder gives, with some exact zeros, as a sigmoid may underflow to; or few
        // different values, so that there are ties.
        let value = |v: &f32| ((v * 0.6 + 0.5).clamp(0.0, 1.0) * steps).round() / steps;
        let scores: Vec<f32> = random(n * rows * columns, seed).iter().map(value).collect();
        let crop = crop.then_some((columns.div_ceil(3), rows.div_ceil(2)));
        // Rising, some equal, some left out.
        let mut label = 0;
        let labels: Vec<u16> = label_steps[..n].iter().map(|step| { label += step; label }).collect();
        let own: Vec<u16> = (0..n as u16).collect();
        for labels in [&labels, &own] {
            let spec =
                ArgmaxSpec { width, height, crop, labels, thresholds: &thresholds[..n], sureness: true };
            check(&scores, (n, rows, columns), spec)?;
        }
    }
}

/// A picture of regions: all pixels of most registers are alike, and most maps can be left out.
#[test]
fn regions_of_asked_and_of_contrast_words() {
    let (n, rows, columns) = (9, 8, 8);
    let scores: Vec<f32> = (0..n * rows * columns)
        .map(|at| {
            let (map, row, column) = (at / (rows * columns), at / columns % rows, at % columns);
            // Two maps of each quarter are high, one of them a little lower.
            let quarter = row / 4 * 2 + column / 4;
            if map / 2 == quarter { 0.9 - 0.1 * (map % 2) as f32 } else { 0.01 * map as f32 }
        })
        .collect();
    let (phrases, own) = ([0, 0, 1, 1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let mut thresholds = [0.5, 0.5, 0.5, 0.95, 0.5, f32::INFINITY, f32::INFINITY, 0.5, 0.0];
    for _ in 0..2 {
        for labels in [&phrases, &own] {
            let spec = ArgmaxSpec {
                width: 170,
                height: 150,
                crop: None,
                labels,
                thresholds: &thresholds,
                sureness: true,
            };
            check(&scores, (n, rows, columns), spec).unwrap();
        }
        thresholds.reverse();
    }
}
