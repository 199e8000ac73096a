use candle_core::DType;

use super::*;
use crate::cuda::testing::{DTYPES, OnDevice, assert_near, assert_within, on_device};
use crate::testing::{random, tensor};

fn weights<'a>(t: &'a [OnDevice], of: fn(&OnDevice) -> &Tensor) -> SkipFusionWeights<'a> {
    let pair = |i: usize| (of(&t[i]), of(&t[i + 1]));
    SkipFusionWeights {
        up: pair(0),
        cost: pair(2),
        conv0: of(&t[4]),
        norm0: pair(5),
        conv1: of(&t[7]),
        norm1: pair(8),
        head: pair(10),
    }
}

#[test]
fn equals_the_cpu() {
    for (h, w, c, g, below, out, groups) in [
        (6, 5, 20, 12, 17, 16, 1),
        (3, 8, 24, 8, 16, 40, 2),
        (1, 1, 16, 8, 8, 16, 1),
        (4, 4, 16, 8, 8, 32, 2),
    ] {
        let (n, images, up, ig) = (3, 2, c - g, g - 1);
        let shapes: [&[usize]; 12] = [
            &[c, up, 2, 2],
            &[up],
            &[below, g, 2, 2],
            &[g],
            &[out, c + ig, 3, 3],
            &[out],
            &[out],
            &[out, out, 3, 3],
            &[out],
            &[out],
            &[1, out, 3, 3],
            &[1],
        ];
        let values = |shape: &[usize], seed| tensor(&random(shape.iter().product(), seed), shape);
        let (x, cost) = (values(&[n, h, w, c], 20), values(&[n, h, w, below], 21));
        let guidance = values(&[images, 2 * h, 2 * w, ig], 22);
        let image_of_pair = [0, 1, 1];
        for dtype in DTYPES {
            let t: Vec<OnDevice> = shapes
                .iter()
                .enumerate()
                .map(|(i, shape)| {
                    on_device(&values(shape, i as u64 + 1), if i == 4 { dtype } else { DType::F32 })
                })
                .collect();
            let (x, cost, guidance) =
                (on_device(&x, dtype), on_device(&cost, dtype), on_device(&guidance, dtype));
            let cpu = crate::cpu::SkipFusion::new(&weights(&t, |t| &t.rounded), groups, 1e-5).unwrap();
            let layer = SkipFusion::new(&weights(&t, |t| &t.tensor), groups, 1e-5).unwrap();
            let want_guides = cpu.guide(&guidance.rounded).unwrap();
            let guides = layer.guide(&guidance.tensor).unwrap();
            assert_near(&guides, &want_guides, dtype, "guide");
            let split =
                |x: &Tensor| -> Vec<Tensor> { (0..images).map(|i| x.narrow(0, i, 1).unwrap()).collect() };
            let (want_guides, guides) = (split(&want_guides), split(&guides));
            let all = FusionOutputs { features: true, logits: true };
            let want = cpu
                .forward(
                    &x.rounded,
                    &cost.rounded,
                    &want_guides.iter().collect::<Vec<_>>(),
                    &image_of_pair,
                    all,
                )
                .unwrap();
            let got = layer
                .forward(&x.tensor, &cost.tensor, &guides.iter().collect::<Vec<_>>(), &image_of_pair, all)
                .unwrap();
            // Two convolutions and two norms: roundings of 16 bit add up.
            let tolerance = match dtype {
                DType::F32 => 5e-4,
                DType::BF16 => 0.03,
                _ => 0.004,
            };
            let what = format!("{h}×{w}×{c}→{out} {dtype:?}");
            assert_near(&got.cost_guidance.unwrap(), &want.cost_guidance.unwrap(), dtype, &what);
            assert_within(&got.features.unwrap(), &want.features.unwrap(), tolerance, &what);
            assert_within(&got.logits.unwrap(), &want.logits.unwrap(), tolerance, &what);
        }
    }
}
