//! The way of a submission: its memory, its images, its questions, its answers.

use std::sync::{MutexGuard, PoisonError};

use candle_core::{Device, Tensor};
use sed_kernels::activation_dtype;
use sed_kernels::device::{Fault, fault, synchronize};
use sed_kernels::submission::arena::{self, Side};
use sed_kernels::submission::{PinnedInput, copy, room, upload_inputs};

use super::clock::{Clock, Stage};
use super::graphs::BatchFeatures;
use super::run::Decoding;
use super::state::{Kept, State};
use super::tables::Asked;
use super::{Answered, MOST_VOCABULARY_BYTES, Question, Source, Submitted};
use crate::error::{ModelError, Result};
use crate::features::ImageFeatures;
use crate::level::Level;
use crate::model::{SedModel, check_pairs};

/// An image on its way to the device: the `S·S·3` values of its normalised pixels.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// In f32, in any memory. They are converted and copied by the thread that submits.
    Values(&'a [f32]),
    /// Converted already, in memory that the device reads by itself.
    Pinned(&'a PinnedInput),
}

/// Waits for a device when it is dropped. Memory that was lent for copies is at home again by then, and may be used
/// once they are done. A fault that shows here shows again in whatever is done next.
struct Quiet<'a>(&'a Device);

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        synchronize(self.0).unwrap_or_default();
    }
}

impl SedModel {
    /// Reports whether [`SedModel::submit`] can be used: on a GPU.
    pub fn submits(&self) -> bool {
        self.submissions().is_some()
    }

    /// Bytes of the device that submissions may fill with vocabularies, beside their batches.
    pub fn vocabulary_bytes(&self) -> u64 {
        if self.submits() { MOST_VOCABULARY_BYTES as u64 } else { 0 }
    }

