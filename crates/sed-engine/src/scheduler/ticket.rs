//! A request's ticket: its terms, and the record of its way through the engine.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::Span;

use crate::{
    admission::{cost_model::Demand, queue_slot::QueueSlot},
    requests::{
        error::EngineError,
        job::Priority,
        report::{BatchTiming, CacheReport},
        vocabulary::Vocabulary,
    },
    scheduler::timeline::Timeline,
};

/// When and how urgently a request is to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Urgency {
    pub(crate) priority: Priority,
    /// Start of the time of its first wait.
    pub(crate) since: Instant,
    pub(crate) deadline: Option<Instant>,
}

/// The progress of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Progress {
    /// No launch has included it.
    Waiting,
    /// A launch of its words has included it: work is lost if it is dropped.
    Begun,
    /// A launch behind the words has included it: it may hold memory of the device.
    InFlight,
}

/// The part of a request that is the same at every station.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) vocabulary: Vocabulary,
    /// The demand by which it was admitted.
    pub(crate) demand: Demand,
    pub(crate) urgency: Urgency,
    /// Held until the request is over or its caller goes.
    pub(crate) slot: Arc<QueueSlot>,
    /// The caller's span: the parent of those of the stages.
    pub(crate) span: Span,
    pub(crate) timeline: Timeline,
    /// Time at which it came to the station where it waits; the wait of a batch that is not full counts from
    /// there.
    pub(crate) entered: Instant,
    /// Start of its wait in the order of the stations: its arrival, or later once its words have had
    /// launches.
    pub(crate) turn: Instant,
    /// The pairs that are left: those that it brings to a launch behind the encoder.
    pub(crate) pairs: usize,
    /// Time that the parts of the stage have taken so far.
    pub(crate) part_time: Duration,
    pub(crate) caches: CacheReport,
    pub(crate) progress: Progress,
    /// Number of launches that ran out of memory although they could not be smaller.
    pub(crate) memory_failures: u32,
    /// It goes stage by stage: its stages do not submit it, or a submission ran out of memory.
    pub(crate) one_by_one: bool,
    /// Open while a stage works on it.
    pub(crate) stage_span: Option<Span>,
}

impl Ticket {
    /// The ticket of a request that was admitted.
    pub(crate) fn new(
        vocabulary: Vocabulary,
        demand: Demand,
        urgency: Urgency,
        slot: Arc<QueueSlot>,
        span: Span,
    ) -> Self {
        Self {
            timeline: Timeline::new(urgency.since),
            entered: urgency.since,
            turn: urgency.since,
            pairs: vocabulary.pairs(),
            part_time: Duration::ZERO,
            caches: CacheReport::default(),
            progress: Progress::Waiting,
            memory_failures: 0,
            one_by_one: false,
            stage_span: None,
            vocabulary,
            demand,
            urgency,
            slot,
            span,
        }
    }

    /// Checks that the answer is still wanted.
    ///
    /// # Errors
    /// The deadline has passed, or else the caller has gone: callers go at their deadline too.
    pub(crate) fn still_wanted(&self, now: Instant) -> Result<(), EngineError> {
        if self.urgency.deadline.is_some_and(|deadline| now >= deadline) {
            return Err(EngineError::DeadlineExceeded);
        }
        if self.slot.is_gone() { Err(EngineError::Cancelled) } else { Ok(()) }
    }

    /// Maps that the last stage enlarges for it, each counted as often as its output is larger than the map.
    pub(crate) fn enlarged(&self) -> f64 {
        self.pairs as f64 * self.demand.enlargement
    }

    /// Ends a launch that included it.
    pub(crate) fn end_launch(&mut self, ended: Instant, batch: &BatchTiming) {
        self.timeline.end(ended, Some(batch.clone()));
        self.stage_span = None;
    }
}
