//! The public layers and operations choose the kernels for CUDA: the same calls, on the CPU and emulated. In a
//! process of its own, because the switch is the process's.

#![cfg(feature = "cuda-emulator")]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use candle_core::{Device, Result, Tensor};
use sed_kernels::{
    Activation, ArgmaxSpec, AttentionSums, ClassAttention, ClassAttentionWeights, Conv2d, ConvNextBlock,
    ConvNextWeights, DepthwiseConv, FusionOutputs, LayerNorm, Linear, PatchConv, PatchConvWeights,
    PrefixChains, ScalarConv, SkipFusion, SkipFusionWeights, cost_map, emulate_cuda, gather_rows,
    normalise_rows, prefix_attention, sigmoid, top_k_union, upsample_argmax,
};

/// Values in [-0.5, 0.5), the same for every call with this shape and seed.
fn values(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed;
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        })
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Runs `f` on the CPU and emulated and compares the results.
fn check(what: &str, f: impl Fn() -> Result<Vec<Tensor>>) {
    emulate_cuda(false);
    let want = f().unwrap_or_else(|error| panic!("{what}: {error}"));
    emulate_cuda(true);
    let got = f().unwrap_or_else(|error| panic!("{what}, emulated: {error}"));
    emulate_cuda(false);
    assert_eq!(got.len(), want.len());
    let flat = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (got, want) in got.iter().zip(&want) {
        assert_eq!(got.dims(), want.dims(), "{what}");
        for (g, w) in flat(got).iter().zip(flat(want)) {
            assert!((g - w).abs() <= 1e-3 * w.abs().max(1.0), "{what}: {g} instead of {w}");
        }
    }
}

#[test]
fn layers_and_operations_go_to_the_kernels_for_cuda() {
    layers();
    attention();
    fusion();
    operations();
    // What only the kernels for CUDA refuse shows that it was they that ran.
    let wide = (values(&[4, 1, 11, 11], 1), values(&[4], 2));
    assert!(DepthwiseConv::new(&wide.0, &wide.1).is_ok());
    emulate_cuda(true);
    assert!(DepthwiseConv::new(&wide.0, &wide.1).unwrap_err().to_string().contains("size 11"));
    emulate_cuda(false);
}

fn layers() {
    let (c, x) = (12, values(&[2, 4, 6, 12], 1));
    let v = |seed| values(&[c], seed);
    let norm = || LayerNorm::new(&v(2), &v(3), 1e-6);
    check("layer norm", || Ok(vec![norm()?.forward(&x)?]));
    let linear = || Linear::new(&values(&[5, c], 4), Some(&values(&[5], 5)));
    check("linear", || Ok(vec![linear()?.forward(&x, Activation::Gelu)?]));
    let conv = || Conv2d::new(&values(&[7, c, 3, 3], 6), Some(&values(&[7], 7)));
    check("convolution", || Ok(vec![conv()?.forward(&x, Activation::Relu)?]));
    let depthwise = values(&[c, 1, 7, 7], 8);
    check("depthwise", || Ok(vec![DepthwiseConv::new(&depthwise, &v(9))?.forward(&x)?]));
    let patch = values(&[5, c, 2, 2], 10);
    check("patch convolution", || {
        let weights = PatchConvWeights {
            weight: &patch,
            bias: &values(&[5], 11),
            norm_before: Some((&v(2), &v(3))),
            norm_after: Some((&values(&[5], 12), &values(&[5], 13))),
        };
        Ok(vec![PatchConv::new(&weights, 1e-6)?.forward(&x)?])
    });
    let (inner, head) = (values(&[4, c, 3, 3], 14), values(&[1, 4, 3, 3], 15));
    check("scalar convolution", || {
        let conv = ScalarConv::composed(&inner, &values(&[4], 16), &head, &values(&[1], 17))?;
        Ok(vec![conv.forward(&x)?])
    });
    let (expand, contract) = (values(&[4 * c, c], 18), values(&[c, 4 * c], 19));
    check("convnext block", || {
        let weights = ConvNextWeights {
            depthwise_weight: &depthwise,
            depthwise_bias: &v(20),
            norm_weight: &v(21),
            norm_bias: &v(22),
            expand_weight: &expand,
            expand_bias: &values(&[4 * c], 23),
            contract_weight: &contract,
            contract_bias: &v(24),
            layer_scale: &v(25),
        };
        Ok(vec![ConvNextBlock::new(&weights, 1e-6)?.forward(&x)?])
    });
}