    /// All stages for a batch, in one go: encodes `inputs`, keeps the features of those of which `keep` says so, and
    /// answers `questions`. What an image gets does not depend on the others, and is what the single stages give.
    ///
    /// # Errors
    /// When the model does not submit, an input has another number of values, a question does not fit its vocabulary or
    /// asks for score maps, there are more pairs than one launch may have, or a tensor operation fails. Behind an error
    /// for want of memory all memory of submissions has been given back; the stages may still fit one by one.
    pub fn submit(
        &self,
        inputs: &[Input<'_>],
        keep: &[bool],
        questions: &[Question<'_>],
    ) -> Result<Submitted> {
        self.submit_observed(inputs, keep, questions, &|_| ())
    }

    /// As [`SedModel::submit`]; `observe` is told the name of each stage when its work begins to be queued: `upload`,
    /// `encode`, `cost_map`, `decode_level_1` to `decode_level_3` and `finish`.
    ///
    /// # Errors
    /// As [`SedModel::submit`].
    pub fn submit_observed(
        &self,
        inputs: &[Input<'_>],
        keep: &[bool],
        questions: &[Question<'_>],
        observe: &dyn Fn(&str),
    ) -> Result<Submitted> {
        let Some(submissions) = self.submissions() else {
            return Err(ModelError::input("only a model on a GPU takes submissions; run it stage by stage"));
        };
        if keep.len() != inputs.len() {
            return Err(ModelError::input(format!("{} marks to keep {} inputs", keep.len(), inputs.len())));
        }
        let asked = Asked::of(questions, inputs.len())?;
        check_pairs(asked.candidates.all(), self.limits().map(|limits| limits.cost_map))?;
        let mut state: MutexGuard<'_, State> = submissions.lock().unwrap_or_else(PoisonError::into_inner);
        let State { arena, kept, .. } = &mut *state;
        let vocabularies = questions.iter().map(|question| kept.vocabularies.stacked(question.text));
        let vocabularies = vocabularies.collect::<Result<Vec<_>>>();
        // In case of an error or a panic.
        let quiet = Quiet(self.device());
        let submitted = vocabularies.and_then(|vocabularies| {
            let vocabularies = vocabularies.iter().collect();
            arena.lend(|| {
                self.run(kept, inputs, keep, Decoding { questions, vocabularies, asked: &asked }, observe)
            })
        });
        match &submitted {
            Ok(_) => {
                std::mem::forget(quiet);
                state.grow();
            }
            Err(error) => {
                drop(quiet);
                drop(state);
                self.relieve(error);
            }
        }
        submitted
    }

    /// Drops all memory of submissions where an error says that there is too little.
    pub(crate) fn relieve(&self, error: &ModelError) {
        if let Some(submissions) = self.submissions()
            && matches!(error, ModelError::Tensor(error) if fault(error) == Fault::OutOfMemory)
        {
            submissions.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// Reasons why the encoder is queued launch by launch for some numbers of images, since the last call. Each is tried
    /// again later.
    pub fn graphs_spoiled(&self) -> Vec<String> {
        let submissions = self.submissions();
        let state = submissions.map(|state| state.lock().unwrap_or_else(PoisonError::into_inner));
        state.map_or_else(Vec::new, |mut state| state.kept.graphs.take_spoiled())
    }

    /// A submission in the arena that is lent to this thread.
    fn run(
        &self,
        kept: &mut Kept,
        inputs: &[Input<'_>],
        keep: &[bool],
        decoding: Decoding<'_>,
        observe: &dyn Fn(&str),
    ) -> Result<Submitted> {
        let mut clock = Clock::start(self.device(), observe)?;
        // Held until the device has read them: to the end.
        let staged = self.staged(kept, inputs)?;
        let encoded =
            if inputs.is_empty() { None } else { Some(self.encoded(kept, inputs, &staged, &mut clock)?) };
        let features = keep.iter().enumerate().map(|(image, keep)| match &encoded {
            Some(encoded) if *keep => self.kept(encoded, image).map(Some),
            _ => Ok(None),
        });
        let features = features.collect::<Result<Vec<_>>>()?;
        let answers = if decoding.questions.is_empty() {
            clock.end()?;
            synchronize(self.device())?;
            clock.add()?;
            Vec::new()
        } else {
            let images = self.images(encoded.as_ref(), decoding.questions)?;
            self.answers(kept, &images, &decoding, &mut clock)?
        };
        Ok(Submitted { features, answers, times: clock.times() })
    }

    /// The inputs that came as values, in memory that the device reads by itself; `None` for all others.
    fn staged(&self, kept: &Kept, inputs: &[Input<'_>]) -> Result<Vec<Option<PinnedInput>>> {
        let values = self.config().image_size.pow(2) * 3;
        let stage = |input: &Input<'_>| match input {
            Input::Pinned(_) => Ok(None),
            Input::Values(pixels) if pixels.len() != values => {
                Err(ModelError::input(format!("an image of {} values; expected {values}", pixels.len())))
            }
            Input::Values(pixels) => kept.staging.fill(pixels).map(Some).ok_or_else(|| {
                candle_core::Error::Msg("the host has no pinned memory left".to_owned()).into()
            }),
        };
        inputs.iter().map(stage).collect()
    }

    /// Uploads and encodes; leaves the features on the high side, and the low side as it was.
    fn encoded(
        &self,
        kept: &mut Kept,
        inputs: &[Input<'_>],
        staged: &[Option<PinnedInput>],
        clock: &mut Clock<'_>,
    ) -> Result<BatchFeatures> {
        let (device, side) = (self.device(), self.config().image_size);
        clock.begin(Stage::Upload)?;
        let before = arena::position();
        arena::work_on(Side::Low);
        let slots = inputs.iter().zip(staged).filter_map(|(input, staged)| match input {
            Input::Pinned(slot) => Some(*slot),
            Input::Values(_) => staged.as_ref(),
        });
        let pixels = upload_inputs(&slots.collect::<Vec<_>>(), &[side, side, 3], device)?;
        if pixels.dtype() != activation_dtype(device, self.dtype()) {
            let (found, wanted) = (pixels.dtype().as_str(), self.dtype().as_str());
            return Err(ModelError::input(format!("inputs in {found} for a model in {wanted}")));
        }
        clock.begin(Stage::Encode)?;
        let features = kept.graphs.run(device, inputs.len(), || self.encode_batch(&pixels))?;
        arena::reset(Side::Low, &before);
        Ok(features)
    }

    /// The features of pixels `[n, S, S, 3]`, on the high side of the arena.
    fn encode_batch(&self, pixels: &Tensor) -> Result<BatchFeatures> {
        let encoded = self.encoder().forward(pixels)?;
        let guidance = self.guidance().forward(&encoded.levels)?;
        arena::work_on(Side::High);
        let guides = self.decoder().guides(&guidance)?;
        Ok(BatchFeatures { dense: sed_kernels::normalise_rows(&encoded.dense)?, guides })
    }

    /// The features of one image in memory of their own.
    fn kept(&self, features: &BatchFeatures, image: usize) -> Result<ImageFeatures> {
        let keep = |x: &Tensor| -> Result<Tensor> {
            let row = x.narrow(0, image, 1)?;
            let own = arena::outside(|| room(self.device(), row.dtype(), row.dims()))?;
            copy(&row, &own)?;
            Ok(own)
        };
        let guides = features.guides.iter().map(keep).collect::<Result<_>>()?;
        Ok(ImageFeatures { dense: keep(&features.dense)?, guides })
    }

    /// The images of the questions as a batch: as they were encoded, or brought together.
    fn images(&self, encoded: Option<&BatchFeatures>, questions: &[Question<'_>]) -> Result<BatchFeatures> {
        let in_order = |(place, question): (usize, &Question<'_>)| match question.image {
            Source::Input(input) => input == place,
            Source::Features(_) => false,
        };
        if let Some(encoded) = encoded
            && encoded.dense.dim(0)? == questions.len()
            && questions.iter().enumerate().all(in_order)
        {
            return Ok(encoded.clone());
        }
        arena::work_on(Side::High);
        let dense = |features: &BatchFeatures| features.dense.clone();
        let dense = self.together(encoded, questions, dense, |features| features.dense())?;
        let guide = |level: Level| {
            let of_batch = move |features: &BatchFeatures| features.guides[level.index()].clone();
            self.together(encoded, questions, of_batch, move |features| features.guide(level))
        };
        Ok(BatchFeatures { dense, guides: Level::ALL.into_iter().map(guide).collect::<Result<_>>()? })
    }

    /// One of the features of every question's image, `[questions, ..]`.
    fn together(
        &self,
        encoded: Option<&BatchFeatures>,
        questions: &[Question<'_>],
        of_batch: impl Fn(&BatchFeatures) -> Tensor,
        of_image: impl for<'f> Fn(&'f ImageFeatures) -> &'f Tensor,
    ) -> Result<Tensor> {
        let row = |question: &Question<'_>| -> Result<Tensor> {
            match (&question.image, encoded) {
                (Source::Input(input), Some(encoded)) => Ok(of_batch(encoded).narrow(0, *input, 1)?),
                (Source::Features(features), _) => {
                    Ok(of_image(features).to_dtype(activation_dtype(self.device(), self.dtype()))?)
                }
                (Source::Input(_), None) => {
                    Err(ModelError::input("a question names an input that there is not"))
                }
            }
        };
        let rows = questions.iter().map(row).collect::<Result<Vec<_>>>()?;
        let Some(first) = rows.first() else { return Err(ModelError::input("there is no question")) };
        let shape: Vec<usize> =
            [rows.len()].into_iter().chain(first.dims().iter().skip(1).copied()).collect();
        let whole = room(self.device(), first.dtype(), &shape)?;
        for (place, row) in rows.iter().enumerate() {
            copy(row, &whole.narrow(0, place, 1)?)?;
        }
        Ok(whole)
    }

    /// Decodes; a second time, with as many rows as there may be, where the first had too few.
    fn answers(
        &self,
        kept: &mut Kept,
        images: &BatchFeatures,
        decoding: &Decoding<'_>,
        clock: &mut Clock<'_>,
    ) -> Result<Vec<Answered>> {
        let candidates = decoding.asked.candidates;
        let limits = self.limits().map_or([usize::MAX; Level::COUNT], |limits| limits.levels);
        if candidates.rejectable == 0 {
            limits.into_iter().try_for_each(|limit| check_pairs(candidates.all(), Some(limit)))?;
        }
        let base = arena::position();
        let guessed = kept.seen.capacities(candidates, limits);
        let mut decoded = self.decode(kept, images, decoding, guessed, clock)?;
        if decoded.is_none() {
            for side in [Side::Low, Side::High] {
                arena::reset(side, &base);
            }
            decoded = self.decode(kept, images, decoding, candidates.most(limits), clock)?;
        }
        let Some((entered, answers)) = decoded else {
            let reason =
                "more (image, category) pairs are left than one launch on a GPU takes; give fewer at a time";
            return Err(ModelError::input(reason));
        };
        kept.seen.remember(candidates, entered);
        Ok(answers)
    }
}
