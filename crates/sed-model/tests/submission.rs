//! A submission gives what the stages give one by one: on the GPU that `SED_TEST_DEVICE` names (`cuda:0`, feature
//! `cuda`), else on the CPU, which emulates one. In a process of its own, because the switch is the process's.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::cell::RefCell;

use candle_core::{DType, Device, Tensor};
use sed_model::PinnedInputs;
use sed_model::checkpoint::Checkpoint;
use sed_model::config::{PROMPTS, SedConfig};
use sed_model::device::{F32Products, open_gpu};
use sed_model::text_tower::TextEmbedding;
use sed_model::{
    DecodeRequest, FinishedMap, ImageFeatures, Input, Level, ModelError, OutputSpec, Question, Rejection,
    SedModel, Source, Submitted, Thresholds, synthetic,
};

const CONFIG: &str = r#"{
    "name": "tiny", "image_size": 64, "embed_dim": 32,
    "vision": { "dims": [16, 32, 64, 128], "depths": [1, 1, 2, 1], "head": { "type": "linear" } },
    "text": { "width": 16, "heads": 2, "layers": 2, "context_length": 77, "vocab_size": 49408 },
    "decoder": {
        "hidden_dim": 32, "dims": [32, 16, 16], "guidance_dims": [16, 8, 8], "corr_guidance_dims": [16, 8, 8],
        "kernel_size": 9, "attention_heads": 4
    }
}"#;

fn device() -> Device {
    match std::env::var("SED_TEST_DEVICE").ok().and_then(|name| name.strip_prefix("cuda:")?.parse().ok()) {
        Some(number) => open_gpu(number, F32Products::Exact).unwrap(),
        None => {
            sed_kernels::emulate_cuda(true);
            Device::Cpu
        }
    }
}

struct Subject {
    model: SedModel,
    text: Vec<TextEmbedding>,
}

impl Subject {
    fn new(dtype: DType) -> Self {
        let (config, device) = (SedConfig::from_json(CONFIG, "test").unwrap(), device());
        let checkpoint = Checkpoint::from_bytes(synthetic::safetensors(&config, 3), "synthetic").unwrap();
        let width = config.embed_dim;
        let embed = |word: usize| {
            let values = synthetic::values(&format!("word.{word}"), &[PROMPTS, width], 1);
            let rows = values.chunks(width).flat_map(|row| {
                let length = row.iter().map(|v| v * v).sum::<f32>().sqrt();
                row.iter().map(move |v| v / length)
            });
            let rows = Tensor::from_iter(rows, &Device::Cpu).unwrap().reshape((PROMPTS, width)).unwrap();
            TextEmbedding::combine(&[rows.to_dtype(dtype).unwrap().to_device(&device).unwrap()]).unwrap()
        };
        let text = (0..20).map(embed).collect();
        Self { model: SedModel::load_as(&checkpoint, config, &device, dtype).unwrap(), text }
    }

    fn picture(&self, seed: usize) -> Vec<f32> {
        let side = self.model.config().image_size;
        let wave = |i: usize| ((i * (31 + 7 * seed)) % 251) as f32 / 80.0 - 1.5;
        (0..side * side * 3)
            .map(|i| wave(i) + ((i / (side * 24)) as f32 * (1.0 + seed as f32)).sin())
            .collect()
    }

    fn features(&self, seed: usize) -> ImageFeatures {
        self.model.encode_host(&[&self.picture(seed)]).unwrap().remove(0)
    }

    /// The pairs that enter each level, and the result, stage by stage.
    fn staged(&self, features: &ImageFeatures, question: &Question<'_>) -> ([Vec<u32>; 3], FinishedMap) {
        let Question { text, groups, rejection, output, .. } = *question;
        let mut pairs = self.model.cost_map(&[DecodeRequest { features, text, groups, rejection }]).unwrap();
        let survivors = Level::ALL.map(|level| {
            let before = pairs.survivors(0).to_vec();
            pairs = self.model.decode_level(level, pairs.clone()).unwrap();
            before
        });
        (survivors, self.model.finish(&pairs, std::slice::from_ref(output)).unwrap().remove(0))
    }
}

fn output(width: u32, height: u32) -> OutputSpec {
    let thresholds = Thresholds::Same(0.0);
    OutputSpec { width, height, crop: None, thresholds, score_maps: false, sureness: false }
}

