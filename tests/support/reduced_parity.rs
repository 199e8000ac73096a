//! The reduced model through a device's kernels beside the reference outputs, in every number format.

use candle_core::{DType, Device, Tensor};
use sed_model::checkpoint::Checkpoint;
use sed_model::text_tower::TextEmbedding;
use sed_model::{
    DecodeRequest, FinishedMap, ImageFeatures, Level, OutputSpec, PairBatch, Parts, Rejection, SedModel,
    Thresholds,
};

use crate::compare::score_maps;
use crate::device::{Bounds, host};
use crate::findings::Findings;
use crate::golden;
use crate::stages::decode_all;
use crate::survivors::{Candidates, compare};

const CASE: &str = "sed_nano.c5";

/// The model on a device, with the case's image and words.
pub(crate) struct Loaded {
    pub(crate) model: SedModel,
    /// The image, `[S, S, 3]`.
    pub(crate) pixels: Vec<f32>,
    features: ImageFeatures,
    pub(crate) text: Vec<TextEmbedding>,
    pub(crate) crop: (u32, u32),
    pub(crate) size: (u32, u32),
}

impl Loaded {
    pub(crate) fn new(device: &Device, dtype: DType) -> Self {
        let checkpoint = Checkpoint::open(&golden::path("nano/sed_nano.safetensors")).unwrap();
        let config = checkpoint.config().unwrap();
        let model = SedModel::load_as(&checkpoint, config, device, dtype).unwrap();
        let meta = &golden::json("nano/meta.json")["cases"][CASE];
        let picture = format!("nano/{}", meta["image"].as_str().unwrap());
        let (pixels, crop, size) = golden::network_pixels(&picture, model.config().image_size);
        let text = model.embed_categories(&golden::categories(&meta["classes"])).unwrap();
        let features = model.encode(&pixels).unwrap().remove(0);
        let pixels = host(&pixels).flatten_all().unwrap().to_vec1().unwrap();
        Self { model, pixels, features, text, crop, size }
    }

    fn request(&self, rejection: Rejection) -> DecodeRequest<'_> {
        DecodeRequest { features: &self.features, text: &self.text, groups: None, rejection }
    }

    fn finish(&self, pairs: &PairBatch) -> FinishedMap {
        let ((width, height), crop) = (self.size, Some(self.crop));
        let output = OutputSpec {
            width,
            height,
            crop,
            thresholds: Thresholds::Same(0.0),
            score_maps: true,
            sureness: false,
        };
        self.model.finish(pairs, &[output]).unwrap().remove(0)
    }

    fn scores(&self, pairs: &PairBatch) -> Tensor {
        score_maps(&self.finish(pairs))
    }
}

fn sigmoid(x: &Tensor) -> Tensor {
    ((x.neg().unwrap().exp().unwrap() + 1.0).unwrap()).recip().unwrap()
}

/// In f32: text, rejection heads, survivors, scores and index maps of every mode.
pub fn f32(device: &Device) -> Findings {
    let (mut findings, bounds) = (Findings::default(), Bounds::of(device));
    let loaded = Loaded::new(device, DType::F32);
    let meta = &golden::json("nano/meta.json")["cases"][CASE];
    let want = golden::tensors(&format!("nano/{CASE}.safetensors"));
    let rows: Vec<Tensor> = loaded.text.iter().map(|text| host(text.tensor())).collect();
    let bound = bounds.slack * meta["max_abs_err_f32_vs_f64"]["text_features"].as_f64().unwrap();
    findings.near("text", &Tensor::stack(&rows, 0).unwrap(), &want["text_features"], bound);
    for (mode, info) in meta["modes"].as_object().unwrap() {
        let tolerance = |name: &str| bounds.slack * info["max_abs_err_f32_vs_f64"][name].as_f64().unwrap();
        let rejection = golden::rejection(mode);
        let request = loaded.request(rejection);
        let stage = loaded.model.cost_map_stage();
        let head0 = stage.rejection_logits(&stage.similarities(&[request]).unwrap()).unwrap();
        let expected = &want[&format!("{mode}.head0")];
        findings.near(format!("{mode} head0"), &host(&head0), expected, tolerance("head0"));
        let (pairs, kept) = decode_all(&loaded.model, &[request]);
        if let Rejection::TopK(top_k) = rejection {
            let kept: Vec<Vec<u32>> = kept.into_iter().flatten().collect();
            let expected: Vec<Vec<u32>> =
                info["kept_after_level"].as_array().unwrap().iter().map(golden::numbers).collect();
            let mut candidates: Vec<u32> = (0..loaded.text.len() as u32).collect();
            let mut same = true;
            for (level, (kept, expected)) in kept.iter().zip(&expected).enumerate() {
                let before = Candidates {
                    what: &format!("{mode} level {level}"),
                    top_k: top_k.get() as usize,
                    logits: Some(&want[&format!("{mode}.head{level}")]),
                    categories: &candidates,
                    error: tolerance(&format!("head{level}")),
                };
                same = compare(&mut findings, bounds, &before, kept, expected);
                if !same {
                    break;
                }
                candidates.clone_from(expected);
            }
            if !same {
                findings
                    .note(format!("{mode}: scores and map are not compared, for other survivors are left"));
                continue;
            }
        }
        let map = loaded.finish(&pairs);
        let scores = score_maps(&map);
        let expected = match rejection {
            Rejection::TopK(_) => want[&format!("{mode}.kept_prob")].clone(),
            Rejection::Off => sigmoid(&want[&format!("{mode}.head_out")]),
        };
        findings.near(format!("{mode} scores"), &scores, &expected, tolerance("head_out"));
        let reference = golden::index_map(&format!("nano/{CASE}.{mode}.argmax.png"));
        findings.same_map(mode, (&map, pairs.survivors(0)), loaded.crop, &reference, tolerance("sem_seg"));
    }
    findings
}

