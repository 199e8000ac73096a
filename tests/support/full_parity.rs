//! Full-size SED-B and SED-L with weights made by rule beside the reference: text embeddings, encoder levels,
//! rejection heads, survivors, scores and index maps.

use candle_core::{DType, Device, Tensor};
use sed_model::checkpoint::Checkpoint;
use sed_model::config::SedConfig;
use sed_model::prompts::builtin_vocabulary;
use sed_model::text_tower::TextEmbedding;
use sed_model::{DecodeRequest, ImageFeatures, OutputSpec, Rejection, SedModel, Thresholds};
use serde_json::Value;

use crate::compare::{channels_first, score_maps};
use crate::device::{Bounds, host};
use crate::findings::Findings;
use crate::stages::decode_all;
use crate::survivors::{Candidates, compare};
use crate::{golden, synthetic};

/// The rounding error of the reference's text embeddings (columns dropped behind the end of text).
const TEXT_ERROR: f64 = 2.3e-7;
/// Half a unit in the last place of f16 below 4, the format of the stored logits.
const HALF_ROUNDING: f64 = 1e-3;
/// The vocabularies of the reference outputs: their names there and here.
const VOCABULARIES: [(&str, &str); 2] = [("voc20", "pascal-voc-20"), ("ade150", "ade20k-150")];
const MODES: [&str; 3] = ["normal", "fast1", "fast8"];

/// A model whose outputs are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    SedB,
    SedL,
}

impl Variant {
    /// The variant's name in file names.
    fn name(self) -> &'static str {
        match self {
            Self::SedB => "sed_b",
            Self::SedL => "sed_l",
        }
    }

    fn config(self) -> SedConfig {
        match self {
            Self::SedB => SedConfig::sed_b(),
            Self::SedL => SedConfig::sed_l(),
        }
    }
}

/// The stored outputs, and what was found so far.
struct Check {
    variant: &'static str,
    meta: Value,
    errors: Value,
    bounds: Bounds,
    model: SedModel,
    findings: Findings,
}

/// A picture, ready for the network.
struct Picture<'a> {
    name: &'a str,
    features: ImageFeatures,
    crop: (u32, u32),
    size: (u32, u32),
}

/// Compares the variant on a device, in f32, on each of the `pictures` (`img1`, `img2`).
pub fn check(variant: Variant, device: &Device, pictures: &[&str]) -> Findings {
    let name = variant.name();
    let checkpoint =
        Checkpoint::from_bytes(synthetic::safetensors(&variant.config(), 1), "synthetic").unwrap();
    let model = SedModel::load_as(&checkpoint, variant.config(), device, DType::F32).unwrap();
    drop(checkpoint);
    let mut check = Check {
        variant: name,
        meta: golden::json(&format!("full/{name}.meta.json")),
        errors: golden::json("full/sed_b.f32_vs_f64.json"),
        bounds: Bounds::of(device),
        model,
        findings: Findings::default(),
    };
    let texts = VOCABULARIES.map(|(set, vocabulary)| check.text(set, vocabulary));
    for picture in pictures {
        let picture = check.encoder(picture);
        for ((set, _), text) in VOCABULARIES.iter().zip(&texts) {
            for mode in MODES {
                check.run(&picture, text, set, mode);
            }
        }
    }
    check.findings
}

impl Check {
    fn tolerance(&self, name: &str) -> f64 {
        self.bounds.slack * self.errors[name]["max_abs_err"].as_f64().unwrap()
    }

    /// Compares the sampled values of a tensor in the reference's layout, and the mean of all.
    fn near(&mut self, what: &str, got: &Tensor, samples: &Value, name: &str) {
        let shape: Vec<u64> =
            samples["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
        assert_eq!(shape.iter().product::<u64>() as usize, got.elem_count(), "{what}: {shape:?}");
        let got = host(got).flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let picked: Vec<f32> = golden::numbers(&samples["index"]).iter().map(|&i| got[i as usize]).collect();
        let want: Vec<f32> =
            samples["value"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
        let tensor = |values: Vec<f32>| Tensor::new(values, &Device::Cpu).unwrap();
        let tolerance = self.tolerance(name);
        self.findings.near(what, &tensor(picked), &tensor(want), tolerance);
        let mean = got.iter().map(|&v| f64::from(v)).sum::<f64>() / got.len() as f64;
        let expected = samples["mean"].as_f64().unwrap();
        self.findings.at_most(format!("{what}: mean"), (mean - expected).abs(), tolerance);
    }

    fn text(&mut self, set: &str, vocabulary: &str) -> Vec<TextEmbedding> {
        let text = self.model.embed_categories(&builtin_vocabulary(vocabulary).unwrap()).unwrap();
        let want = golden::tensors(&format!("full/{}.text.{set}.safetensors", self.variant));
        for (row, category) in indices(&want["class_index"]).into_iter().enumerate() {
            let (got, features) = (host(text[category as usize].tensor()), &want["text_features"]);
            let what = format!("{} {set} text {category}", self.variant);
            self.findings.near(what, &got, &features.get(row).unwrap(), self.bounds.slack * TEXT_ERROR);
        }
        text
    }

    fn encoder<'a>(&mut self, name: &'a str) -> Picture<'a> {
        let side = self.model.config().image_size;
        let (pixels, crop, size) = golden::network_pixels(&format!("full/{name}.png"), side);
        let want = self.meta["encoder"][name].clone();
        let on_device = pixels.to_device(self.model.device()).unwrap();
        let encoded = self.model.encoder().forward(&on_device).unwrap();
        let guidance = self.model.guidance().forward(&encoded.levels).unwrap();
        let levels = encoded.levels.iter().zip(["res2", "res3", "res4", "res5"].map(str::to_owned));
        let guidance = guidance.iter().zip((0..).map(|level| format!("guidance{level}")));
        let inputs = [(&pixels, "net_input".to_owned()), (&encoded.dense, "clip_vis_dense".to_owned())];
        for (tensor, part) in inputs.into_iter().chain(levels).chain(guidance) {
            let what = format!("{} {name} {part}", self.variant);
            self.near(&what, &channels_first(tensor), &want[&part], &part);
        }
        let features = self.model.encode(&pixels).unwrap().remove(0);
        Picture { name, features, crop, size }
    }

