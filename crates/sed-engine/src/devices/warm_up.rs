//! The warm-up of a model before its first request: every stage once, the largest batches, submissions of
//! some sizes on a device that has them, and the words of preloaded vocabularies.

use std::{collections::HashSet, time::Instant};

use tracing::Span;

use crate::{
    admission::{
        Admission,
        cost_model::{Demand, text_units},
    },
    requests::{
        job::{JobImage, Priority, SegmentJob, SegmentOutcome},
        vocabulary::{Category, MOST_CATEGORIES, Vocabulary},
    },
    scheduler::{
        Scheduler,
        task::{Answer, Arrival, Order},
        ticket::Urgency,
    },
    stages::{NetworkInput, OutputSpec, Rejection, Stages, Thresholds, phrases::TokenPhrase},
};

/// Images of the submissions that are tried beside the largest: what a device prepares for a size is there
/// when requests come.
const SUBMISSIONS: [usize; 5] = [1, 2, 4, 8, 16];

/// Requests that go through the stages together, and the receivers of their answers.
pub(crate) type Round<T> = (Vec<Arrival>, Vec<Answer<T>>);

/// The settings of a warm-up.
#[derive(Clone, Debug, Default)]
pub(crate) struct WarmUp {
    /// True to try the largest batches, too: they show whether the memory is enough, and what a unit of work
    /// costs.
    pub(crate) largest_batches: bool,
    /// Categories whose words are embedded, one list for each vocabulary.
    pub(crate) vocabularies: Vec<Vec<Category>>,
}

impl WarmUp {
    /// One small picture.
    pub(crate) fn quick() -> Self {
        Self::default()
    }

    /// The rounds of pictures. None is refused: the engine's own requests have a queue of their own.
    pub(crate) fn pictures<S: Stages>(
        &self,
        stages: &S,
        scheduler: &Scheduler<S>,
    ) -> Result<Vec<Round<SegmentOutcome>>, String> {
        let small = job(stages, 2, Rejection::from_top_k(1))?;
        let submits = stages.submits(&small.output);
        let mut rounds = vec![round([picture(small.clone())])?];
        if !self.largest_batches {
            return Ok(rounds);
        }
        let (images, pairs) = scheduler.budget();
        // Pairs of one picture, of which a vocabulary has no more than an index map can hold.
        let each = (pairs / images).clamp(1, MOST_CATEGORIES);
        let sizes: &[usize] = if submits { &SUBMISSIONS } else { &[] };
        for size in sizes.iter().copied().filter(|size| *size < images).chain([images]) {
            let batch = (0..size).map(|_| job(stages, each, Rejection::Off));
            rounds.push(round(batch.collect::<Result<Vec<_>, _>>()?.into_iter().map(picture))?);
        }
        if submits {
            // Score maps go stage by stage.
            let mut one_by_one = small;
            one_by_one.output.score_maps = true;
            rounds.push(round([picture(one_by_one)])?);
        }
        Ok(rounds)
    }

    /// The round of the words to preload.
    pub(crate) fn words<S: Stages>(&self, stages: &S) -> Result<Round<()>, String> {
        let reader = stages.phrase_reader();
        let urgency = Urgency { priority: Priority::Normal, since: Instant::now(), deadline: None };
        let words = |categories: &Vec<Category>| {
            let vocabulary = Vocabulary::built_in(categories.clone(), &*reader);
            let vocabulary = vocabulary.map_err(|error| error.to_string())?;
            Ok((Demand::of_words(text(&vocabulary)), Order::embed(vocabulary, urgency)))
        };
        round(self.vocabularies.iter().map(words).collect::<Result<Vec<_>, String>>()?)
    }
}

/// A grey picture and one word, as often as pairs are wanted.
fn job<S: Stages>(stages: &S, categories: usize, rejection: Rejection) -> Result<SegmentJob, String> {
    let model = stages.info();
    let (side, map_side) = (model.input_side, model.map_side as u32);
    let categories = vec![Category::new("object"); categories];
    Ok(SegmentJob {
        image: JobImage::Pixels {
            input: NetworkInput::new(side as u32, vec![0.0; side * side * 3]).into(),
            facts: None,
        },
        vocabulary: Vocabulary::built_in(categories, &*stages.phrase_reader())
            .map_err(|error| error.to_string())?,
        rejection,
        output: OutputSpec {
            width: map_side,
            height: map_side,
            crop: None,
            thresholds: Thresholds::Same(0.0),
            score_maps: false,
            sureness: false,
        },
        waiting_since: Instant::now(),
        deadline: None,
        priority: Priority::Normal,
    })
}

fn picture(job: SegmentJob) -> (Demand, Order<SegmentOutcome>) {
    let demand = Demand::of_job(&job, job.output.width as usize, text(&job.vocabulary), true);
    (demand, Order::segment(job))
}

/// Units of the words of a vocabulary.
fn text(vocabulary: &Vocabulary) -> f64 {
    let phrases: HashSet<&TokenPhrase> = vocabulary.phrases().iter().collect();
    phrases.into_iter().map(text_units).sum()
}

fn round<T>(orders: impl IntoIterator<Item = (Demand, Order<T>)>) -> Result<Round<T>, String> {
    let admission = Admission::unlimited();
    let admitted = |(demand, order): (Demand, Order<T>)| {
        let Urgency { priority, since, .. } = order.urgency;
        let slot = admission.admit(&demand, priority, None, since).map_err(|error| error.to_string())?;
        Ok(order.admitted(demand, slot, Span::none()))
    };
    let admitted = orders.into_iter().map(admitted).collect::<Result<Vec<_>, String>>()?;
    Ok(admitted.into_iter().unzip())
}
