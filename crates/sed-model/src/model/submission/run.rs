//! From the features of a submission to its answers: what is queued between its upload and its one wait.

use std::sync::Arc;

use candle_core::{DType, Tensor};
use sed_kernels::submission::arena::{self, Side, Turns};
use sed_kernels::submission::room;
use sed_kernels::{DevicePairs, FusionOutputs, cost_map_batch, gather_pairs, reject};

use super::clock::{Clock, Stage};
use super::graphs::BatchFeatures;
use super::state::Kept;
use super::tables::{Asked, Entering, HostTables};
use super::words::{Places, Words, table};
use super::{Answered, Question, RawMap};
use crate::error::{ModelError, Result};
use crate::level::Level;
use crate::model::SedModel;
use crate::segmentation::BatchFinish;

/// The questions, and what the host knows about them.
pub(super) struct Decoding<'a> {
    pub(super) questions: &'a [Question<'a>],
    /// The vocabulary of each question, `[N, P, D]`.
    pub(super) vocabularies: Vec<&'a Tensor>,
    pub(super) asked: &'a Asked,
}

/// The number of pairs that entered each level, and the answers.
pub(super) type Decoded = ([usize; Level::COUNT], Vec<Answered>);

impl SedModel {
    /// Queues everything behind the features, waits once, and reads the answers. `None` when more pairs were left
    /// somewhere than the capacity there.
    pub(super) fn decode(
        &self,
        kept: &Kept,
        images: &BatchFeatures,
        decoding: &Decoding<'_>,
        capacities: [usize; Level::COUNT],
        clock: &mut Clock<'_>,
    ) -> Result<Option<Decoded>> {
        let Decoding { questions, asked, .. } = decoding;
        let finish = self.finishing(questions, capacities)?;

        clock.begin(Stage::CostMap)?;
        arena::work_on(Side::High);
        let mut words = Words::default();
        let tables = HostTables::add(&mut words, asked, questions);
        let parameters = words.push(finish.parameters().iter().copied());
        let mut places = Places::default();
        let entering = Entering::reserve(&mut places, asked, capacities);
        let maps = places.reserve(finish.words());
        let (block, held) = kept.host.upload(self.device(), &words.0)?;
        let results = room(self.device(), DType::U32, &[places.words()])?;

        let (logits, pairs) =
            self.levels(images, decoding, (&tables, &block), (&entering, &results), clock)?;
        clock.begin(Stage::Finish)?;
        finish.launch(&logits, &pairs, &table(&block, &parameters)?, &table(&results, &maps)?)?;
        let download = kept.host.download(&results)?;
        clock.end()?;
        let words = Arc::new(download.wait()?);
        drop(held);
        clock.add()?;

        let Some(entered) = entering.counts(&words) else { return Ok(None) };
        let finish = Arc::new(finish);
        let mut first = 0;
        let answer = |image: usize| -> Result<Answered> {
            let survivors = entering.survivors(&words, image)?;
            let last = survivors[Level::Three.index()].clone();
            let (finish, words, maps, row) = (Arc::clone(&finish), Arc::clone(&words), maps.clone(), first);
            first += last.len();
            let map = RawMap::new(move || finish.unpack(image, &words[maps], row, &last));
            Ok(Answered { survivors, map })
        };
        let answers = (0..questions.len()).map(answer).collect::<Result<_>>()?;
        Ok(Some((entered, answers)))
    }

    /// The plan of the results, for as many rows as the last level has.
    fn finishing(
        &self,
        questions: &[Question<'_>],
        capacities: [usize; Level::COUNT],
    ) -> Result<BatchFinish> {
        let outputs: Vec<_> = questions.iter().map(|question| question.output).collect();
        let vocabularies: Vec<_> =
            questions.iter().map(|question| (question.text.len(), question.groups)).collect();
        let side = self.config().image_size / 4;
        BatchFinish::plan(&outputs, &vocabularies, capacities[Level::Three.index()], (side, side))
    }

    /// Queues cost map and levels. Returns the last level's logits `[capacity, S/4, S/4]` and their pairs.
    fn levels(
        &self,
        images: &BatchFeatures,
        decoding: &Decoding<'_>,
        (tables, block): (&HostTables, &Tensor),
        (entering, results): (&Entering, &Tensor),
        clock: &mut Clock<'_>,
    ) -> Result<(Tensor, DevicePairs)> {
        let mut pairs = tables.pairs(block, decoding.asked)?;
        let rule = tables.rule(block)?;
        // A step reads what the step before has written; what lies below stays.
        let mut turns = Turns::from(Side::Low);
        turns.begin();
        let mut cost = cost_map_batch(&images.dense, &decoding.vocabularies)?;
        if let Some(after) = entering.pairs(results, Level::One)? {
            let logits = self.cost_map_stage().rejection_logits(&cost)?;
            turns.begin();
            let rows = reject(&logits, &pairs, &rule, &after)?;
            cost = only(gather_pairs(&[&cost], &rows, &after)?)?;
            pairs = after;
        }
        let mut x = self.cost_map_stage().embed_pairs(&cost, &pairs)?;
        for level in Level::ALL {
            clock.begin(Stage::Level(level))?;
            let after = level.next().map_or(Ok(None), |next| entering.pairs(results, next))?;
            let outputs =
                FusionOutputs { features: !level.is_last(), logits: level.is_last() || after.is_some() };
            turns.begin();
            let guide = &images.guides[level.index()];
            let fused = self.decoder().level(level).forward_pairs(&x, &cost, guide, &pairs, outputs)?;
            let (Some(features), Some(guidance)) = (fused.features, fused.cost_guidance) else {
                return fused.logits.map(|logits| (logits, pairs)).ok_or_else(no_map);
            };
            (x, cost) = (features, guidance);
            if let (Some(after), Some(logits)) = (after, fused.logits) {
                turns.begin();
                let rows = reject(&logits, &pairs, &rule, &after)?;
                let [features, guidance] =
                    <[Tensor; 2]>::try_from(gather_pairs(&[&x, &cost], &rows, &after)?)
                        .map_err(|_| no_map())?;
                (x, cost) = (features, guidance);
                pairs = after;
            }
        }
        Err(no_map())
    }
}

fn only(mut tensors: Vec<Tensor>) -> Result<Tensor> {
    tensors.pop().ok_or_else(no_map)
}

/// The error of a layer that leaves out a result.
fn no_map() -> ModelError {
    candle_core::Error::Msg("a decoder level gave no map".to_owned()).into()
}
