//! Scores that are not finite never become a mask: a NaN in any weight, picture or word ends in a typed error, on the
//! CPU and with the kernels for CUDA, and harms no other request.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::sync::Mutex;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use sed_engine::{
    Category, Engine, EngineConfig, EngineError, JobImage, NetworkInput, Priority, ReadPhrases, SedStages,
    SegmentJob, Vocabulary, VocabularyLimits,
};
use sed_model::checkpoint::Checkpoint;
use sed_model::{DecodeRequest, ModelError, OutputSpec, Rejection, SedModel, Thresholds, prompts};
use sed_telemetry::Telemetry;
use sed_tests::golden;
use sed_tests::stages::decode_all;

/// Held by the test that runs: the emulator's switch is global.
static BACKEND: Mutex<()> = Mutex::new(());

/// Runs `f` with the CPU's kernels and with those for CUDA, emulated.
fn on_both(f: impl Fn(&str)) {
    let _alone = BACKEND.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    f("cpu");
    sed_kernels::emulate_cuda(true);
    f("cuda, emulated");
    sed_kernels::emulate_cuda(false);
}

/// The bytes of the reduced model, and where each tensor's values are in them.
struct Weights {
    bytes: Vec<u8>,
    start: usize,
    header: serde_json::Value,
}

impl Weights {
    fn read() -> Self {
        let bytes = std::fs::read(golden::path("nano/sed_nano.safetensors")).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        Self { bytes, start: 8 + length, header }
    }

    /// A model with NaN in `rows` of the first axis of a tensor, all rows if there are none.
    fn with_nan(&self, name: &str, rows: Option<std::ops::Range<usize>>) -> SedModel {
        let entry = &self.header[name];
        assert_eq!(entry["dtype"], "F32", "{name}");
        let numbers = |key: &str| -> Vec<usize> { serde_json::from_value(entry[key].clone()).unwrap() };
        let (shape, offsets) = (numbers("shape"), numbers("data_offsets"));
        let row = (offsets[1] - offsets[0]) / shape.first().copied().unwrap_or(1);
        let rows = rows.unwrap_or(0..shape.first().copied().unwrap_or(1));
        let mut bytes = self.bytes.clone();
        let from = self.start + offsets[0] + rows.start * row;
        for value in bytes[from..from + rows.len() * row].as_chunks_mut::<4>().0 {
            *value = f32::NAN.to_le_bytes();
        }
        let config = Checkpoint::open(&golden::path("nano/sed_nano.safetensors")).unwrap().config().unwrap();
        let checkpoint = Checkpoint::from_bytes(bytes, "nano with NaN").unwrap().accepting_not_finite();
        SedModel::load_as(&checkpoint, config, &Device::Cpu, DType::F32).unwrap()
    }
}

fn pixels(side: usize, seed: usize) -> Vec<f32> {
    (0..side * side * 3).map(|index| ((index * (37 + seed) % 255) as f32 - 127.0) / 60.0).collect()
}

/// Asks a model about one picture with each rejection; returns the categories that are left.
fn answers(model: &SedModel, words: &[&str], rejections: &[Rejection]) -> Vec<Result<usize, ModelError>> {
    let side = model.config().image_size;
    let words: Vec<_> = words.iter().copied().map(prompts::Category::new).collect();
    let text = model.embed_categories(&words).unwrap();
    let input = Tensor::from_vec(pixels(side, 0), (1, side, side, 3), &Device::Cpu).unwrap();
    let features = model.encode(&input).unwrap().remove(0);
    let output = OutputSpec {
        width: 11,
        height: 9,
        crop: None,
        thresholds: Thresholds::Same(0.0),
        score_maps: false,
        sureness: false,
    };
    let answer = |&rejection: &Rejection| -> Result<usize, ModelError> {
        let request = DecodeRequest { features: &features, text: &text, groups: None, rejection };
        let (pairs, _) = decode_all(model, &[request]);
        model.finish(&pairs, std::slice::from_ref(&output))?;
        Ok(pairs.pairs())
    };
    rejections.iter().map(answer).collect()
}

/// Every weight that inference reads, one after the other; every tenth where a GPU is emulated, which is slow.
#[test]
fn a_nan_in_any_weight_is_noticed() {
    const WORDS: [&str; 3] = ["cat", "grass", "sky"];
    let weights = Weights::read();
    let config = Checkpoint::open(&golden::path("nano/sed_nano.safetensors")).unwrap().config().unwrap();
    let tensors = config.expected_tensors().into_iter().filter(|tensor| tensor.used);
    let names: Vec<String> = tensors.map(|tensor| tensor.name).collect();
    assert!(names.len() > 100, "{}", names.len());
    on_both(|backend| {
        let step = if backend == "cpu" { 1 } else { 10 };
        for name in names.iter().step_by(step) {
            let model = weights.with_nan(name, None);
            // These heads only reject: what is no number ranks first, and the scores of what is left are sound.
            let rejects = ["head0", "head1", "head2"].iter().any(|head| name.contains(head));
            for answer in answers(&model, &WORDS, &[Rejection::Off, Rejection::from_top_k(1)]) {
                match answer {
                    Err(ModelError::NotFinite { found, of }) if !rejects => assert!(found > 0 && found <= of),
                    Ok(1..=3) if rejects => {}
                    other => panic!("{backend}, {name}: {other:?}"),
                }
            }
        }
    });
}