/// Compares the answers with those of the stages; `images` has the features of each question's image.
fn compare(subject: &Subject, submitted: Submitted, questions: &[Question<'_>], images: &[&ImageFeatures]) {
    assert_eq!(submitted.answers.len(), questions.len());
    for (place, (answer, question)) in submitted.answers.into_iter().zip(questions).enumerate() {
        let (survivors, want) = subject.staged(images[place], question);
        assert_eq!(answer.survivors, survivors, "question {place}");
        let map = answer.map.finish().unwrap();
        alike(&map, &want, &format!("question {place}"));
        assert_eq!(map.sureness.is_some(), want.sureness.is_some());
    }
}

/// Compares maps whose scores may be rounded differently: the product that stands in for the library's on the CPU adds
/// in an order of its own for each number of rows.
fn alike(map: &FinishedMap, want: &FinishedMap, what: &str) {
    assert_eq!((map.width, map.height, map.indices.len()), (want.width, want.height, want.indices.len()));
    let differ = map.indices.iter().zip(&want.indices).filter(|(a, b)| a != b).count();
    assert!(differ * 2000 <= map.indices.len(), "{what}: {differ} pixels of {}", map.indices.len());
    let pixels = map.pixels.iter().zip(&want.pixels).map(|(a, b)| a.abs_diff(*b) as usize).sum::<usize>();
    assert!(map.pixels.len() == want.pixels.len() && pixels <= 2 * differ, "{what}");
    for ((mean, want), pixels) in map.mean_scores.iter().zip(&want.mean_scores).zip(&want.pixels) {
        let rounded = 1e-4 + differ as f32 / (*pixels).max(1) as f32;
        assert!((mean - want).abs() < rounded, "{what}: {mean}, {want}");
    }
}

#[test]
fn answers_are_those_of_the_stages() {
    let subject = Subject::new(DType::F32);
    let (text, pictures) = (&subject.text, [0, 1, 2].map(|seed| subject.picture(seed)));
    let features = [0, 1, 2, 3].map(|seed| subject.features(seed));
    let groups = [0, 0, 1, 2, 2, 2, 3, 4, 4];
    let each: Vec<f32> = (0..5).map(|category| if category == 3 { f32::INFINITY } else { 0.2 }).collect();
    let outputs = [
        output(64, 64),
        OutputSpec { crop: Some((13, 16)), sureness: true, ..output(50, 31) },
        OutputSpec { thresholds: Thresholds::ByCategory(each.into()), ..output(20, 90) },
    ];
    let question = |image, text, rejection, output| Question { image, text, groups: None, rejection, output };
    let top = Rejection::from_top_k;
    let questions = [
        question(Source::Input(0), &text[..12], top(2), &outputs[0]),
        question(Source::Input(2), &text[5..], Rejection::Off, &outputs[1]),
        Question { groups: Some(&groups), ..question(Source::Input(1), &text[3..12], top(1), &outputs[2]) },
        // An image for the second time, one that was encoded before, and a vocabulary that a rejection leaves whole.
        question(Source::Input(0), &text[2..20], top(1), &outputs[1]),
        question(Source::Features(&features[3]), &text[..20], top(3), &outputs[0]),
        question(Source::Input(1), &text[..1], top(1), &outputs[0]),
    ];
    let images = [&features[0], &features[2], &features[1], &features[0], &features[3], &features[1]];
    let inputs = [0, 1, 2].map(|place| Input::Values(&pictures[place]));
    let keep = [true, false, true];
    // The first allocates, the second has slabs, later ones replay.
    for _ in 0..4 {
        let submitted = subject.model.submit(&inputs, &keep, &questions).unwrap();
        assert_eq!(submitted.features.iter().map(Option::is_some).collect::<Vec<_>>(), keep);
        compare(&subject, submitted, &questions, &images);
    }
    assert_eq!(subject.model.graphs_spoiled(), Vec::<String>::new());
    // Where nothing can be rejected, and the images are in order.
    let plain =
        [0, 1, 2].map(|place| question(Source::Input(place), &text[..7], Rejection::Off, &outputs[0]));
    let submitted = subject.model.submit(&inputs, &[false; 3], &plain).unwrap();
    compare(&subject, submitted, &plain, &[&features[0], &features[1], &features[2]]);
    // Of cached features alone, and of no question.
    let cached = [question(Source::Features(&features[1]), &text[..9], top(2), &outputs[0])];
    let submitted = subject.model.submit(&[], &[], &cached).unwrap();
    compare(&subject, submitted, &cached, &[&features[1]]);
    let submitted = subject.model.submit(&inputs, &keep, &[]).unwrap();
    assert!(submitted.answers.is_empty());
    let (kept, want) = (submitted.features[2].as_ref().unwrap(), &features[2]);
    for (kept, want) in [(kept.dense(), want.dense()), (kept.guide(Level::Three), want.guide(Level::Three))] {
        let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let far = values(kept).iter().zip(values(want)).any(|(a, b)| (a - b).abs() > 1e-4);
        assert!(!far && kept.dims() == want.dims());
    }
}

/// Batches of every kind in a mixed order, so that slabs grow, graphs are replayed behind other shapes, and capacities
/// are too small.
#[test]
fn any_batch_gives_what_its_questions_give_alone() {
    let subject = Subject::new(DType::F32);
    let pictures = [0, 1, 2, 3].map(|seed| subject.picture(seed));
    let features = [0, 1, 2, 3].map(|seed| subject.features(seed));
    let one_group = [0; 20];
    let pairs_of_words: Vec<u32> = (0..20).map(|phrase| phrase / 2).collect();
    let most = OutputSpec { thresholds: Thresholds::Same(1.5), ..output(5, 5) };
    let outputs = [
        output(1, 1),
        output(700, 500),
        most,
        OutputSpec { crop: Some((1, 1)), sureness: true, ..output(9, 40) },
    ];
    let mut state = 7usize;
    let mut below = |most: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % most
    };
    for round in 0..11 {
        let (count, inputs) = ([1, 16, 2, 5][round % 4], [1, 4, 0, 2, 3][round % 5]);
        let mut images = Vec::new();
        let questions: Vec<Question<'_>> = (0..count)
            .map(|place| {
                let image = if inputs > 0 && below(3) > 0 {
                    // Often in order, sometimes twice.
                    let input = if below(4) == 0 { below(inputs) } else { place % inputs };
                    images.push(&features[input]);
                    Source::Input(input)
                } else {
                    let cached = below(4);
                    images.push(&features[cached]);
                    Source::Features(&features[cached])
                };
                let first = below(20);
                let words = [1, 20 - first, 3.min(20 - first)][below(3)];
                let groups = [None, Some(&one_group[..words]), Some(&pairs_of_words[..words])][below(3)];
                let rejection = Rejection::from_top_k([0, 1, 1, 2, 19, 1000][below(6)]);
                let text = &subject.text[first..first + words];
                Question { image, text, groups, rejection, output: &outputs[below(4)] }
            })
            .collect();
        let keep: Vec<bool> = (0..inputs).map(|_| below(2) == 0).collect();
        let inputs: Vec<Input<'_>> = pictures[..inputs].iter().map(|pixels| Input::Values(pixels)).collect();
        let submitted = subject.model.submit(&inputs, &keep, &questions).unwrap();
        for ((kept, keep), want) in submitted.features.iter().zip(&keep).zip(&features) {
            assert_eq!(kept.is_some(), *keep);
            let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let differ = |(a, b): (&f32, &f32)| (a - b).abs() > 1e-4;
            assert!(
                kept.iter()
                    .all(|kept| { !values(kept.dense()).iter().zip(&values(want.dense())).any(differ) })
            );
        }
        compare(&subject, submitted, &questions, &images);
    }
    assert_eq!(subject.model.graphs_spoiled(), Vec::<String>::new());
}

