//! The model without any server: the stages, one after the other, on batches of images.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use sed_image::{DecodeLimits, ResizeMode};
use sed_model::{
    DecodeRequest, ImageFeatures, OutputSpec, PairBatch, SedModel, config::SedConfig, operations::BatchWork,
    prompts::Category, text_tower::TextEmbedding,
};

use crate::{args::ModelArgs, args::OpenedModel, commands::bench::mix::Picture, progress};

/// Names of the stages, in their order.
pub(crate) const STAGES: [&str; 6] =
    ["encode", "cost_map", "decode_level_1", "decode_level_2", "decode_level_3", "finish"];

/// A model, and pictures that are ready for it.
#[derive(Debug)]
pub(crate) struct BareModel {
    model: SedModel,
    pictures: Vec<Ready>,
}

/// A picture at the model's input size, and its own size.
#[derive(Debug)]
struct Ready {
    /// `[1, S, S, 3]`, normalised.
    pixels: Tensor,
    width: usize,
    height: usize,
}

/// One image of a batch, and what to look for in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work<'a> {
    /// Index of the picture; those beyond the last begin again.
    pub(crate) picture: usize,
    pub(crate) text: &'a [TextEmbedding],
    /// None is rejection off.
    pub(crate) top_k: Option<usize>,
}

/// What one batch took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// The time of each of [`STAGES`].
    pub(crate) stages: [Duration; STAGES.len()],
    /// What went through the stages, of all images.
    pub(crate) work: BatchWork,
}

impl Taken {
    /// The time of the whole batch.
    pub(crate) fn total(&self) -> Duration {
        self.stages.iter().sum()
    }
}

impl BareModel {
    /// Loads the model and prepares pictures as the server does. The threads that compute must be running.
    pub(crate) fn load(args: &ModelArgs, pictures: &[Picture]) -> Result<Self> {
        let spinner = progress::spinner("loading the model");
        let bare = Self::load_opened(args.open()?, args, pictures);
        spinner.finish_and_clear();
        bare
    }

    /// As [`BareModel::load`], of weights that were opened already.
    pub(crate) fn load_opened(opened: OpenedModel, args: &ModelArgs, pictures: &[Picture]) -> Result<Self> {
        let device = args.one_device()?;
        let OpenedModel { checkpoint, config } = opened;
        let model = SedModel::load_as(&checkpoint, config, &device, args.dtype.into())
            .with_context(|| format!("cannot load {}", checkpoint.origin()))?;
        let side = model.config().image_size;
        let ready = |picture: &Picture| -> Result<Ready> {
            let image = sed_image::decode(&picture.content, &DecodeLimits::default())?.image;
            let input = sed_image::network_input(&image, side as u32, ResizeMode::Direct)?;
            let pixels = Tensor::from_vec(input.data, (1, side, side, 3), &Device::Cpu)?;
            Ok(Ready { pixels, width: image.width() as usize, height: image.height() as usize })
        };
        let ready = |picture: &Picture| ready(picture).with_context(|| picture.name.clone());
        let pictures = pictures.iter().map(ready).collect::<Result<_>>()?;
        Ok(Self { model, pictures })
    }

    /// The model's sizes.
    pub(crate) fn config(&self) -> &SedConfig {
        self.model.config()
    }

    /// The model itself.
    pub(crate) fn model(&self) -> &SedModel {
        &self.model
    }

    /// Embeds categories.
    pub(crate) fn embed(&self, categories: &[Category]) -> Result<Vec<TextEmbedding>> {
        let spinner = progress::spinner(&format!("embedding {} categories", categories.len()));
        let embeddings = self.model.embed_categories(categories)?;
        spinner.finish_and_clear();
        Ok(embeddings)
    }

    /// Takes one batch through all stages.
    pub(crate) fn run(&self, batch: &[Work<'_>]) -> Result<Taken> {
        let mut stages = Vec::with_capacity(STAGES.len());
        let picture = |work: &Work<'_>| &self.pictures[work.picture % self.pictures.len()];
        let device = self.model.device();
        let features: Vec<ImageFeatures> = timed(device, &mut stages, || {
            let pixels: Vec<&Tensor> = batch.iter().map(|work| &picture(work).pixels).collect();
            Ok(self.model.encode(&Tensor::cat(&pixels, 0)?)?)
        })?;
        let mut pairs: PairBatch = timed(device, &mut stages, || {
            let with = batch.iter().zip(&features);
            let requests: Vec<DecodeRequest<'_>> = with
                .map(|(&Work { text, top_k, .. }, features)| DecodeRequest { features, text, top_k })
                .collect();
            Ok(self.model.cost_map(&requests)?)
        })?;
        drop(features); // the pairs hold what they need
        let candidates = batch.iter().map(|work| work.text.len() as u64).sum();
        let (mut survivors, mut rejects) = ([0; 3], [false; 3]);
        // As the model decides it: where every image has at most `top_k` categories left, nothing is.
        let can_reject = |left: &dyn Fn(usize) -> usize| {
            batch.iter().enumerate().any(|(image, work)| work.top_k.is_some_and(|k| k < left(image)))
        };
        rejects[0] = can_reject(&|image| batch[image].text.len());
        for index in 0..3 {
            survivors[index] = pairs.pairs() as u64;
            if index < 2 {
                rejects[index + 1] = can_reject(&|image| pairs.survivors(image).len());
            }
            pairs = timed(device, &mut stages, || Ok(self.model.decode_level(index + 1, pairs)?))?;
        }
        timed(device, &mut stages, || {
            let output = |work: &Work<'_>| OutputSpec {
                height: picture(work).height,
                width: picture(work).width,
                crop: None,
                score_threshold: 0.0,
                score_maps: false,
            };
            let outputs: Vec<OutputSpec> = batch.iter().map(output).collect();
            Ok(self.model.finish(&pairs, &outputs)?)
        })?;
        let work = BatchWork { images: batch.len() as u64, candidates, survivors, rejects };
        let mut taken = Taken { stages: Default::default(), work };
        taken.stages.copy_from_slice(&stages);
        Ok(taken)
    }
}

/// Adds the time of some work to `times`, until the device has done it.
fn timed<T>(device: &Device, times: &mut Vec<Duration>, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let begin = Instant::now();
    let result = work()?;
    device.synchronize()?;
    times.push(begin.elapsed());
    Ok(result)
}
