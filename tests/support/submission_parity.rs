//! Submissions of the reduced model beside its single stages: the same maps, byte for byte.

use candle_core::{DType, Device};
use sed_model::PinnedInputs;
use sed_model::{
    DecodeRequest, FinishedMap, ImageFeatures, Input, Level, OutputSpec, Question, Rejection, Source,
    Submitted, Thresholds, activation_dtype,
};

use crate::device::Bounds;
use crate::findings::Findings;
use crate::reduced_parity::Loaded;

/// The first submission allocates, the second has all its memory, the third replays what the second recorded.
const ROUNDS: usize = 3;

/// The pairs that enter each level, and the map.
type Staged = ([Vec<u32>; Level::COUNT], FinishedMap);

/// The model on a device, the findings, and the bounds of what may differ.
struct Check<'a> {
    loaded: &'a Loaded,
    findings: Findings,
    bounds: Bounds,
}

/// In one number format: a picture alone, a batch of different requests, images encoded before, each more than once.
pub fn check(device: &Device, dtype: DType) -> Findings {
    let loaded = Loaded::new(device, dtype);
    let mut check = Check { loaded: &loaded, findings: Findings::default(), bounds: Bounds::of(device) };
    let (model, text) = (&loaded.model, loaded.text.as_slice());
    let pictures = [loaded.pixels.clone(), mirrored(&loaded.pixels, model.config().image_size)];
    let features = pictures.each_ref().map(|pixels| model.encode_host(&[pixels]).unwrap().remove(0));
    let values = pictures[0].len();
    let slots = PinnedInputs::new(device, activation_dtype(device, dtype), values, pictures.len());
    let slots = pictures.each_ref().map(|pixels| slots.fill(pixels).unwrap());
    let inputs = slots.each_ref().map(Input::Pinned);
    let (plain, sure) = (output(&loaded, false), output(&loaded, true));
    let question = |image, text, top_k, output| Question {
        image,
        text,
        groups: None,
        rejection: Rejection::from_top_k(top_k),
        output,
    };
    let top = text.len().min(2) as u32;

    let one = [question(Source::Input(0), text, top, &plain)];
    let want = check.staged(&one, &[&features[0]]);
    for round in 1..=ROUNDS {
        let submitted = model.submit(&inputs[..1], &[false], &one).unwrap();
        check.same(&format!("alone, round {round}"), submitted, &want);
    }
    let groups: Vec<u32> = (0..text.len() as u32).map(|pair| pair / 2).collect();
    let mixed = [
        question(Source::Input(1), text, 1, &plain),
        question(Source::Input(0), &text[1..], 0, &sure),
        Question { groups: Some(&groups), ..question(Source::Input(0), text, 1, &plain) },
        question(Source::Features(&features[1]), &text[..3], top, &plain),
    ];
    let want = check.staged(&mixed, &[&features[1], &features[0], &features[0], &features[1]]);
    for round in 1..=ROUNDS {
        let submitted = model.submit(&inputs, &[false, true], &mixed).unwrap();
        check.same(&format!("mixed, round {round}"), submitted, &want);
    }
    // The features that a submission keeps are as good as those of the encoder's stage.
    let mut submitted = model.submit(&inputs, &[true, false], &[]).unwrap();
    let kept = submitted.features.remove(0).unwrap();
    let cached = [question(Source::Features(&kept), text, top, &plain)];
    let want = check.staged(&cached, &[&features[0]]);
    for round in 1..=2 {
        let submitted = model.submit(&[], &[], &cached).unwrap();
        check.same(&format!("features, round {round}"), submitted, &want);
    }
    let spoiled = model.graphs_spoiled();
    spoiled.iter().for_each(|reason| check.findings.note(reason.clone()));
    check.findings.at_most("graphs that cannot be recorded", spoiled.len() as f64, 0.0);
    check.findings
}

impl Check<'_> {
    /// Compares answers with those of the stages.
    fn same(&mut self, what: &str, submitted: Submitted, want: &[Staged]) {
        assert_eq!(submitted.answers.len(), want.len());
        let (mut survivors, mut pixels, mut counts, mut scores) = (0, 0, 0, 0f64);
        for (answer, (entered, want)) in submitted.answers.into_iter().zip(want) {
            survivors += usize::from(answer.survivors != *entered);
            let map = answer.map.finish().unwrap();
            pixels += different(&map.indices, &want.indices) + usize::from(map.sureness != want.sureness);
            counts += different(&map.pixels, &want.pixels);
            let far = |(got, want): (&f32, &f32)| f64::from((got - want).abs());
            scores = map.mean_scores.iter().zip(&want.mean_scores).map(far).fold(scores, f64::max);
        }
        let findings = &mut self.findings;
        findings.at_most(format!("{what}: other survivors"), survivors as f64, 0.0);
        findings.at_most(format!("{what}: other pixels"), pixels as f64, 0.0);
        findings.at_most(format!("{what}: other counts"), counts as f64, 0.0);
        findings.at_most(format!("{what}: mean scores"), scores, self.bounds.company);
    }

    /// Each question alone, stage by stage; `images` are theirs.
    fn staged(&self, questions: &[Question<'_>], images: &[&ImageFeatures]) -> Vec<Staged> {
        let staged = |(question, features): (&Question<'_>, &&ImageFeatures)| {
            let Question { text, groups, rejection, output, .. } = *question;
            let model = &self.loaded.model;
            let request = DecodeRequest { features: *features, text, groups, rejection };
            let mut pairs = model.cost_map(&[request]).unwrap();
            let entered = Level::ALL.map(|level| {
                let entered = pairs.survivors(0).to_vec();
                pairs = model.decode_level(level, pairs.clone()).unwrap();
                entered
            });
            (entered, model.finish(&pairs, std::slice::from_ref(output)).unwrap().remove(0))
        };
        questions.iter().zip(images).map(staged).collect()
    }
}

/// The number of places at which lists differ; those that one of them has not got count, too.
fn different<T: PartialEq>(got: &[T], want: &[T]) -> usize {
    got.len().abs_diff(want.len()) + got.iter().zip(want).filter(|(got, want)| got != want).count()
}

fn output(loaded: &Loaded, sureness: bool) -> OutputSpec {
    let ((width, height), crop) = (loaded.size, Some(loaded.crop));
    OutputSpec { width, height, crop, thresholds: Thresholds::Same(0.0), score_maps: false, sureness }
}

/// Pixels `[side, side, 3]` from right to left.
fn mirrored(pixels: &[f32], side: usize) -> Vec<f32> {
    let row = |row: &[f32]| row.chunks(3).rev().flatten().copied().collect::<Vec<f32>>();
    pixels.chunks(3 * side).flat_map(row).collect()
}