#[test]
fn a_picture_that_is_no_number_harms_no_other() {
    for dtype in [DType::F32, DType::BF16] {
        let subject = Subject::new(dtype);
        let (good, mut bad) = (subject.picture(0), subject.picture(1));
        bad[100] = f32::NAN;
        let output = output(20, 20);
        let question = |input, top_k| {
            let (image, rejection) = (Source::Input(input), Rejection::from_top_k(top_k));
            Question { image, text: &subject.text[..9], groups: None, rejection, output: &output }
        };
        let answer = |pictures: &[&[f32]], questions: &[Question<'_>]| {
            let inputs: Vec<Input<'_>> = pictures.iter().map(|pixels| Input::Values(pixels)).collect();
            let keep = vec![false; inputs.len()];
            let submitted = subject.model.submit(&inputs, &keep, questions).unwrap();
            submitted.answers.into_iter().map(|answer| answer.map.finish()).collect::<Vec<_>>()
        };
        for _ in 0..3 {
            let together = answer(&[&bad, &good, &bad], &[question(0, 2), question(1, 2), question(2, 0)]);
            let alone = answer(&[&good], &[question(0, 2)]);
            let is_blamed = |result| matches!(result, &Err(ModelError::NotFinite { .. }));
            assert_eq!(together.iter().map(is_blamed).collect::<Vec<_>>(), [true, false, true]);
            alike(together[1].as_ref().unwrap(), alone[0].as_ref().unwrap(), "beside NaN");
        }
    }
}

