//! Every kernel at the shapes that SED-B gives it for one 768×768 picture (decoder: 16 pairs).
//! `cargo bench -p sed-kernels --bench kernels`; throughput is in floating-point operations. With feature `cuda`,
//! `SED_TEST_DEVICE=cuda:0` it times the kernels of a GPU. `SED_TEST_DTYPE=bf16` takes weights of that format.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::OnceLock;

use candle_core::{DType, Device, Tensor};
use criterion::{Criterion, Throughput, criterion_group};
use sed_kernels::allocator::{MiMalloc, keep_freed_memory};
use sed_kernels::{
    Activation, ArgmaxSpec, AttentionSums, ClassAttention, ClassAttentionWeights, Conv2d, ConvNextBlock,
    ConvNextWeights, DepthwiseConv, FusionOutputs, LayerNorm, Linear, PatchConv, PatchConvWeights,
    PrefixChains, ScalarConv, SkipFusion, SkipFusionWeights, cost_map, gather_rows, normalise_rows,
    prefix_attention, sigmoid, top_k_union, upsample_argmax,
};

/// As in the programs: the system's would fault the pages of large outputs in again and again.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Pairs of the decoder's benches.
const PAIRS: usize = 16;

fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| match std::env::var("SED_TEST_DEVICE") {
        Ok(name) if name.starts_with("cuda:") => {
            Device::new_cuda_with_stream(name["cuda:".len()..].parse().unwrap()).unwrap()
        }
        _ => Device::Cpu,
    })
}

/// The format of the weights, and on a GPU of the values too: on the CPU those are always f32.
fn dtype() -> DType {
    std::env::var("SED_TEST_DTYPE").map_or(DType::F32, |name| name.parse().unwrap())
}

fn random_in(dtype: DType, shape: &[usize]) -> Tensor {
    let values = Tensor::randn(0f32, 0.1, shape, &Device::Cpu).unwrap();
    values.to_dtype(dtype).unwrap().to_device(device()).unwrap()
}

fn weights(shape: &[usize]) -> Tensor {
    random_in(dtype(), shape)
}

fn values(shape: &[usize]) -> Tensor {
    random_in(if device().is_cpu() { DType::F32 } else { dtype() }, shape)
}

fn run(c: &mut Criterion, name: &str, multiply_adds: usize, f: impl Fn()) {
    let mut group = c.benchmark_group("kernels");
    group.throughput(Throughput::Elements(2 * multiply_adds as u64)).sample_size(10);
    let run = || {
        f();
        device().synchronize().unwrap();
    };
    group.bench_function(name, |b| b.iter(run));
    group.finish();
}

/// The depthwise convolution `[dim, 1, size, size]` and the block around it.
fn convnext(c: &mut Criterion, x: &Tensor, size: usize) {
    let (n, side, _, dim) = x.dims4().unwrap();
    let pixels = n * side * side;
    let (dw, v) = (weights(&[dim, 1, size, size]), weights(&[dim]));
    let depthwise = DepthwiseConv::new(&dw, &v).unwrap();
    run(c, &format!("depthwise {size}x{size}, {dim} at {side}"), pixels * dim * size * size, || {
        depthwise.forward(x).unwrap();
    });
    let block = ConvNextBlock::new(
        &ConvNextWeights {
            depthwise_weight: &dw,
            depthwise_bias: &v,
            norm_weight: &v,
            norm_bias: &v,
            expand_weight: &weights(&[4 * dim, dim]),
            expand_bias: &weights(&[4 * dim]),
            contract_weight: &weights(&[dim, 4 * dim]),
            contract_bias: &v,
            layer_scale: &v,
        },
        1e-6,
    )
    .unwrap();
    run(c, &format!("convnext block, {dim} at {side}"), pixels * dim * (size * size + 8 * dim), || {
        block.forward(x).unwrap();
    });
}