    fn run(&mut self, picture: &Picture<'_>, text: &[TextEmbedding], set: &str, mode: &str) {
        let run = format!("{}.{set}.{mode}", picture.name);
        let info = self.meta["runs"][&run].clone();
        let what = format!("{} {run}", self.variant);
        let rejection = golden::rejection(mode);
        let request = DecodeRequest { features: &picture.features, text, groups: None, rejection };
        let stage = self.model.cost_map_stage();
        let head0 = stage.rejection_logits(&stage.similarities(&[request]).unwrap()).unwrap();
        self.near(&format!("{what} head0"), &head0, &info["tensors"]["head0"], "head0");
        let (pairs, kept) = decode_all(&self.model, &[request]);
        let stored = golden::tensors(&format!("full/{}.{run}.safetensors", self.variant));
        if let Rejection::TopK(top_k) = rejection {
            let kept: Vec<Vec<u32>> = kept.into_iter().flatten().collect();
            // Of the last rejection no logits are stored: no near tie can be granted there.
            let head1 = stored["head1_f16"].to_dtype(DType::F32).unwrap();
            let logits = [Some(&head0), Some(&head1), None];
            if !self.survivors(&what, top_k.get() as usize, logits, &kept, &info["kept_after_level"]) {
                let note = format!("{what}: scores and map are not compared, for other survivors are left");
                self.findings.note(note);
                return;
            }
        }
        let ((width, height), crop) = (picture.size, picture.crop);
        let output = OutputSpec {
            width,
            height,
            crop: Some(crop),
            thresholds: Thresholds::Same(0.0),
            score_maps: true,
            sureness: false,
        };
        let map = self.model.finish(&pairs, &[output]).unwrap().remove(0);
        let scores = score_maps(&map);
        let want = match rejection {
            Rejection::TopK(_) => stored["prob_f16"].to_dtype(DType::F32).unwrap(),
            Rejection::Off => {
                let logits = stored["logits_f16"].to_dtype(DType::F32).unwrap();
                ((logits.neg().unwrap().exp().unwrap() + 1.0).unwrap()).recip().unwrap()
            }
        };
        for (row, category) in indices(&stored["class_index"]).into_iter().enumerate() {
            let position = pairs.survivors(0).iter().position(|&s| i64::from(s) == category).unwrap();
            let (got, want) = (scores.get(position).unwrap(), want.get(row).unwrap());
            self.findings.near(format!("{what} scores of {category}"), &got, &want, HALF_ROUNDING);
        }
        let reference = golden::index_map(&format!("full/{}.{run}.argmax.png", self.variant));
        let bound = self.tolerance("sem_seg");
        self.findings.same_map(&what, (&map, pairs.survivors(0)), crop, &reference, bound);
    }

    /// Compares the survivors of the three rejections until they differ; returns whether they never do.
    fn survivors(
        &mut self,
        what: &str,
        top_k: usize,
        logits: [Option<&Tensor>; 3],
        kept: &[Vec<u32>],
        expected: &Value,
    ) -> bool {
        let expected: Vec<Vec<u32>> = expected.as_array().unwrap().iter().map(golden::numbers).collect();
        let categories = logits[0].map_or(0, |head0| head0.dim(0).unwrap());
        let mut candidates: Vec<u32> = (0..categories as u32).collect();
        for (level, ((kept, expected), logits)) in kept.iter().zip(&expected).zip(logits).enumerate() {
            let before = Candidates {
                what: &format!("{what} level {level}"),
                top_k,
                logits,
                categories: &candidates,
                error: self.tolerance(&format!("head{level}")),
            };
            if !compare(&mut self.findings, self.bounds, &before, kept, expected) {
                return false;
            }
            candidates.clone_from(expected);
        }
        true
    }
}

fn indices(x: &Tensor) -> Vec<i64> {
    x.to_dtype(DType::I64).unwrap().to_vec1().unwrap()
}
