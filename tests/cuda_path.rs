//! The reduced model through the kernels for CUDA equals the reference: on the GPU that `SED_TEST_DEVICE` names
//! (`cuda:0`), else on the CPU, which emulates one. Weights, layouts, launches, formats and stages are those of a GPU
//! in both; the emulated matrix products are the CPU's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

use candle_core::{DType, Device, Tensor};
use sed_model::checkpoint::Checkpoint;
use sed_model::device::{F32Products, open_gpu};
use sed_model::text_tower::TextEmbedding;
use sed_model::{DecodeRequest, ImageFeatures, OutputSpec, PairBatch, SedModel, SegmentationMap};
use sed_tests::compare::{assert_near, assert_same_map};
use sed_tests::golden;
use sed_tests::stages::decode_all;

/// A sound f32 implementation stays within this many times the reference's own rounding error.
const SLACK: f64 = 5.0;
const CASE: &str = "sed_nano.c5";

fn device() -> Device {
    match std::env::var("SED_TEST_DEVICE").ok().as_deref().and_then(|name| name.strip_prefix("cuda:")) {
        Some(number) => open_gpu(number.parse().unwrap(), F32Products::Exact).unwrap(),
        None => {
            sed_kernels::emulate_cuda(true);
            Device::Cpu
        }
    }
}

/// The model on the device, with the case's image and words.
struct Loaded {
    model: SedModel,
    features: ImageFeatures,
    text: Vec<TextEmbedding>,
    crop: (usize, usize),
    size: (usize, usize),
}

fn load(dtype: DType) -> Loaded {
    let checkpoint = Checkpoint::open(&golden::path("nano/sed_nano.safetensors")).unwrap();
    let config = checkpoint.config().unwrap();
    let model = SedModel::load_as(&checkpoint, config, &device(), dtype).unwrap();
    let meta = &golden::json("nano/meta.json")["cases"][CASE];
    let picture = format!("nano/{}", meta["image"].as_str().unwrap());
    let (pixels, crop, size) = golden::network_pixels(&picture, model.config().image_size);
    let text = model.embed_categories(&golden::categories(&meta["classes"])).unwrap();
    let features = model.encode(&pixels).unwrap().remove(0);
    Loaded { model, features, text, crop, size }
}

impl Loaded {
    fn request(&self, top_k: Option<usize>) -> DecodeRequest<'_> {
        DecodeRequest { features: &self.features, text: &self.text, top_k }
    }

    fn finish(&self, pairs: &PairBatch) -> SegmentationMap {
        let ((width, height), crop) = (self.size, Some(self.crop));
        let output = OutputSpec { height, width, crop, score_threshold: 0.0, score_maps: true };
        self.model.finish(pairs, &[output]).unwrap().remove(0)
    }
}

