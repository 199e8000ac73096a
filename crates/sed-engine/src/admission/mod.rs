//! Admission: bounds the waiting requests, and refuses those that cannot be finished by their deadline.

pub(crate) mod cost_model;
pub(crate) mod fit;
pub(crate) mod prediction;
pub(crate) mod queue_slot;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sed_telemetry::GaugeShare;

use crate::{
    admission::{
        cost_model::{CostModel, Demand},
        prediction::Prediction,
        queue_slot::QueueSlot,
    },
    metrics::EngineMetrics,
    requests::{error::EngineError, job::Priority},
    stages::stage::Stage,
};

/// An idle engine admits a request that seems impossible once in this time, whose launches then correct a
/// wrong prediction.
const TRIAL_INTERVAL: Duration = Duration::from_secs(2);
/// An idle engine admits a request predicted to take up to this factor longer than its deadline leaves.
const IDLE_SLACK: u32 = 2;
/// One launch of the text tower works on as many phrases as probably fit into this time, and on at least one.
/// It bounds what words hold up, and costs little: a phrase takes the tower as long in a small launch.
pub(crate) const TEXT_LAUNCH: Duration = Duration::from_millis(250);
/// Words get at least one in so many seconds of a busy device.
pub(crate) const TEXT_SHARE: u32 = 4;
/// The same as [`TEXT_LAUNCH`] for words that are prepared: a request that comes meanwhile waits for one such
/// launch.
pub(crate) const BACKGROUND_LAUNCH: Duration = Duration::from_millis(20);

/// Bounds of what may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueLimits {
    /// Requests that no launch has included yet.
    pub(crate) requests: usize,
    /// (Image, category) pairs of these.
    pub(crate) pairs: usize,
}

/// The requests that an idle engine tries although they seem impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trials {
    All,
    /// All but those that only their words make impossible: a trial would end among the words, and they are
    /// prepared instead.
    KnownWords,
}

/// The queue of a device, which callers and the device thread share.
#[derive(Debug)]
pub(crate) struct Admission {
    /// `None` is unbounded.
    limits: Option<QueueLimits>,
    queue: Mutex<Queue>,
    /// This device's part of the gauges; `None` for the engine's own requests.
    published: Option<Mutex<Published>>,
}

/// One device's part of the gauges.
#[derive(Debug)]
struct Published {
    /// By priority.
    depth: [GaugeShare; 3],
    pairs: GaugeShare,
    _capacities: [GaugeShare; 2],
}

/// Counts and predicted device time of the requests in the engine, in the order in which the scheduler serves
/// them.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    model: CostModel,
    /// Requests in the engine.
    pub(crate) present: usize,
    /// Requests that no launch has included yet, by priority.
    pub(crate) waiting: [usize; 3],
    pub(crate) waiting_pairs: usize,
    /// Words to embed, by priority.
    pub(crate) words: [Duration; 3],
    /// All other work of requests that are not in flight, by priority.
    pub(crate) queued: [Duration; 3],
    /// Work of requests in flight, which goes before all other work.
    pub(crate) in_flight: Duration,
    /// When a request was last admitted that seemed impossible.
    last_trial: Option<Instant>,
}

impl Admission {
    pub(crate) fn new(limits: QueueLimits, metrics: &EngineMetrics) -> Arc<Self> {
        let capacities = [
            metrics.queue_capacity.share(limits.requests as f64),
            metrics.queued_pairs_capacity.share(limits.pairs as f64),
        ];
        let depth = [Priority::Low, Priority::Normal, Priority::High]
            .map(|priority| metrics.queue_depth.share(priority, 0.0));
        let published = Published { depth, pairs: metrics.queued_pairs.share(0.0), _capacities: capacities };
        let published = Some(Mutex::new(published));
        Arc::new(Self { limits: Some(limits), queue: Mutex::default(), published })
    }

    /// A queue of the engine's own requests, which refuses none and appears in no metric.
    pub(crate) fn unlimited() -> Arc<Self> {
        Arc::new(Self { limits: None, queue: Mutex::default(), published: None })
    }

    /// Admits a request.
    ///
    /// # Errors
    /// The queue is full, or the deadline cannot be kept.
    pub(crate) fn admit(
        self: &Arc<Self>,
        demand: &Demand,
        priority: Priority,
        deadline: Option<Instant>,
        now: Instant,
    ) -> Result<Arc<QueueSlot>, EngineError> {
        self.admit_trying(Trials::All, demand, priority, deadline, now)
    }

