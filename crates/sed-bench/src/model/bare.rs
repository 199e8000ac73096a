//! The model without any server, on batches of images: as one submission on a GPU, stage by stage on the CPU, as the
//! server has it.

use std::time::Instant;

use candle_core::{DType, Device};
use sed_image::{DecodeLimits, ResizeMode};
use sed_model::{
    Answered, Input, Level, OutputSpec, PinnedInput, PinnedInputs, Question, SedModel, Source, StageTimes,
    Thresholds, activation_dtype, checkpoint::Checkpoint, config::SedConfig, prompts::Category,
    text_tower::TextEmbedding,
};

use super::{
    staged,
    taken::{HostTimes, StageDurations, Taken, work},
    work::Work,
};
use crate::{
    error::{Error, Result},
    mix::Picture,
};

/// Rounds until submissions of a kind take their usual time: the second has all its memory, and the third replays
/// what the second has recorded.
const WARM_UP_SUBMISSIONS: usize = 3;

/// A model, and pictures that are ready for it.
#[derive(Debug)]
pub struct BareModel {
    model: SedModel,
    pictures: Vec<Ready>,
}

/// A picture at the model's input size, and its own size.
#[derive(Debug)]
struct Ready {
    pixels: Pixels,
    width: u32,
    height: u32,
}

/// Normalised pixels `[S, S, 3]`, where the server's decoding threads leave them.
#[derive(Debug)]
enum Pixels {
    Values(Vec<f32>),
    /// For a GPU.
    Pinned(PinnedInput),
}

impl BareModel {
    /// Loads the model and prepares pictures as the server does. The threads that compute must be running.
    ///
    /// # Errors
    /// The checkpoint does not fit its sizes or the device, or a picture cannot be decoded.
    pub fn load(
        (checkpoint, config): (&Checkpoint, SedConfig),
        (device, dtype): (&Device, DType),
        pictures: &[Picture],
    ) -> Result<Self> {
        let model = SedModel::load_as(checkpoint, config, device, dtype)
            .map_err(|source| Error::Load { origin: checkpoint.origin().to_owned(), source })?;
        let side = model.config().image_size;
        // The CPU has none.
        let slots =
            PinnedInputs::new(device, activation_dtype(device, dtype), side * side * 3, pictures.len());
        let ready = |picture: &Picture| -> Result<Ready> {
            let image = sed_image::decode(&picture.content, &DecodeLimits::default())?.image;
            let values = sed_image::network_input(&image, side as u32, ResizeMode::Direct)?.data;
            let pixels = slots.fill(&values).map_or(Pixels::Values(values), Pixels::Pinned);
            Ok(Ready { pixels, width: image.width(), height: image.height() })
        };
        let ready = |picture: &Picture| {
            let name = picture.name.clone();
            ready(picture).map_err(|error| Error::Picture { name, source: Box::new(error) })
        };
        let pictures = pictures.iter().map(ready).collect::<Result<_>>()?;
        Ok(Self { model, pictures })
    }

    /// The model's sizes.
    pub fn config(&self) -> &SedConfig {
        self.model.config()
    }

    /// The model itself.
    pub fn model(&self) -> &SedModel {
        &self.model
    }

    /// Embeds categories.
    ///
    /// # Errors
    /// The model fails.
    pub fn embed(&self, categories: &[Category]) -> Result<Vec<TextEmbedding>> {
        Ok(self.model.embed_categories(categories)?)
    }

    /// Rounds of a kind of batch that should not count.
    pub fn warm_up(&self) -> usize {
        if self.model.submits() { WARM_UP_SUBMISSIONS } else { 1 }
    }

    /// Runs one batch through all stages.
    ///
    /// # Errors
    /// The model or its device fails.
    pub fn run(&self, batch: &[Work<'_>]) -> Result<Taken> {
        let pictures: Vec<&Ready> =
            batch.iter().map(|work| &self.pictures[work.picture % self.pictures.len()]).collect();
        let outputs: Vec<OutputSpec> = pictures.iter().map(|picture| picture.output()).collect();
        let pixels: Vec<Input<'_>> = pictures.iter().map(|picture| picture.pixels.input()).collect();
        if self.model.submits() {
            return self.submit(batch, &pixels, &outputs);
        }
        let values = pixels.iter().filter_map(|input| match *input {
            Input::Values(values) => Some(values),
            Input::Pinned(_) => None,
        });
        staged::run(&self.model, batch, &values.collect::<Vec<_>>(), &outputs)
    }

    fn submit(&self, batch: &[Work<'_>], pixels: &[Input<'_>], outputs: &[OutputSpec]) -> Result<Taken> {
        let question = |(place, (&Work { text, rejection, .. }, output))| Question {
            image: Source::Input(place),
            text,
            groups: None,
            rejection,
            output,
        };
        let questions: Vec<Question<'_>> = batch.iter().zip(outputs).enumerate().map(question).collect();
        let begin = Instant::now();
        let submitted = self.model.submit(pixels, &vec![false; batch.len()], &questions)?;
        let submit = begin.elapsed();
        let entered: Vec<_> = submitted.answers.iter().map(entered).collect();
        let begin = Instant::now();
        submitted.answers.into_iter().try_for_each(|answer| answer.map.finish().map(drop))?;
        Ok(Taken {
            host: HostTimes::Submission { submit, answers: begin.elapsed() },
            on_device: Some(by_stage(&submitted.times)),
            work: work(batch, &entered, true),
        })
    }
}

impl Ready {
    fn output(&self) -> OutputSpec {
        OutputSpec {
            width: self.width,
            height: self.height,
            crop: None,
            thresholds: Thresholds::Same(0.0),
            score_maps: false,
            sureness: false,
        }
    }
}

impl Pixels {
    fn input(&self) -> Input<'_> {
        match self {
            Self::Values(values) => Input::Values(values),
            Self::Pinned(slot) => Input::Pinned(slot),
        }
    }
}

/// The number of an image's pairs that entered each level.
fn entered(answer: &Answered) -> [usize; Level::COUNT] {
    Level::ALL.map(|level| answer.survivors[level.index()].len())
}

fn by_stage(times: &StageTimes) -> StageDurations {
    let StageTimes { encode, cost_map, levels: [one, two, three], finish } = *times;
    [encode, cost_map, one, two, three, finish]
}