fn encoder(c: &mut Criterion) {
    for (dim, side) in [(128, 192), (256, 96), (512, 48), (1024, 24)] {
        convnext(c, &values(&[1, side, side, dim]), 7);
    }
    let x = values(&[1, 48, 48, 512]);
    let norm = LayerNorm::new(&weights(&[512]), &weights(&[512]), 1e-6).unwrap();
    run(c, "layer norm, 512 at 48", 2304 * 512, || {
        norm.forward(&x).unwrap();
    });
    let linear = Linear::new(&weights(&[2048, 512]), Some(&weights(&[2048]))).unwrap();
    run(c, "linear with GELU, 2304 x 512 x 2048", 2304 * 512 * 2048, || {
        linear.forward(&x, Activation::Gelu).unwrap();
    });
    let (narrow, wide) = (weights(&[256]), weights(&[512]));
    let down = PatchConvWeights {
        weight: &weights(&[512, 256, 2, 2]),
        bias: &wide,
        norm_before: Some((&narrow, &narrow)),
        norm_after: None,
    };
    let down = PatchConv::new(&down, 1e-6).unwrap();
    let wide = values(&[1, 96, 96, 256]);
    run(c, "downsampling with norm, 256 at 96 to 512", 2304 * 4 * 256 * 512, || {
        down.forward(&wide).unwrap();
    });
    let (weight, bias) = (weights(&[128, 3, 4, 4]), weights(&[128]));
    let stem = PatchConvWeights { weight: &weight, bias: &bias, norm_before: None, norm_after: None };
    let stem = PatchConv::new(&stem, 1e-6).unwrap();
    let pixels = values(&[1, 768, 768, 3]);
    run(c, "stem, 4x4 patches of 768", 36864 * 48 * 128, || {
        stem.forward(&pixels).unwrap();
    });
}

/// Tokens of 16 categories in 80 prompts each: a new token after every prefix of 7, and the end of text.
fn text(c: &mut Criterion) {
    let (width, heads, prompts, prefix) = (640, 10, 80, 7);
    let (shared, rows) = (prompts * prefix, 2 * PAIRS * prompts);
    let mut chains = PrefixChains::default();
    for row in 0..rows {
        let first = (row / 2 % prompts * prefix) as u32;
        let own = (shared + row - row % 2) as u32..=(shared + row) as u32;
        chains.push((first..first + prefix as u32).chain(own));
    }
    let (queries, own) = (values(&[rows, width]), values(&[rows, 2 * width]));
    let shared = values(&[shared, 2 * width]);
    // Half of the rows attend to 8 keys, half to 9.
    run(c, "prefix attention, 2560 rows of 640", rows * width * (8 + 9), || {
        prefix_attention(&queries, Some(&shared), &own, &chains, heads).unwrap();
    });
}

fn before_the_decoder(c: &mut Criterion) {
    let (image, text) = (values(&[1, 24, 24, 640]), values(&[80, 640]));
    run(c, "normalise rows, 640 at 24", 576 * 640, || {
        normalise_rows(&image).unwrap();
    });
    let texts = vec![&text; PAIRS];
    run(c, "cost map", PAIRS * 576 * 80 * 640, || {
        cost_map(&[&image], &texts, &[0; PAIRS]).unwrap();
    });
    let cost = values(&[PAIRS, 24, 24, 80]);
    let kept: Vec<usize> = (0..PAIRS).step_by(2).collect();
    run(c, "gather 8 of 16 pairs, 80 at 24", kept.len() * 576 * 80, || {
        gather_rows(&cost, &kept).unwrap();
    });
    let (w, b, hw, hb) =
        (weights(&[128, 80, 7, 7]), weights(&[128]), weights(&[1, 128, 3, 3]), weights(&[1]));
    let head0 = ScalarConv::composed(&w, &b, &hw, &hb).unwrap();
    run(c, "conv1 and head0 as one 9x9", PAIRS * 576 * 81 * 80, || {
        head0.forward(&cost).unwrap();
    });
    let conv1 = Conv2d::new(&w, Some(&b)).unwrap();
    run(c, "conv1, 7x7 80 to 128", PAIRS * 576 * 49 * 80 * 128, || {
        conv1.forward(&cost, Activation::None).unwrap();
    });
}

