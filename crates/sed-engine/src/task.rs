//! A request on its way from station to station.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::Span;

use crate::{
    error::EngineError,
    job::{Priority, SegmentJob},
    lanes::Waits,
    phrases::TokenPhrase,
    report::{CacheReport, LevelReport, Stage},
    stages::{NetworkInput, Stages},
    ticket::{Reply, Request, Ticket},
    timeline::Timeline,
};

/// A request with what the stages have made of it so far.
pub(crate) struct Task<S: Stages> {
    pub(crate) ticket: Ticket,
    pub(crate) timeline: Timeline,
    /// Time at which it came to the station where it waits; the wait of a batch that is not full counts from
    /// there.
    pub(crate) entered: Instant,
    /// Start of its wait in the order of the stations: its arrival, or later once its words have had
    /// launches.
    pub(crate) turn: Instant,
    pub(crate) words: Words<S>,
    pub(crate) features: Option<S::ImageFeatures>,
    /// The pixels, while a launch of the encoder includes it.
    pub(crate) encoding: Option<Arc<NetworkInput>>,
    pub(crate) pairs: Pairs<S>,
    /// Time that the parts of the stage have taken so far.
    pub(crate) part_time: Duration,
    /// The categories that are left, rising.
    pub(crate) survivors: Vec<u32>,
    pub(crate) levels: Vec<LevelReport>,
    pub(crate) caches: CacheReport,
    /// A launch has included it: work is lost if it is dropped.
    pub(crate) begun: bool,
    /// A launch behind the words has included it: it may hold memory of the device.
    pub(crate) in_flight: bool,
    /// Number of launches that ran out of memory although they could not be smaller.
    pub(crate) memory_failures: u32,
    /// Open while a stage works on it.
    pub(crate) stage_span: Option<Span>,
}

/// The text embeddings of a task.
pub(crate) enum Words<S: Stages> {
    /// Some phrases are not there yet.
    Gathering { known: HashMap<TokenPhrase, S::PhraseEmbedding>, missing: HashSet<TokenPhrase> },
    /// One embedding for each category.
    Ready(Arc<[S::TextEmbedding]>),
}

/// The pairs of a task between two stages, or within one.
pub(crate) enum Pairs<S: Stages> {
    None,
    Whole(S::Pairs),
    Parts(S::Parts),
}

impl<S: Stages> Task<S> {
    pub(crate) fn new(ticket: Ticket, now: Instant) -> Self {
        let survivors = (0..ticket.vocabulary().size() as u32).collect();
        Self {
            timeline: Timeline::new(ticket.since),
            entered: now,
            turn: ticket.since,
            words: Words::Gathering { known: HashMap::new(), missing: HashSet::new() },
            features: None,
            encoding: None,
            pairs: Pairs::None,
            part_time: Duration::ZERO,
            survivors,
            levels: Vec::new(),
            caches: CacheReport::default(),
            begun: false,
            in_flight: false,
            memory_failures: 0,
            stage_span: None,
            ticket,
        }
    }

    /// The job, unless only words are to be embedded.
    pub(crate) fn job(&self) -> Option<&SegmentJob> {
        match &self.ticket.request {
            Request::Segment(job) => Some(job),
            Request::Embed(_) => None,
        }
    }

    /// The units that it adds to a batch of a stage: an image, or its pairs.
    pub(crate) fn units(&self, stage: Stage) -> usize {
        match stage {
            Stage::TextEmbedding => 0,
            Stage::Encode => 1,
            _ => self.survivors.len(),
        }
    }

    /// Maps that it enlarges in a stage, each counted as often as its output is larger than the map.
    pub(crate) fn enlarged(&self, stage: Stage) -> f64 {
        match stage {
            Stage::Finish => self.units(stage) as f64 * self.ticket.demand.enlargement,
            _ => 0.0,
        }
    }

    /// Phrases that are not there yet.
    pub(crate) fn missing(&self) -> Option<&HashSet<TokenPhrase>> {
        match &self.words {
            Words::Gathering { missing, .. } => Some(missing),
            Words::Ready(_) => None,
        }
    }

    /// Answers the request.
    pub(crate) fn answer(self, reply: Reply) {
        drop(self.stage_span);
        self.ticket.answer(reply);
    }

    /// Answers the request with an error.
    pub(crate) fn fail(self, error: EngineError) {
        self.answer(Err(error));
    }
}

impl<S: Stages> Waits for Task<S> {
    fn priority(&self) -> Priority {
        self.ticket.priority
    }

    fn since(&self) -> Instant {
        self.turn
    }
}
