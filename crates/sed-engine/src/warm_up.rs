//! The warm-up of a model before its first request: every stage once, the largest batches, and the words of
//! preloaded vocabularies.

use std::{collections::HashSet, time::Instant};

use tokio::sync::oneshot;
use tracing::Span;

use crate::{
    admission::Admission,
    cost_model::{Demand, text_units},
    job::{JobImage, Priority, SegmentJob},
    phrases::TokenPhrase,
    scheduler::Scheduler,
    stages::{NetworkInput, OutputSpec, Rejection, Stages},
    ticket::{Reply, Request, Ticket, Urgency},
    vocabulary::{Category, MOST_CATEGORIES, Vocabulary},
};

/// Requests that go through the stages together, and the receivers of their answers.
pub(crate) type Round = (Vec<Ticket>, Vec<oneshot::Receiver<Reply>>);

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

    /// The rounds of requests. None is refused: the engine's own requests have an account of their own.
    pub(crate) fn rounds<S: Stages>(
        &self,
        stages: &S,
        scheduler: &Scheduler<S>,
    ) -> Result<Vec<Round>, String> {
        let mut rounds = vec![round(vec![job(stages, 2, Rejection::from_top_k(1))?])?];
        if self.largest_batches {
            let (images, pairs) = scheduler.budget();
            // Pairs of one picture, of which a vocabulary has no more than an index map can hold.
            let each = (pairs / images).clamp(1, MOST_CATEGORIES);
            let batch = (0..images).map(|_| job(stages, each, Rejection::Off));
            rounds.push(round(batch.collect::<Result<_, _>>()?)?);
        }
        let reader = stages.phrase_reader();
        let words = |categories: &Vec<Category>| {
            let vocabulary = Vocabulary::built_in(categories.clone(), &*reader);
            vocabulary.map(Request::Embed).map_err(|error| error.to_string())
        };
        rounds.push(round(self.vocabularies.iter().map(words).collect::<Result<_, _>>()?)?);
        Ok(rounds)
    }
}

/// A grey picture and one word, as often as pairs are wanted.
fn job<S: Stages>(stages: &S, categories: usize, rejection: Rejection) -> Result<Request, String> {
    let model = stages.info();
    let (side, map_side) = (model.input_side, model.map_side as u32);
    let categories = vec![Category::new("object"); categories];
    Ok(Request::Segment(Box::new(SegmentJob {
        image: JobImage::Pixels {
            input: NetworkInput::new(side as u32, vec![0.0; side * side * 3]),
            facts: None,
        },
        vocabulary: Vocabulary::built_in(categories, &*stages.phrase_reader())
            .map_err(|error| error.to_string())?,
        rejection,
        output: OutputSpec {
            width: map_side,
            height: map_side,
            crop: None,
            score_threshold: 0.0,
            score_maps: false,
        },
        waiting_since: Instant::now(),
        deadline: None,
        priority: Priority::Normal,
    })))
}

/// Units of the words of a vocabulary.
fn text(vocabulary: &Vocabulary) -> f64 {
    let phrases: HashSet<&TokenPhrase> = vocabulary.phrases().iter().collect();
    phrases.into_iter().map(text_units).sum()
}

fn round(requests: Vec<Request>) -> Result<Round, String> {
    let account = Admission::unlimited();
    let ticket = |request: Request| {
        let demand = match &request {
            Request::Segment(job) => {
                Demand::of_job(job, job.output.width as usize, text(&job.vocabulary), true)
            }
            Request::Embed(vocabulary) => Demand::of_words(text(vocabulary)),
        };
        let urgency = Urgency { priority: Priority::Normal, since: Instant::now(), deadline: None };
        let place = account.admit(&demand, urgency.priority, None, urgency.since);
        let place = place.map_err(|error| error.to_string())?;
        Ok(Ticket::new(request, demand, urgency, place, Span::none()))
    };
    let made = requests.into_iter().map(ticket).collect::<Result<Vec<_>, String>>()?;
    Ok(made.into_iter().unzip())
}
