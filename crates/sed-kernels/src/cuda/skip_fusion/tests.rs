use candle_core::DType;

use super::*;
use crate::cuda::testing::{DTYPES, OnDevice, assert_near, assert_within, device, on_device};
use crate::testing::{random, tensor};

const ALL: FusionOutputs = FusionOutputs { features: true, logits: true };
const PAIRS: usize = 3;
const IMAGES: usize = 2;
const IMAGE_OF_PAIR: [usize; PAIRS] = [0, 1, 1];

/// A layer's sizes: those of the maps, and the letters of [`SkipFusionWeights`].
#[derive(Debug, Clone, Copy)]
struct Case {
    h: usize,
    w: usize,
    c: usize,
    image: usize,
    g: usize,
    below: usize,
    out: usize,
    groups: usize,
}

const fn case(
    [h, w]: [usize; 2],
    c: usize,
    image: usize,
    g: usize,
    below: usize,
    out: usize,
    groups: usize,
) -> Case {
    Case { h, w, c, image, g, below, out, groups }
}

/// The three levels of the decoder on tensor cores: maps with several tiles, whole and cut ones.
const LEVELS: [Case; 3] = [
    case([5, 9], 128, 32, 32, 80, 64, 4),
    case([9, 10], 64, 16, 16, 32, 32, 2),
    case([9, 3], 32, 8, 8, 16, 16, 1),
];

fn values(shape: &[usize], seed: u64) -> Tensor {
    tensor(&random(shape.iter().product(), seed), shape)
}

/// A case's weights and inputs in a format.
struct Made {
    weights: Vec<OnDevice>,
    x: OnDevice,
    cost: OnDevice,
    guidance: OnDevice,
    groups: usize,
}

impl Made {
    fn new(case: Case, dtype: DType) -> Self {
        let Case { h, w, c, image, g, below, out, groups } = case;
        let up = c - image;
        let shapes: [&[usize]; 12] = [
            &[c, up, 2, 2],
            &[up],
            &[below, g, 2, 2],
            &[g],
            &[out, c + g, 3, 3],
            &[out],
            &[out],
            &[out, out, 3, 3],
            &[out],
            &[out],
            &[1, out, 3, 3],
            &[1],
        ];
        let weight = |(i, shape): (usize, &&[usize])| {
            on_device(&values(shape, i as u64 + 1), if i == 4 { dtype } else { DType::F32 })
        };
        Self {
            weights: shapes.iter().enumerate().map(weight).collect(),
            x: on_device(&values(&[PAIRS, h, w, c], 20), dtype),
            cost: on_device(&values(&[PAIRS, h, w, below], 21), dtype),
            guidance: on_device(&values(&[IMAGES, 2 * h, 2 * w, image], 22), dtype),
            groups,
        }
    }

    fn weights(&self, of: fn(&OnDevice) -> &Tensor) -> SkipFusionWeights<'_> {
        let one = |i: usize| of(&self.weights[i]);
        let pair = |i: usize| (one(i), one(i + 1));
        SkipFusionWeights {
            up: pair(0),
            cost: pair(2),
            conv0: one(4),
            norm0: pair(5),
            conv1: one(7),
            norm1: pair(8),
            head: pair(10),
        }
    }

    fn layer(&self) -> SkipFusion {
        SkipFusion::new(&self.weights(|t| &t.tensor), self.groups, 1e-5).unwrap()
    }
}

fn images(guides: &Tensor) -> Vec<Tensor> {
    (0..IMAGES).map(|i| guides.narrow(0, i, 1).unwrap()).collect()
}

