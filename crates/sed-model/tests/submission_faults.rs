//! Faults in the middle of a submission: the next one is right, and no memory is gone. For the software driver, whose
//! faults come from the file that `SOFTWARE_CUDA_FAULTS_FILE` names; in a process of its own, since they are the
//! process's. Without that file it checks nothing.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{DType, Device, Tensor};
use sed_model::checkpoint::Checkpoint;
use sed_model::config::{PROMPTS, SedConfig};
use sed_model::device::{F32Products, gpu_memory, open_gpu};
use sed_model::text_tower::TextEmbedding;
use sed_model::{
    FinishedMap, ImageFeatures, Input, OutputSpec, Question, Rejection, SedModel, Source, Thresholds,
    synthetic,
};

const CONFIG: &str = r#"{
    "name": "tiny", "image_size": 64, "embed_dim": 32,
    "vision": { "dims": [16, 32, 64, 128], "depths": [1, 1, 1, 1], "head": { "type": "linear" } },
    "text": { "width": 16, "heads": 2, "layers": 2, "context_length": 77, "vocab_size": 49408 },
    "decoder": {
        "hidden_dim": 32, "dims": [32, 16, 16], "guidance_dims": [16, 8, 8], "corr_guidance_dims": [16, 8, 8],
        "kernel_size": 9, "attention_heads": 4
    }
}"#;

/// Points of the driver, each with statuses: the memory is used up, and an error that harms nothing else.
const POINTS: [(&str, &[u32]); 6] = [
    ("alloc", &[2, 1]),
    ("alloc_plain", &[2]),
    ("copy", &[2, 1]),
    ("launch", &[2, 1]),
    ("sync", &[2, 1]),
    ("product", &[3, 14]),
];
/// Sets the faults of the process.
fn set(faults: &str) {
    static TIMES: AtomicUsize = AtomicUsize::new(0);
    let path = std::env::var("SOFTWARE_CUDA_FAULTS_FILE").unwrap();
    std::fs::write(&path, faults).unwrap();
    // Every content has a time of its own.
    let seconds = TIMES.fetch_add(1, Ordering::Relaxed) as u64 + 1;
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
}

struct Subject {
    model: SedModel,
    text: Vec<TextEmbedding>,
    pictures: [Vec<f32>; 3],
}

/// The pairs that enter the levels, and the map, of each question.
type Answers = Vec<([Vec<u32>; 3], FinishedMap)>;

impl Subject {
    fn new(device: &Device) -> Self {
        let config = SedConfig::from_json(CONFIG, "test").unwrap();
        let checkpoint = Checkpoint::from_bytes(synthetic::safetensors(&config, 3), "synthetic").unwrap();
        let (width, side) = (config.embed_dim, config.image_size);
        let embed = |word: usize| {
            let values = synthetic::values(&format!("word.{word}"), &[PROMPTS, width], 1);
            let rows = Tensor::from_vec(values, (PROMPTS, width), &Device::Cpu).unwrap();
            let rows = rows.to_dtype(DType::BF16).unwrap().to_device(device).unwrap();
            TextEmbedding::combine(&[rows]).unwrap()
        };
        let picture = |seed: usize| {
            (0..side * side * 3).map(|i| ((i * (31 + 7 * seed)) % 251) as f32 / 80.0 - 1.5).collect()
        };
        let model = SedModel::load_as(&checkpoint, config, device, DType::BF16).unwrap();
        Self { model, text: (0..20).map(embed).collect(), pictures: [0, 1, 2].map(picture) }
    }

    /// A submission with kept and with cached features, rejections, and more than one output. The fault is over behind it.
    fn submit(
        &self,
        cached: &ImageFeatures,
        top_k: u32,
        fault: &str,
    ) -> Result<(Answers, Vec<Vec<f32>>), String> {
        let output = |width, height| OutputSpec {
            width,
            height,
            crop: None,
            thresholds: Thresholds::Same(0.0),
            score_maps: false,
            sureness: false,
        };
        let outputs = [output(33, 40), output(64, 64)];
        let rejection = Rejection::from_top_k(top_k);
        let question = |image, text, output| Question { image, text, groups: None, rejection, output };
        let questions = [
            question(Source::Input(1), &self.text[..12], &outputs[0]),
            question(Source::Features(cached), &self.text[4..], &outputs[1]),
            question(Source::Input(0), &self.text[4..], &outputs[0]),
        ];
        let inputs = [Input::Values(&self.pictures[0]), Input::Values(&self.pictures[1])];
        set(fault);
        let submitted = self.model.submit(&inputs, &[false, true], &questions);
        set("");
        let submitted = submitted.map_err(|error| error.to_string())?;
        let answers = submitted.answers.into_iter();
        let answers = answers.map(|answer| (answer.survivors, answer.map.finish().unwrap())).collect();
        let values = |x: &Tensor| x.flatten_all().unwrap().to_dtype(DType::F32).unwrap().to_vec1().unwrap();
        let kept = submitted.features.iter().flatten();
        Ok((answers, kept.map(|features| values(features.dense())).collect()))
    }
}