fn attention() {
    let (c, x) = (16, values(&[5, 2, 3, 16], 1));
    let (v, matrix) = (|seed| values(&[c], seed), |seed| values(&[c, c], seed));
    check("class attention", || {
        let layer = ClassAttention::new(
            &ClassAttentionWeights {
                norm1: (&v(2), &v(3)),
                query: (&matrix(4), &v(5)),
                key: (&matrix(6), &v(7)),
                value: (&matrix(8), &v(9)),
                norm2: (&v(10), &v(11)),
                expand: (&values(&[4 * c, c], 12), &values(&[4 * c], 13)),
                contract: (&values(&[c, 4 * c], 14), &v(15)),
            },
            4,
            1e-5,
        )?;
        let (first, second) = (x.narrow(0, 0, 3)?, x.narrow(0, 3, 2)?);
        let sums = layer.add_sums(&second, &layer.add_sums(&first, &AttentionSums::none(6))?)?;
        let parts = [layer.finish_part(&first, &sums)?, layer.finish_part(&second, &sums)?];
        Ok(vec![layer.forward(&x, &[0, 2, 5])?, layer.forward(&x, &[0, 5])?, Tensor::cat(&parts, 0)?])
    });
}

fn fusion() {
    let (c, up, g, out) = (16, 8, 8, 16);
    let (x, cost) = (values(&[3, 2, 3, c], 1), values(&[3, 2, 3, 10], 2));
    let guidance = values(&[1, 4, 6, 8], 3);
    check("skip fusion", || {
        let layer = SkipFusion::new(
            &SkipFusionWeights {
                up: (&values(&[c, up, 2, 2], 4), &values(&[up], 5)),
                cost: (&values(&[10, g, 2, 2], 6), &values(&[g], 7)),
                conv0: &values(&[out, up + 8 + g, 3, 3], 8),
                norm0: (&values(&[out], 9), &values(&[out], 10)),
                conv1: &values(&[out, out, 3, 3], 11),
                norm1: (&values(&[out], 12), &values(&[out], 13)),
                head: (&values(&[1, out, 3, 3], 14), &values(&[1], 15)),
            },
            1,
            1e-5,
        )?;
        let guide = layer.guide(&guidance)?;
        let all = FusionOutputs { features: true, logits: true };
        let fused = layer.forward(&x, &cost, &[&guide], &[0, 0, 0], all)?;
        Ok([fused.features, fused.cost_guidance, fused.logits].into_iter().flatten().collect())
    });
}

fn operations() {
    let x = values(&[6, 4, 5], 1);
    check("elementwise", || {
        Ok(vec![sigmoid(&x)?, normalise_rows(&x)?, gather_rows(&x, &[5, 0])?, gather_rows(&x, &[])?])
    });
    check("cost map", || {
        let (image, text) = (values(&[1, 2, 3, 8], 2), values(&[4, 8], 3));
        Ok(vec![cost_map(&[&image], &[&text, &text], &[0, 0])?])
    });
    check("prefix attention", || {
        let mut chains = PrefixChains::default();
        (0..3).for_each(|row| chains.push(0..=row + 2));
        let (shared, own) = (values(&[2, 16], 4), values(&[3, 16], 5));
        Ok(vec![prefix_attention(&values(&[3, 8], 6), Some(&shared), &own, &chains, 2)?])
    });
    let labels = [0, 0, 1, 2, 2, 4];
    let scores = x.abs().unwrap();
    for (thresholds, sureness) in
        [([0.1; 6], false), ([0.1; 6], true), ([0.0, 0.2, 0.1, 0.4, 0.3, f32::INFINITY], true)]
    {
        let thresholds = &thresholds;
        let spec =
            ArgmaxSpec { width: 11, height: 9, crop: Some((5, 3)), labels: &labels, thresholds, sureness };
        let both = |on| {
            emulate_cuda(on);
            let kept = top_k_union(&x, &[0, 4, 6], &[1, 2], None).unwrap();
            let best = top_k_union(&x, &[0, 4, 6], &[1, 1], Some(&[0, 0, 1, 1, 1, 2])).unwrap();
            (kept, best, upsample_argmax(&scores, &spec).unwrap())
        };
        let (want, got) = (both(false), both(true));
        emulate_cuda(false);
        assert_eq!((got.0, got.1), (want.0, want.1));
        let (got, want) = (got.2, want.2);
        assert_eq!((got.indices, got.pixels, got.sureness), (want.indices, want.pixels, want.sureness));
    }
}
