//! The model without any server: the stages, one after the other, on batches of images.

use std::time::{Duration, Instant};

use candle_core::{DType, Device};
use sed_image::{DecodeLimits, ResizeMode};
use sed_model::{
    DecodeRequest, ImageFeatures, Level, OutputSpec, PairBatch, Rejection, SedModel, Thresholds,
    checkpoint::Checkpoint, config::SedConfig, device::EventTimer, operations::BatchWork, prompts::Category,
    text_tower::TextEmbedding,
};

use crate::{
    error::{Error, Result},
    mix::Picture,
};

/// Names of the stages, in their order.
pub const STAGES: [&str; 6] =
    ["encode", "cost_map", "decode_level_1", "decode_level_2", "decode_level_3", "finish"];

/// A model, and pictures that are ready for it.
#[derive(Debug)]
pub struct BareModel {
    model: SedModel,
    pictures: Vec<Ready>,
}

/// A picture at the model's input size, and its own size.
#[derive(Debug)]
struct Ready {
    /// `[S, S, 3]`, normalised.
    pixels: Vec<f32>,
    width: u32,
    height: u32,
}

/// One image of a batch, and what to look for in it.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// Index of the picture; after the last, the first follows again.
    pub picture: usize,
    /// The text embeddings of the categories.
    pub text: &'a [TextEmbedding],
    /// The rejection.
    pub rejection: Rejection,
}

/// Times and work of one batch.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// The time of each of [`STAGES`] as the host sees it.
    pub stages: [Duration; STAGES.len()],
    /// The same on a GPU's own clock ([`EventTimer`]); `None` on the CPU.
    pub on_device: Option<[Duration; STAGES.len()]>,
    /// The work of all images, by which operations are counted.
    pub work: BatchWork,
}

impl Taken {
    /// The time of the whole batch.
    pub fn total(&self) -> Duration {
        self.stages.iter().sum()
    }
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
        let ready = |picture: &Picture| -> Result<Ready> {
            let image = sed_image::decode(&picture.content, &DecodeLimits::default())?.image;
            let pixels = sed_image::network_input(&image, side as u32, ResizeMode::Direct)?.data;
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

    /// Runs one batch through all stages.
    ///
    /// # Errors
    /// The model or its device fails.
    pub fn run(&self, batch: &[Work<'_>]) -> Result<Taken> {
        let picture = |work: &Work<'_>| &self.pictures[work.picture % self.pictures.len()];
        let mut clock = Clock::start(self.model.device())?;
        let features: Vec<ImageFeatures> = clock.time(|| {
            let images: Vec<&[f32]> = batch.iter().map(|work| picture(work).pixels.as_slice()).collect();
            Ok(self.model.encode_host(&images)?)
        })?;
        let mut pairs: PairBatch = clock.time(|| {
            let with = batch.iter().zip(&features);
            let requests: Vec<DecodeRequest<'_>> = with
                .map(|(&Work { text, rejection, .. }, features)| DecodeRequest {
                    features,
                    text,
                    groups: None,
                    rejection,
                })
                .collect();
            Ok(self.model.cost_map(&requests)?)
        })?;
        drop(features); // the pairs hold what they need
        let candidates = batch.iter().map(|work| work.text.len() as u64).sum();
        let (mut survivors, mut rejects) = ([0; 3], [false; 3]);
        // As in the model: nothing is rejected where every image has at most `top_k` categories left.
        let can_reject = |left: &dyn Fn(usize) -> usize| {
            batch.iter().enumerate().any(|(image, work)| work.rejection.kept(left(image)) < left(image))
        };
        rejects[0] = can_reject(&|image| batch[image].text.len());
        for level in Level::ALL {
            survivors[level.index()] = pairs.pairs() as u64;
            if let Some(next) = level.next() {
                rejects[next.index()] = can_reject(&|image| pairs.survivors(image).len());
            }
            pairs = clock.time(|| Ok(self.model.decode_level(level, pairs)?))?;
        }
        clock.time(|| {
            let output = |work: &Work<'_>| OutputSpec {
                width: picture(work).width,
                height: picture(work).height,
                crop: None,
                thresholds: Thresholds::Same(0.0),
                score_maps: false,
                sureness: false,
            };
            let outputs: Vec<OutputSpec> = batch.iter().map(output).collect();
            Ok(self.model.finish(&pairs, &outputs)?)
        })?;
        let (stages, on_device) = clock.stop()?;
        let work = BatchWork { images: batch.len() as u64, candidates, survivors, rejects };
        Ok(Taken { stages: by_stage(&stages), on_device: on_device.as_deref().map(by_stage), work })
    }
}

/// Times stages one after the other: on the host's clock until the device has done them, and on the device's
/// own.
struct Clock<'a> {
    device: &'a Device,
    host: Vec<Duration>,
    events: Option<EventTimer>,
}

impl<'a> Clock<'a> {
    fn start(device: &'a Device) -> Result<Self> {
        Ok(Self { device, host: Vec::with_capacity(STAGES.len()), events: EventTimer::start(device)? })
    }

    fn time<T>(&mut self, stage: impl FnOnce() -> Result<T>) -> Result<T> {
        let begin = Instant::now();
        let result = stage()?;
        if let Some(events) = &mut self.events {
            events.mark()?;
        }
        self.device.synchronize()?;
        self.host.push(begin.elapsed());
        Ok(result)
    }

    fn stop(self) -> Result<(Vec<Duration>, Option<Vec<Duration>>)> {
        Ok((self.host, self.events.map(EventTimer::finish).transpose()?))
    }
}

fn by_stage(times: &[Duration]) -> [Duration; STAGES.len()] {
    let mut stages = [Duration::ZERO; STAGES.len()];
    stages.copy_from_slice(times);
    stages
}
