//! A request at a station or in a launch. Its type says what the station needs of it, so that a launch always
//! finds what it works on.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use tokio::sync::oneshot;
use tracing::Span;

use crate::{
    admission::{
        cost_model::{Demand, text_units},
        queue_slot::QueueSlot,
    },
    metrics::{AbandonCause, EngineMetrics},
    requests::{
        error::EngineError,
        image::{ImageFacts, ImageKey, PinnedImage},
        job::{JobImage, Priority, SegmentJob, SegmentOutcome},
        report::LevelReport,
        vocabulary::Vocabulary,
    },
    scheduler::{
        lanes::Waits,
        pixels::Pixels,
        ticket::{Ticket, Urgency},
    },
    similarity::Directions,
    stages::{Level, OutputSpec, Rejection, Stages, input::JobInput, phrases::TokenPhrase, stage::Stage},
};

/// A request, and what the stages have made of it so far.
#[derive(Debug)]
pub(crate) struct Task<R, T> {
    pub(crate) ticket: Box<Ticket>,
    pub(crate) request: R,
    pub(crate) state: T,
}

/// A request that has arrived.
pub(crate) type Arrival = Task<Request, ()>;
/// A request whose words are gathered.
pub(crate) type WordTask<S> = Task<Request, Gathering<<S as Stages>::PhraseEmbedding>>;
/// A request for masks behind the words.
pub(crate) type MaskTask<T> = Task<Box<Masks>, T>;
/// The text embeddings of all pairs of a vocabulary.
pub(crate) type Texts<S> = Arc<[<S as Stages>::TextEmbedding]>;

/// The embeddings of a vocabulary's phrases, as far as they are known.
#[derive(Debug)]
pub(crate) struct Gathering<E> {
    pub(crate) known: HashMap<TokenPhrase, E>,
    pub(crate) missing: HashSet<TokenPhrase>,
}

impl<E: Clone> Gathering<E> {
    /// Adds the embeddings that are missing here. Returns the units of their phrases.
    pub(crate) fn receive(&mut self, found: &HashMap<TokenPhrase, E>) -> f64 {
        let mut units = 0.0;
        for (phrase, embedding) in found {
            if self.missing.remove(phrase) {
                units += text_units(phrase);
                self.known.insert(phrase.clone(), embedding.clone());
            }
        }
        units
    }
}

/// The state of a task in a launch of the encoder, which holds its pixels.
pub(crate) struct Encoding<S: Stages> {
    pub(crate) text: Texts<S>,
    pub(crate) pixels: Arc<JobInput>,
}

/// The state of a task that waits for the cost map.
pub(crate) struct Described<S: Stages> {
    pub(crate) text: Texts<S>,
    pub(crate) features: S::ImageFeatures,
}

/// The state of a task in a submission, by the station that it comes from.
pub(crate) enum Given<S: Stages> {
    /// Of the encoder's station.
    Pixels(Encoding<S>),
    /// Of the cost map's station.
    Features(Described<S>),
}

/// The state of a task at a stage that takes it whole, or in parts where its pairs are too many.
pub(crate) enum Cut<T, P> {
    Whole(T),
    Parts(P),
}

/// The state of a task at the cost map: whole or in parts.
pub(crate) type CutImage<S> = Cut<Described<S>, <S as Stages>::Parts>;
/// The state of a task at a decoder level: whole or in parts.
pub(crate) type CutPairs<S> = Cut<<S as Stages>::Pairs, <S as Stages>::Parts>;

/// The state of a task of which a launch works on a part.
pub(crate) enum Sliced<S: Stages> {
    CostMap(CutImage<S>),
    Decode(Level, CutPairs<S>),
}

/// The end at which an answer arrives.
pub(crate) type Answer<T> = oneshot::Receiver<Result<T, EngineError>>;

/// The way back to a caller.
#[derive(Debug)]
pub(crate) struct Reply<T>(oneshot::Sender<Result<T, EngineError>>);

/// The work that a caller asks for.
#[derive(Debug)]
pub(crate) enum Request {
    /// The masks of an image.
    Segment(Box<Masks>),
    /// The text embeddings of a vocabulary, for later.
    Embed(Reply<()>),
    /// The directions of a vocabulary's words.
    Directions(Reply<Arc<Directions>>),
}

/// A request for masks.
#[derive(Debug)]
pub(crate) struct Masks {
    /// The key and the facts by which the image is cached.
    pub(crate) facts: Option<ImageFacts>,
    /// The image, if the caller had found it in the cache.
    pub(crate) pinned: Option<PinnedImage>,
    /// The pixels, dropped when they are encoded, or at once when the caller goes.
    pub(crate) pixels: Arc<Pixels>,
    pub(crate) rejection: Rejection,
    pub(crate) output: OutputSpec,
    pub(crate) levels: Vec<LevelReport>,
    pub(crate) reply: Reply<SegmentOutcome>,
}

/// A request that is not admitted yet.
pub(crate) struct Order<T> {
    pub(crate) vocabulary: Vocabulary,
    pub(crate) urgency: Urgency,
    pub(crate) request: Request,
    pub(crate) answer: Answer<T>,
}