#[test]
fn equals_the_cpu() {
    let others = [
        case([6, 5], 20, 11, 12, 17, 16, 1),
        case([3, 8], 24, 7, 8, 16, 40, 2),
        case([1, 1], 16, 8, 8, 8, 16, 1),
        case([1, 1], 32, 8, 8, 16, 16, 1),
        case([4, 4], 16, 7, 8, 8, 32, 2),
        // Groups of 32 channels.
        case([2, 3], 64, 16, 16, 32, 32, 1),
    ];
    for case in LEVELS.into_iter().chain(others) {
        for dtype in DTYPES {
            let what = format!("{case:?} {dtype:?}");
            let made = Made::new(case, dtype);
            let cpu = crate::cpu::SkipFusion::new(&made.weights(|t| &t.rounded), case.groups, 1e-5).unwrap();
            let layer = made.layer();
            let want_guides = cpu.guide(&made.guidance.rounded).unwrap();
            let guides = layer.guide(&made.guidance.tensor).unwrap();
            assert_near(&guides, &want_guides, dtype, &what);
            let (want_guides, guides) = (images(&want_guides), images(&guides));
            let (want_guides, guides): (Vec<_>, Vec<_>) =
                (want_guides.iter().collect(), guides.iter().collect());
            let (x, cost) = (&made.x, &made.cost);
            let want = cpu.forward(&x.rounded, &cost.rounded, &want_guides, &IMAGE_OF_PAIR, ALL).unwrap();
            let got = layer.forward(&x.tensor, &cost.tensor, &guides, &IMAGE_OF_PAIR, ALL).unwrap();
            // Two convolutions and two norms: roundings of 16 bit add up.
            let tolerance = match dtype {
                DType::F32 => 5e-4,
                DType::BF16 => 0.03,
                _ => 0.004,
            };
            assert_near(&got.cost_guidance.unwrap(), &want.cost_guidance.unwrap(), dtype, &what);
            assert_within(&got.features.unwrap(), &want.features.unwrap(), tolerance, &what);
            assert_within(&got.logits.unwrap(), &want.logits.unwrap(), tolerance, &what);
        }
    }
}

/// The bits of pairs `first .. first + count` of a result.
fn bits(fused: &Fused, first: usize, count: usize) -> Vec<u32> {
    [&fused.features, &fused.cost_guidance, &fused.logits]
        .into_iter()
        .flatten()
        .flat_map(|x| {
            let x = x.narrow(0, first, count).unwrap().to_device(&Device::Cpu).unwrap();
            x.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
        })
        .map(f32::to_bits)
        .collect()
}

#[test]
fn pairs_that_count_are_those_of_a_batch() {
    let any = case([3, 4], 20, 11, 12, 17, 16, 1);
    for case in [LEVELS[1], LEVELS[2], any] {
        for dtype in DTYPES {
            let made = Made::new(case, dtype);
            let layer = made.layer();
            let (x, cost) = (&made.x.tensor, &made.cost.tensor);
            let guide = layer.guide(&made.guidance.tensor).unwrap();
            let guides = images(&guide);
            let guides: Vec<&Tensor> = guides.iter().collect();
            let batch = layer.forward(x, cost, &guides, &IMAGE_OF_PAIR, ALL).unwrap();
            let second = |x: &Tensor| x.narrow(0, 1, 1).unwrap();
            let alone = layer.forward(&second(x), &second(cost), &guides, &[1], ALL).unwrap();
            assert_eq!(bits(&alone, 0, 1), bits(&batch, 1, 1), "{case:?} {dtype:?}");
            // One pair of each image counts, of a capacity of three.
            let block: Vec<u32> = vec![0, 1, 2, 0, 1, 0, 0, 0, 0, 2];
            let block = Tensor::new(block, &device()).unwrap();
            let pairs = DevicePairs::within(&block, IMAGES, PAIRS).unwrap();
            let got = layer.forward_pairs(x, cost, &guide, &pairs, ALL).unwrap();
            assert_eq!(bits(&got, 0, 2), bits(&batch, 0, 2), "{case:?} {dtype:?}");
            // Each result is the same without the other.
            for outputs in [
                FusionOutputs { features: true, logits: false },
                FusionOutputs { features: false, logits: true },
            ] {
                let part = layer.forward_pairs(x, cost, &guide, &pairs, outputs).unwrap();
                assert_eq!(
                    (part.features.is_some(), part.logits.is_some()),
                    (outputs.features, outputs.logits)
                );
                let whole = Fused {
                    features: got.features.clone().filter(|_| outputs.features),
                    cost_guidance: got.cost_guidance.clone().filter(|_| outputs.features),
                    logits: got.logits.clone().filter(|_| outputs.logits),
                };
                assert_eq!(bits(&part, 0, 2), bits(&whole, 0, 2), "{case:?} {dtype:?} {outputs:?}");
            }
            assert!(layer.forward_pairs(&second(x), cost, &guide, &pairs, ALL).is_err());
        }
    }
}