fn decoder(c: &mut Criterion) {
    for (dim, out, guidance, below, side) in
        [(128, 64, 32, 80, 24), (64, 32, 16, 32, 48), (32, 16, 8, 16, 96)]
    {
        let x = values(&[PAIRS, side, side, dim]);
        convnext(c, &x, 9);
        let (v, square, wide) = (weights(&[dim]), weights(&[dim, dim]), weights(&[4 * dim]));
        let (expand, contract) = (weights(&[4 * dim, dim]), weights(&[dim, 4 * dim]));
        let attention = ClassAttention::new(
            &ClassAttentionWeights {
                norm1: (&v, &v),
                query: (&square, &v),
                key: (&square, &v),
                value: (&square, &v),
                norm2: (&v, &v),
                expand: (&expand, &wide),
                contract: (&contract, &v),
            },
            4,
            1e-5,
        )
        .unwrap();
        let work = PAIRS * side * side * (11 * dim * dim + dim * dim / 2);
        run(c, &format!("class attention, {dim} at {side}"), work, || {
            attention.forward(&x, &[0, PAIRS]).unwrap();
        });
        // The same in parts: the sums of one part, and its output from the sums of all. Both project the part.
        let none = AttentionSums::none(side * side);
        let sums = attention.add_sums(&x, &none).unwrap();
        let sum = PAIRS * side * side * (3 * dim * dim + dim * dim / 4);
        run(c, &format!("class attention, sums of a part, {dim} at {side}"), sum, || {
            attention.add_sums(&x, &none).unwrap();
        });
        let rest = PAIRS * side * side * (11 * dim * dim + dim * dim / 4);
        run(c, &format!("class attention, a part from the sums, {dim} at {side}"), rest, || {
            attention.finish_part(&x, &sums).unwrap();
        });
        let up = dim - guidance;
        let fusion = SkipFusion::new(
            &SkipFusionWeights {
                up: (&weights(&[dim, up, 2, 2]), &weights(&[up])),
                cost: (&weights(&[below, guidance, 2, 2]), &weights(&[guidance])),
                conv0: &weights(&[out, dim + guidance, 3, 3]),
                norm0: (&weights(&[out]), &weights(&[out])),
                conv1: &weights(&[out, out, 3, 3]),
                norm1: (&weights(&[out]), &weights(&[out])),
                head: (&weights(&[1, out, 3, 3]), &weights(&[1])),
            },
            out / 16,
            1e-5,
        )
        .unwrap();
        let image = values(&[1, 2 * side, 2 * side, guidance]);
        let work = 4 * side * side * 9 * guidance * out;
        run(c, &format!("guide of skip fusion, {guidance} at {} to {out}", 2 * side), work, || {
            fusion.guide(&image).unwrap();
        });
        let cost = values(&[PAIRS, side, side, below]);
        let guide = values(&[1, 2 * side, 2 * side, out]);
        let work =
            PAIRS * 4 * side * side * (below * guidance + out * (4 * dim + 9 * guidance + 9 * out + 9));
        run(c, &format!("skip fusion, {dim} at {side} to {out}"), work, || {
            let outputs = FusionOutputs { features: true, logits: true };
            fusion.forward(&x, &cost, &[&guide], &[0; PAIRS], outputs).unwrap();
        });
    }
}

fn end(c: &mut Criterion) {
    let logits = values(&[150, 24, 24]);
    run(c, "top-8 union of 150 at 24", 150 * 576, || {
        top_k_union(&logits, &[0, 150], &[8], None).unwrap();
    });
    let groups: Vec<u32> = (0..150).map(|pair| pair / 3).collect();
    run(c, "top-8 union of 50 groups of 3 at 24", 150 * 576, || {
        top_k_union(&logits, &[0, 150], &[8], Some(&groups)).unwrap();
    });
    let maps = values(&[PAIRS, 192, 192]);
    run(c, "sigmoid, 16 maps at 192", PAIRS * 192 * 192, || {
        sigmoid(&maps).unwrap();
    });
    for (maps, width, height) in [(PAIRS, 4000, 3000), (150, 768, 768)] {
        // Smooth, as the decoder's are.
        let coarse = values(&[1, maps, 24, 24]);
        let scores =
            sigmoid(&coarse.upsample_bilinear2d(192, 192, false).unwrap().squeeze(0).unwrap()).unwrap();
        let (labels, thresholds) = ((0..maps as u16).collect::<Vec<_>>(), vec![0.0; maps]);
        for (sureness, name) in [(false, ""), (true, " with sureness")] {
            let (labels, thresholds) = (&labels, &thresholds);
            let spec = ArgmaxSpec { width, height, crop: None, labels, thresholds, sureness };
            let name = format!("upsample and argmax{name}, {maps} maps to {width} x {height}");
            run(c, &name, height * width, || {
                upsample_argmax(&scores, &spec).unwrap();
            });
        }
    }
}

criterion_group!(benches, encoder, text, before_the_decoder, decoder, end);

fn main() {
    keep_freed_memory();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