impl Order<SegmentOutcome> {
    /// Asks for a job.
    pub(crate) fn segment(job: SegmentJob) -> Self {
        let output = job.model_output();
        let SegmentJob { image, vocabulary, rejection, waiting_since, deadline, priority, .. } = job;
        let (facts, pinned, pixels) = match image {
            JobImage::Pixels { input, facts } => (facts, None, Pixels::new(input)),
            JobImage::Cached(image) => (Some(image.facts()), Some(image), Pixels::default()),
        };
        let (reply, answer) = oneshot::channel();
        let (pixels, reply) = (Arc::new(pixels), Reply(reply));
        let masks = Masks { facts, pinned, pixels, rejection, output, levels: Vec::new(), reply };
        let urgency = Urgency { priority, since: waiting_since, deadline };
        Self { vocabulary, urgency, request: Request::Segment(Box::new(masks)), answer }
    }
}

impl Order<()> {
    /// Asks for the text embeddings of a vocabulary.
    pub(crate) fn embed(vocabulary: Vocabulary, urgency: Urgency) -> Self {
        let (reply, answer) = oneshot::channel();
        Self { vocabulary, urgency, request: Request::Embed(Reply(reply)), answer }
    }
}

impl Order<Arc<Directions>> {
    /// Asks for the directions of a vocabulary's words.
    pub(crate) fn directions(vocabulary: Vocabulary, urgency: Urgency) -> Self {
        let (reply, answer) = oneshot::channel();
        Self { vocabulary, urgency, request: Request::Directions(Reply(reply)), answer }
    }
}

impl<T> Order<T> {
    /// The request with the slot that it was admitted to, and the end at which its answer arrives.
    pub(crate) fn admitted(self, demand: Demand, slot: Arc<QueueSlot>, span: Span) -> (Arrival, Answer<T>) {
        let ticket = Ticket::new(self.vocabulary, demand, self.urgency, slot, span);
        (Task { ticket: Box::new(ticket), request: self.request, state: () }, self.answer)
    }
}

impl<T> Reply<T> {
    /// Sends the answer; a caller that has gone is no error.
    pub(crate) fn send(self, answer: Result<T, EngineError>) {
        if self.0.send(answer).is_err() {
            tracing::debug!("the caller has gone before the answer");
        }
    }
}

impl Request {
    /// The pixels that wait for the encoder.
    pub(crate) fn pixels(&self) -> Option<Arc<Pixels>> {
        match self {
            Self::Segment(masks) => Some(Arc::clone(&masks.pixels)),
            Self::Embed(_) | Self::Directions(_) => None,
        }
    }
}

impl From<Box<Masks>> for Request {
    fn from(masks: Box<Masks>) -> Self {
        Self::Segment(masks)
    }
}

impl Masks {
    /// The cache key of the image.
    pub(crate) fn image_key(&self) -> Option<ImageKey> {
        self.facts.map(|facts| facts.key)
    }
}

impl<R, T> Task<R, T> {
    /// The same request with another state.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Task<R, U> {
        Task { ticket: self.ticket, request: self.request, state: change(self.state) }
    }
}

impl<R: Into<Request>, T> Task<R, T> {
    /// The request without its state.
    pub(crate) fn into_arrival(self) -> Arrival {
        Task { ticket: self.ticket, request: self.request.into(), state: () }
    }

    /// Answers the request with an error.
    pub(crate) fn fail(self, error: EngineError) {
        drop(self.ticket.stage_span);
        self.ticket.slot.leave();
        match self.request.into() {
            Request::Segment(masks) => masks.reply.send(Err(error)),
            Request::Embed(reply) => reply.send(Err(error)),
            Request::Directions(reply) => reply.send(Err(error)),
        }
    }

    /// Drops work before a stage that its caller does not want any more, and counts it.
    pub(crate) fn abandon(self, stage: Stage, now: Instant, metrics: &EngineMetrics) {
        let error = self.ticket.still_wanted(now).err().unwrap_or(EngineError::Cancelled);
        let cause = match error {
            EngineError::DeadlineExceeded => AbandonCause::Deadline,
            _ => AbandonCause::Cancelled,
        };
        metrics.requests_abandoned.add(stage.into(), cause, 1);
        self.fail(error);
    }
}

impl<T, P> MaskTask<Cut<T, P>> {
    /// The task as one of a batch of whole ones, if it has no parts yet and `fits`.
    pub(crate) fn whole_if(self, fits: bool) -> Result<MaskTask<T>, Self> {
        let Self { ticket, request, state } = self;
        match state {
            Cut::Whole(state) if fits => Ok(Task { ticket, request, state }),
            state => Err(Task { ticket, request, state }),
        }
    }
}

impl<R, T> Waits for Task<R, T> {
    fn priority(&self) -> Priority {
        self.ticket.urgency.priority
    }

    fn since(&self) -> Instant {
        self.ticket.turn
    }
}
