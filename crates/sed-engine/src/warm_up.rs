//! What a model does before its first request: every stage once, the largest batches, and the words that will be
//! asked for.

use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::Span;

use crate::{
    admission::Admission,
    cost_model::Demand,
    job::{JobImage, Priority, SegmentJob},
    scheduler::Scheduler,
    stages::{NetworkInput, OutputSpec, Stages},
    ticket::{Reply, Request, Ticket},
    vocabulary::{Category, Vocabulary},
};

/// Requests that go through the stages together, and where their answers come.
pub(crate) type Round = (Vec<Ticket>, Vec<oneshot::Receiver<Reply>>);

/// How a model is warmed up.
#[derive(Clone, Debug, Default)]
pub(crate) struct WarmUp {
    /// Also the largest batches: they show whether the memory is enough, and what a unit of work costs.
    pub(crate) largest_batches: bool,
    /// Categories whose words are embedded, one list for each vocabulary.
    pub(crate) vocabularies: Vec<Vec<Category>>,
}

impl WarmUp {
    /// One small picture.
    pub(crate) fn quick() -> Self {
        Self::default()
    }

    /// The rounds of requests. Nobody is refused: the engine's own requests have an account of their own.
    pub(crate) fn rounds<S: Stages>(
        &self,
        stages: &S,
        scheduler: &Scheduler<S>,
    ) -> Result<Vec<Round>, String> {
        let mut rounds = vec![round(vec![job(stages, 2, Some(1))?])?];
        if self.largest_batches {
            let (images, pairs) = scheduler.budget();
            let batch = (0..images).map(|_| job(stages, (pairs / images).max(1), None));
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
fn job<S: Stages>(stages: &S, categories: usize, top_k: Option<usize>) -> Result<Request, String> {
    let model = stages.info();
    let (side, map_side) = (model.input_side, model.map_side as u32);
    let categories = vec![Category::named("object"); categories];
    Ok(Request::Segment(Box::new(SegmentJob {
        image: JobImage::Pixels {
            input: NetworkInput { side, data: vec![0.0; side * side * 3] },
            facts: None,
        },
        vocabulary: Vocabulary::built_in(categories, &*stages.phrase_reader())
            .map_err(|error| error.to_string())?,
        top_k,
        output: OutputSpec {
            width: map_side,
            height: map_side,
            crop: None,
            score_threshold: 0.0,
            score_maps: false,
        },
        waiting_since: std::time::Instant::now(),
        deadline: None,
        priority: Priority::Normal,
    })))
}

fn round(requests: Vec<Request>) -> Result<Round, String> {
    let account = Admission::unlimited();
    let ticket = |request: Request| {
        let demand = match &request {
            Request::Segment(job) => Demand::of_job(job, job.output.width as usize, 1, true),
            Request::Embed(words) => Demand::of_words(words.size()),
        };
        let now = std::time::Instant::now();
        let place = account.admit(&demand, Priority::Normal, None, now).map_err(|error| error.to_string())?;
        let (reply, answer) = oneshot::channel();
        let ticket = Ticket {
            request,
            demand,
            priority: Priority::Normal,
            since: now,
            deadline: None,
            place: Arc::clone(&place),
            span: Span::none(),
            reply,
        };
        Ok((ticket, answer))
    };
    let made = requests.into_iter().map(ticket).collect::<Result<Vec<_>, String>>()?;
    Ok(made.into_iter().unzip())
}