fn job(words: &[&str], data: Vec<f32>, side: usize, reader: &dyn ReadPhrases) -> SegmentJob {
    let categories = words.iter().copied().map(Category::new).collect();
    SegmentJob {
        image: JobImage::Pixels { input: NetworkInput::new(side as u32, data).into(), facts: None },
        vocabulary: Vocabulary::new(categories, &VocabularyLimits::default(), reader).unwrap(),
        rejection: Rejection::from_top_k(2),
        output: OutputSpec {
            width: 20,
            height: 10,
            crop: None,
            thresholds: Thresholds::Same(0.0),
            score_maps: false,
            sureness: false,
        },
        waiting_since: Instant::now(),
        deadline: None,
        priority: Priority::Normal,
    }
}

fn with_engine(model: SedModel, f: impl AsyncFn(Engine, usize)) {
    let side = model.config().image_size;
    let engine = Engine::start(SedStages::new(model), &EngineConfig::default(), &Telemetry::off()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        f(engine.clone(), side).await;
        engine.shutdown().await;
    });
}

#[test]
fn a_picture_that_is_to_blame_fails_alone() {
    on_both(|backend| {
        let checkpoint = Checkpoint::open(&golden::path("nano/sed_nano.safetensors")).unwrap();
        with_engine(
            SedModel::load(&checkpoint, &Device::Cpu).unwrap(),
            async |engine: Engine, side: usize| {
                engine.ready().await.unwrap();
                let reader = engine.phrase_reader();
                let words = ["cat", "grass", "sky", "river"];
                let mut broken = pixels(side, 1);
                broken[side * 3 + 7] = f32::NAN;
                let sound = |seed| job(&words, pixels(side, seed), side, &*reader);
                let wanted = [
                    engine.segment(sound(0)).await.unwrap().map,
                    engine.segment(sound(2)).await.unwrap().map,
                ];
                let (first, second, third) = tokio::join!(
                    engine.segment(sound(0)),
                    engine.segment(job(&words, broken, side, &*reader)),
                    engine.segment(sound(2))
                );
                let failed = matches!(second, Err(EngineError::ResultNotFinite { .. }));
                assert!(failed, "{backend}: {second:?}");
                assert_eq!([first.unwrap().map, third.unwrap().map], wanted, "{backend}");
                assert!(engine.state().borrow().is_ready(), "{backend}");
            },
        );
    });
}

#[test]
fn a_word_that_is_to_blame_fails_its_requests_alone() {
    let weights = Weights::read();
    let name = "sem_seg_head.predictor.clip_model.token_embedding.weight";
    // The token of "z" at the end of a word, which no prompt and no other word of this test has.
    let token = 256 + usize::from(b'z' - b'!');
    on_both(|backend| {
        let model = weights.with_nan(name, Some(token..token + 1));
        with_engine(model, async |engine: Engine, side: usize| {
            engine.ready().await.unwrap();
            let reader = engine.phrase_reader();
            let ask = |words: &[&str]| engine.segment(job(words, pixels(side, 0), side, &*reader));
            let broken = ask(&["cat", "z", "sky"]).await;
            assert!(matches!(broken, Err(EngineError::ResultNotFinite { .. })), "{backend}: {broken:?}");
            ask(&["cat", "sky"]).await.unwrap();
            let (broken, sound) = tokio::join!(ask(&["z", "cat"]), ask(&["cat", "grass"]));
            assert!(matches!(broken, Err(EngineError::ResultNotFinite { .. })), "{backend}: {broken:?}");
            sound.unwrap();
            assert!(engine.state().borrow().is_ready(), "{backend}");
        });
    });
}

#[test]
fn a_model_without_finite_scores_does_not_become_ready() {
    let weights = Weights::read();
    let name = "sem_seg_head.predictor.transformer.head.bias";
    on_both(|backend| {
        with_engine(weights.with_nan(name, None), async |engine: Engine, _: usize| {
            let error = engine.ready().await.unwrap_err();
            let told = matches!(&error, EngineError::WarmUpFailed(why) if why.contains("not finite"));
            assert!(told, "{backend}: {error}");
        });
    });
}