#[test]
fn pairs_beyond_the_capacity_are_decoded_again() {
    let subject = Subject::new(DType::F32);
    let (picture, features, output) = (subject.picture(5), subject.features(5), output(40, 40));
    let stages = RefCell::new(Vec::new());
    let ask = |top_k| {
        stages.borrow_mut().clear();
        let question = Question {
            image: Source::Input(0),
            text: &subject.text,
            groups: None,
            rejection: Rejection::from_top_k(top_k),
            output: &output,
        };
        let observe = |stage: &str| stages.borrow_mut().push(stage.to_owned());
        let inputs = [Input::Values(&picture)];
        let questions = [question];
        let submitted = subject.model.submit_observed(&inputs, &[false], &questions, &observe).unwrap();
        compare(&subject, submitted, &questions, &[&features]);
        stages.borrow().iter().filter(|stage| *stage == "cost_map").count()
    };
    let few = ask(1);
    assert_eq!(
        stages.borrow().join(" "),
        "upload encode cost_map decode_level_1 decode_level_2 decode_level_3 finish"
    );
    // With experience of few pairs there are too few rows for many, once.
    assert_eq!((few, ask(1), ask(19), ask(19)), (1, 1, 2, 1));
}

/// A panic leaves nothing behind: neither the arena of the thread nor an open recording nor copies that are under way.
#[test]
fn a_panic_harms_only_its_submission() {
    let subject = Subject::new(DType::F32);
    let (picture, features, output) = (subject.picture(5), subject.features(5), output(40, 40));
    let questions = [Question {
        image: Source::Input(0),
        text: &subject.text,
        groups: None,
        rejection: Rejection::from_top_k(2),
        output: &output,
    }];
    let submit = |at: &str| {
        let panics = |stage: &str| assert!(stage != at, "as it was asked for");
        let inputs = [Input::Values(&picture)];
        subject.model.submit_observed(&inputs, &[true], &questions, &panics).unwrap()
    };
    let stages = ["upload", "encode", "cost_map", "decode_level_1", "decode_level_3", "finish"];
    for stage in stages.into_iter().chain(["encode", "finish"]) {
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| submit(stage))).is_err());
        compare(&subject, submit(""), &questions, &[&features]);
    }
    assert_eq!(subject.model.graphs_spoiled(), Vec::<String>::new());
}

#[test]
fn inputs_in_pinned_memory_are_the_same_inputs() {
    let subject = Subject::new(DType::BF16);
    let picture = subject.picture(1);
    let output = output(30, 30);
    let question = || Question {
        image: Source::Input(1),
        text: &subject.text[..6],
        groups: None,
        rejection: Rejection::from_top_k(2),
        output: &output,
    };
    let slots = PinnedInputs::new(subject.model.device(), DType::BF16, picture.len(), 2);
    let (first, second) = (slots.fill(&subject.picture(0)).unwrap(), slots.fill(&picture).unwrap());
    assert!(slots.fill(&picture).is_none());
    let other = subject.picture(0);
    let mut maps = [
        [Input::Values(&other), Input::Values(&picture)],
        [Input::Pinned(&first), Input::Pinned(&second)],
        [Input::Values(&other), Input::Pinned(&second)],
    ]
    .map(|inputs| {
        let mut submitted = subject.model.submit(&inputs, &[false, false], &[question()]).unwrap();
        submitted.answers.remove(0).map.finish().unwrap()
    })
    .into_iter();
    let want = maps.next().unwrap();
    assert!(maps.all(|map| map == want));
    // Slots of another format are not this model's.
    let slots = PinnedInputs::new(subject.model.device(), DType::F32, picture.len(), 2);
    let wrong = slots.fill(&picture).unwrap();
    let inputs = [Input::Pinned(&wrong), Input::Pinned(&wrong)];
    assert!(subject.model.submit(&inputs, &[false, false], &[question()]).is_err());
}

#[test]
fn what_does_not_fit_is_refused_and_harms_nothing() {
    let subject = Subject::new(DType::F32);
    let (picture, features) = (subject.picture(0), subject.features(0));
    let (good, maps) = (output(8, 8), OutputSpec { score_maps: true, ..output(8, 8) });
    let question = |image, text, output| {
        let rejection = Rejection::from_top_k(2);
        [Question { image, text, groups: None, rejection, output }]
    };
    let fails = |pixels: &[f32], keep: &[bool], questions: &[Question<'_>]| {
        subject.model.submit(&[Input::Values(pixels)], keep, questions).unwrap_err().to_string()
    };
    let text = &subject.text[..4];
    let reason = fails(&picture[1..], &[true], &question(Source::Input(0), text, &good));
    assert!(reason.contains("expected 12288"), "{reason}");
    assert!(fails(&picture, &[], &question(Source::Input(0), text, &good)).contains("0 marks"));
    assert!(fails(&picture, &[true], &question(Source::Input(1), text, &good)).contains("input 1 of 1"));
    assert!(fails(&picture, &[true], &question(Source::Input(0), &text[..0], &good)).contains("category"));
    assert!(fails(&picture, &[true], &question(Source::Input(0), text, &maps)).contains("score maps"));
    let questions = question(Source::Input(0), text, &good);
    let submitted = subject.model.submit(&[Input::Values(&picture)], &[false], &questions).unwrap();
    compare(&subject, submitted, &questions, &[&features]);
}