/// On the host, in f32.
fn host(x: &Tensor) -> Tensor {
    x.to_device(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap()
}

fn sigmoid(x: &Tensor) -> Tensor {
    ((x.neg().unwrap().exp().unwrap() + 1.0).unwrap()).recip().unwrap()
}

#[test]
fn f32_is_as_exact_as_on_the_cpu() {
    let loaded = load(DType::F32);
    let meta = &golden::json("nano/meta.json")["cases"][CASE];
    let want = golden::tensors(&format!("nano/{CASE}.safetensors"));
    let rows: Vec<Tensor> = loaded.text.iter().map(|text| host(text.tensor())).collect();
    let bound = SLACK * meta["max_abs_err_f32_vs_f64"]["text_features"].as_f64().unwrap();
    assert_near(&Tensor::stack(&rows, 0).unwrap(), &want["text_features"], bound, "text");
    for (mode, info) in meta["modes"].as_object().unwrap() {
        let tolerance = |name: &str| SLACK * info["max_abs_err_f32_vs_f64"][name].as_f64().unwrap();
        let top_k = golden::top_k(mode);
        let request = loaded.request(top_k);
        let stage = loaded.model.cost_map_stage();
        let head0 = stage.rejection_logits(&stage.similarities(&[request]).unwrap()).unwrap();
        assert_near(
            &host(&head0),
            &want[&format!("{mode}.head0")],
            tolerance("head0"),
            &format!("{mode} head0"),
        );
        let (pairs, kept) = decode_all(&loaded.model, &[request]);
        if top_k.is_some() {
            let kept: Vec<Vec<u32>> = kept.into_iter().flatten().collect();
            let expected: Vec<Vec<u32>> =
                info["kept_after_level"].as_array().unwrap().iter().map(golden::numbers).collect();
            assert_eq!(kept[..3], expected, "{mode}: survivors");
        }
        let map = loaded.finish(&pairs);
        let scores = host(map.score_maps.as_ref().unwrap());
        let expected = match top_k {
            Some(_) => want[&format!("{mode}.kept_prob")].clone(),
            None => sigmoid(&want[&format!("{mode}.head_out")]),
        };
        assert_near(&scores, &expected, tolerance("head_out"), &format!("{mode} scores"));
        let reference = golden::index_map(&format!("nano/{CASE}.{mode}.argmax.png"));
        let (bound, survivors) = (tolerance("sem_seg") as f32, pairs.survivors(0));
        let mut map = map;
        map.score_maps = Some(scores);
        assert_same_map(&map, survivors, loaded.crop, &reference, bound, mode);
    }
}

/// Everything in 16 bits: the scores move by the format's rounding, and few pixels change.
#[test]
fn bf16_and_f16_stay_close() {
    let want = sigmoid(&golden::tensors(&format!("nano/{CASE}.safetensors"))["normal.head_out"]);
    let reference = golden::index_map(&format!("nano/{CASE}.normal.argmax.png")).2;
    for (dtype, bound, least) in [(DType::BF16, 5e-2, 0.95), (DType::F16, 1e-2, 0.99)] {
        let loaded = load(dtype);
        assert_eq!((loaded.text[0].tensor().dtype(), loaded.features.dense().dtype()), (dtype, dtype));
        let (pairs, _) = decode_all(&loaded.model, &[loaded.request(None)]);
        let map = loaded.finish(&pairs);
        assert_near(&host(map.score_maps.as_ref().unwrap()), &want, bound, &format!("{dtype:?} scores"));
        let same = map.indices.iter().zip(&reference).filter(|(a, b)| **a == u16::from(**b)).count();
        let share = same as f64 / reference.len() as f64;
        println!("{dtype:?}: {:.2} % of the pixels agree", 100.0 * share);
        assert!(share > least, "{dtype:?}: {share}");
    }
}

/// Requests in one batch, and one request in parts, give what a request gives alone.
#[test]
fn batches_and_parts_change_nothing() {
    let loaded = load(DType::F32);
    let few = DecodeRequest { text: &loaded.text[..3], ..loaded.request(Some(2)) };
    let all = loaded.request(None);
    let alone: Vec<(Vec<u32>, Tensor)> = [few, all]
        .map(|request| {
            let (pairs, _) = decode_all(&loaded.model, &[request]);
            (pairs.survivors(0).to_vec(), host(&loaded.finish(&pairs).score_maps.unwrap()))
        })
        .into();
    let same = |pairs: &PairBatch, (survivors, scores): &(Vec<u32>, Tensor), what: &str| {
        assert_eq!(pairs.survivors(0), survivors, "{what}");
        assert_near(&host(&loaded.finish(pairs).score_maps.unwrap()), scores, 1e-5, what);
    };
    let (together, _) = decode_all(&loaded.model, &[few, all]);
    for (pairs, alone) in together.split().unwrap().iter().zip(&alone) {
        same(pairs, alone, "in a batch");
    }
    let in_parts = |mut parts: sed_model::Parts| loop {
        if let Some(done) = loaded.model.advance(&mut parts, 2).unwrap().finished {
            return done;
        }
    };
    let mut pairs = in_parts(loaded.model.cost_map_parts(&all));
    for level in 1..=3 {
        pairs = in_parts(loaded.model.level_parts(level, pairs).unwrap());
    }
    same(&pairs, &alone[1], "in parts");
}