    /// As [`Admission::admit`], for a request whose words can be prepared.
    ///
    /// # Errors
    /// As [`Admission::admit`].
    pub(crate) fn admit_or_prepare(
        self: &Arc<Self>,
        demand: &Demand,
        priority: Priority,
        deadline: Option<Instant>,
        now: Instant,
    ) -> Result<Arc<QueueSlot>, EngineError> {
        self.admit_trying(Trials::KnownWords, demand, priority, deadline, now)
    }

    fn admit_trying(
        self: &Arc<Self>,
        trials: Trials,
        demand: &Demand,
        priority: Priority,
        deadline: Option<Instant>,
        now: Instant,
    ) -> Result<Arc<QueueSlot>, EngineError> {
        let mut queue = self.lock();
        let waiting = queue.waiting.iter().sum::<usize>();
        let full = |unit, capacity| EngineError::QueueFull { unit, capacity, retry_after: queue.room_in() };
        if let Some(limits) = self.limits {
            if waiting >= limits.requests {
                return Err(full("requests", limits.requests));
            }
            // A vocabulary larger than the whole limit must get in when nothing else waits.
            if waiting > 0 && queue.waiting_pairs + demand.pairs > limits.pairs {
                return Err(full("(image, category) pairs", limits.pairs));
            }
        }
        let mut prediction = Prediction::new(&queue.model, demand);
        if let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(now);
            queue.check_deadline(trials, &prediction, priority, (left, now))?;
            prediction = prediction.within(left);
        }
        queue.present += 1;
        queue.waiting[priority as usize] += 1;
        queue.waiting_pairs += demand.pairs;
        queue.words[priority as usize] += prediction.of(Stage::TextEmbedding);
        queue.queued[priority as usize] += prediction.behind_words();
        drop(queue);
        self.publish();
        Ok(Arc::new(QueueSlot::new(Arc::clone(self), priority, demand.pairs, prediction)))
    }

    /// Reports whether a request was refused because of its unknown words: it would be admitted without them,
    /// or, where its own time is too long, by an idle engine. What goes before it will be gone when it comes
    /// again.
    pub(crate) fn is_refused_for_words(
        &self,
        refused: &EngineError,
        demand: &Demand,
        priority: Priority,
    ) -> bool {
        let queue = self.lock();
        let known = Prediction::new(&queue.model, demand).without_words();
        let would_do = match refused {
            EngineError::DeadlineTooShort { left, .. } => known.total() <= left.saturating_mul(IDLE_SLACK),
            EngineError::DeadlineUnreachable { left, .. } => queue.keeps(&known, priority, *left).is_ok(),
            _ => false,
        };
        demand.text > 0.0 && would_do
    }

    /// Requests that wait for their first launch.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting.iter().sum()
    }

    /// The predicted time until the device is done with what goes before a request, and how many requests are
    /// there.
    pub(crate) fn ahead_of(&self, demand: &Demand, priority: Priority) -> (Duration, usize) {
        let queue = self.lock();
        (queue.ahead_of(&Prediction::new(&queue.model, demand), priority), queue.present)
    }

    /// The predicted device seconds of all requests that are here, and how many they are.
    #[cfg(test)]
    pub(crate) fn load(&self) -> (f64, usize) {
        let queue = self.lock();
        (queue.total().as_secs_f64(), queue.present)
    }

    /// The predicted device time of a request, by stage.
    pub(crate) fn predict(&self, demand: &Demand) -> Prediction {
        Prediction::new(&self.lock().model, demand)
    }

    /// The predicted device seconds of a request.
    pub(crate) fn seconds(&self, demand: &Demand) -> f64 {
        self.lock().model.seconds(demand)
    }

    /// The maps that the last stage probably enlarges for a request, as [`CostModel::maps`] counts them.
    pub(crate) fn predict_maps(&self, demand: &Demand) -> f64 {
        self.lock().model.maps(demand)
    }

    /// Lets the model of costs learn.
    pub(crate) fn learn(&self, lesson: impl FnOnce(&mut CostModel)) {
        lesson(&mut self.lock().model);
    }

    /// The most units that a launch of the text tower works on.
    pub(crate) fn text_launch_units(&self) -> f64 {
        self.lock().model.text_units_within(TEXT_LAUNCH)
    }

    /// The most units that a launch of the text tower works on for words that are prepared; none while
    /// nothing is known of its times, so that such a launch has one phrase.
    pub(crate) fn background_launch_units(&self) -> f64 {
        let queue = self.lock();
        let is_known = queue.model.text_pace(1.0).is_some();
        if is_known { queue.model.text_units_within(BACKGROUND_LAUNCH) } else { 0.0 }
    }

    /// Seconds that the text tower takes for a unit of words that are prepared; `None` while nothing is
    /// known.
    pub(crate) fn background_pace(&self) -> Option<f64> {
        let launch = self.background_launch_units();
        self.lock().model.text_pace(launch)
    }

    /// Brings the gauges up to date.
    pub(crate) fn publish(&self) {
        let Some(published) = &self.published else { return };
        let mut published = published.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = self.lock();
        let (waiting, pairs) = (queue.waiting, queue.waiting_pairs);
        drop(queue);
        published.depth.iter_mut().zip(waiting).for_each(|(share, waiting)| share.set(waiting as f64));
        published.pairs.set(pairs as f64);
    }

    /// The queue.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing under the lock leaves the queue half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Checks that the time `left` until a deadline is enough, or that the request may be tried.
    fn check_deadline(
        &mut self,
        trials: Trials,
        own: &Prediction,
        priority: Priority,
        (left, now): (Duration, Instant),
    ) -> Result<(), EngineError> {
        let kept = self.keeps(own, priority, left);
        let is_too_long = matches!(kept, Err(EngineError::DeadlineTooShort { .. })) && self.present == 0;
        let may_be_tried = match trials {
            Trials::All => true,
            Trials::KnownWords => self.keeps(&own.without_words(), priority, left).is_err(),
        };
        if is_too_long && may_be_tried && self.begin_trial(left, now) { Ok(()) } else { kept }
    }

    /// Checks a request's own predicted time, and that of what goes before it, against the time `left`.
    fn keeps(&self, own: &Prediction, priority: Priority, left: Duration) -> Result<(), EngineError> {
        let needed = own.total();
        let idle = self.present == 0;
        let most = if idle { left.saturating_mul(IDLE_SLACK) } else { left };
        if needed > most {
            return Err(EngineError::DeadlineTooShort { needed, left });
        }
        let predicted = needed + self.ahead_of(own, priority);
        if !idle && predicted > left {
            let retry_after = retry_delay(predicted - left);
            return Err(EngineError::DeadlineUnreachable { predicted, left, retry_after });
        }
        Ok(())
    }

    /// Reports whether a request may be tried that seems impossible: one in [`TRIAL_INTERVAL`].
    fn begin_trial(&mut self, left: Duration, now: Instant) -> bool {
        let due = self.last_trial.is_none_or(|last| now.saturating_duration_since(last) >= TRIAL_INTERVAL);
        let begins = due && !left.is_zero();
        if begins {
            self.last_trial = Some(now);
        }
        begins
    }

    /// Predicted time of the work that the scheduler does before a request's.
    fn ahead_of(&self, own: &Prediction, priority: Priority) -> Duration {
        let own_lane = priority as usize;
        let above = own_lane + 1;
        let words_above: Duration = self.words[above..].iter().sum();
        let images = self.in_flight + self.queued[own_lane..].iter().sum::<Duration>();
        let words_beside = if own.of(Stage::TextEmbedding).is_zero() {
            // Words of others have no more than their share of the time that a request with known words
            // waits.
            let words: Duration = self.words[..above].iter().sum();
            words.min(images / (TEXT_SHARE - 1) + TEXT_LAUNCH)
        } else {
            self.words[own_lane]
        };
        images + words_above + words_beside
    }

    /// When one of the waiting requests will probably have begun.
    fn room_in(&self) -> Duration {
        let waiting = self.waiting.iter().sum::<usize>().max(1);
        let behind = self.total() - self.in_flight;
        retry_delay(self.in_flight + behind / u32::try_from(waiting).unwrap_or(u32::MAX))
    }

    fn total(&self) -> Duration {
        self.in_flight + self.words.iter().chain(&self.queued).sum::<Duration>()
    }
}

/// Clamps a retry delay to a useful range.
fn retry_delay(delay: Duration) -> Duration {
    delay.clamp(Duration::from_millis(50), Duration::from_secs(30))
}

#[cfg(test)]
mod tests;