/// The GPU of the software driver.
fn device() -> Option<Device> {
    std::env::var_os("SOFTWARE_CUDA_FAULTS_FILE")?;
    let number = std::env::var("SED_TEST_DEVICE").ok()?.strip_prefix("cuda:")?.parse().ok()?;
    set("");
    Some(open_gpu(number, F32Products::Exact).unwrap())
}

/// Allocations of slabs that grow, whose errors are no error of the submission: the most in a row.
const SILENT: usize = 12;

/// The faults of every passage through every point, from one of them `step` by `step`, until the work does not come so
/// far.
fn each_fault(from: usize, step: usize, mut hits: impl FnMut(&str) -> bool) {
    for (point, statuses) in POINTS {
        for status in statuses {
            let (mut silent, mut any) = (0, false);
            for first in (from..).step_by(step) {
                let is_hit = hits(&format!("{point}:{status}:{first}:once"));
                silent = if is_hit { 0 } else { silent + step };
                any |= is_hit;
                if silent > SILENT || !is_hit && point != "alloc" {
                    break;
                }
            }
            assert!(any || from > 1 || point == "alloc_plain", "{point}:{status} is never passed");
        }
    }
}

#[test]
fn the_next_submission_is_right() {
    let Some(device) = device() else { return };
    let subject = Subject::new(&device);
    let cached = subject.model.encode_host(&[&subject.pictures[2]]).unwrap().remove(0);
    let free = || gpu_memory(&device).unwrap().free;
    let want = subject.submit(&cached, 2, "").unwrap();
    let settle = |what: &str| {
        // The first may allocate, the next ones have slabs, then graphs.
        for _ in 0..4 {
            let got = subject.submit(&cached, 2, "").unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(got == want, "{what}");
        }
    };
    settle("before");
    let before = free();
    // With slabs and graphs, as they are most of the time.
    each_fault(1, 1, |fault| {
        let hit = subject.submit(&cached, 2, fault);
        settle(fault);
        assert!(hit.as_ref().map_or(true, |got| *got == want), "{fault}");
        hit.is_err()
    });
    // Slabs may be smaller than those of the first submission, which had rows for all pairs.
    assert!(free() >= before, "memory is gone: {} of {before}", free());
    assert_eq!(subject.model.graphs_spoiled(), Vec::<String>::new());
}

/// The first submission allocates, later ones record graphs and have rows for few pairs, and the last one has too few
/// rows, so that it decodes twice.
#[test]
fn faults_of_a_model_that_begins() {
    let Some(device) = device() else { return };
    const TOP_K: [u32; 4] = [1, 1, 1, 15];
    let mut wants = None;
    for faulty in 0..TOP_K.len() {
        each_fault(1 + 9 * faulty, 41, |fault| {
            let subject = Subject::new(&device);
            let cached = subject.model.encode_host(&[&subject.pictures[2]]).unwrap().remove(0);
            let faults = |place| if place == faulty { fault } else { "" };
            let tries: Vec<_> = TOP_K.iter().enumerate().collect();
            let tries =
                tries.into_iter().map(|(place, &top_k)| subject.submit(&cached, top_k, faults(place)));
            let tries: Vec<_> = tries.collect();
            let spoiled = !subject.model.graphs_spoiled().is_empty();
            let all = || TOP_K.map(|top_k| subject.submit(&cached, top_k, "").unwrap());
            let wants = wants.get_or_insert_with(all);
            assert!(all() == *wants, "{fault} at {faulty}");
            for (place, (got, want)) in tries.iter().zip(&*wants).enumerate() {
                assert!(got.as_ref().map_or(place == faulty, |got| got == want), "{fault} at {faulty}");
            }
            spoiled || tries[faulty].is_err()
        });
    }
}