/// In bf16 or f16, everything in 16 bits: the scores move by the format's rounding, and few pixels change.
pub fn sixteen_bits(device: &Device, dtype: DType) -> Findings {
    let (bound, most_pixels) = if dtype == DType::BF16 { (5e-2, 0.05) } else { (1e-2, 0.01) };
    let mut findings = Findings::default();
    let want = sigmoid(&golden::tensors(&format!("nano/{CASE}.safetensors"))["normal.head_out"]);
    let reference = golden::index_map(&format!("nano/{CASE}.normal.argmax.png")).2;
    let loaded = Loaded::new(device, dtype);
    assert_eq!((loaded.text[0].tensor().dtype(), loaded.features.dense().dtype()), (dtype, dtype));
    let (pairs, _) = decode_all(&loaded.model, &[loaded.request(Rejection::Off)]);
    let map = loaded.finish(&pairs);
    findings.near("scores", &score_maps(&map), &want, bound);
    let other = map.indices.iter().zip(&reference).filter(|(a, b)| **a != u16::from(**b)).count();
    findings.at_most("share of pixels that differ", other as f64 / reference.len() as f64, most_pixels);
    findings
}

/// Requests in one batch, and one request in parts, beside what a request gives alone.
pub fn company(device: &Device) -> Findings {
    let (mut findings, bounds) = (Findings::default(), Bounds::of(device));
    let loaded = Loaded::new(device, DType::F32);
    let few = DecodeRequest { text: &loaded.text[..3], ..loaded.request(Rejection::from_top_k(2)) };
    let all = loaded.request(Rejection::Off);
    let alone = [few, all].map(|request| decode_all(&loaded.model, &[request]).0);
    let mut beside = |what: &str, pairs: &PairBatch, alone: &PairBatch| {
        // The case has no near ties: its margins are above 0.02, its errors below 1e-5.
        let other = usize::from(pairs.survivors(0) != alone.survivors(0));
        findings.at_most(format!("{what}: other survivors"), other as f64, 0.0);
        if other == 0 {
            findings.near(
                format!("{what}: scores"),
                &loaded.scores(pairs),
                &loaded.scores(alone),
                bounds.company,
            );
        }
    };
    let (together, _) = decode_all(&loaded.model, &[few, all]);
    let together = together.split().unwrap();
    assert_eq!(together.len(), 2);
    for ((pairs, alone), what) in together.iter().zip(&alone).zip(["few in a batch", "all in a batch"]) {
        beside(what, pairs, alone);
    }
    let mut pairs = in_parts(&loaded.model, loaded.model.cost_map_parts(&all).unwrap());
    for level in Level::ALL {
        pairs = in_parts(&loaded.model, loaded.model.level_parts(level, pairs).unwrap());
    }
    beside("all in parts", &pairs, &alone[1]);
    findings
}

/// Two pairs at a time, until the stage is done.
fn in_parts(model: &SedModel, mut parts: Parts) -> PairBatch {
    loop {
        if let Some(done) = model.advance(&mut parts, 2).unwrap().finished {
            return done;
        }
    }
}
