//! Who may come in: a bounded number of waiting requests and pairs, and nobody who cannot be finished in time.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    cost_model::{CostModel, Demand},
    error::EngineError,
    job::Priority,
    metrics::{self, GaugeShare},
    report::Stage,
};

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueLimits {
    /// Requests that no launch has included yet.
    pub(crate) requests: usize,
    /// (Image, category) pairs of these.
    pub(crate) pairs: usize,
}

/// The shared account of all requests in the engine.
#[derive(Debug)]
pub(crate) struct Admission {
    /// `None`: as much as may come.
    limits: Option<QueueLimits>,
    state: Mutex<State>,
    /// What the metrics hold of it; `None` where they are not to know.
    published: Option<Mutex<Published>>,
}

/// One device's part of the gauges.
#[derive(Debug)]
struct Published {
    depth: [f64; 3],
    pairs: GaugeShare,
    _capacities: [GaugeShare; 2],
}

impl Drop for Published {
    fn drop(&mut self) {
        self.set_depth([0.0; 3]);
    }
}

impl Published {
    fn set_depth(&mut self, depth: [f64; 3]) {
        for priority in [Priority::Low, Priority::Normal, Priority::High] {
            let more = depth[priority as usize] - self.depth[priority as usize];
            metrics::QUEUE_DEPTH.add(priority.into(), more);
        }
        self.depth = depth;
    }
}

#[derive(Debug, Default)]
struct State {
    model: CostModel,
    /// Requests in the engine.
    present: usize,
    waiting: [usize; 3],
    waiting_pairs: usize,
    /// Predicted device seconds of the waiting requests, by priority.
    backlog: [f64; 3],
    /// Predicted device seconds that are left of the requests that have begun.
    begun: f64,
}

impl Admission {
    pub(crate) fn new(limits: QueueLimits) -> Arc<Self> {
        let capacities = [
            GaugeShare::new(&metrics::QUEUE_CAPACITY, limits.requests as f64),
            GaugeShare::new(&metrics::QUEUED_PAIRS_CAPACITY, limits.pairs as f64),
        ];
        let pairs = GaugeShare::new(&metrics::QUEUED_PAIRS, 0.0);
        let published = Published { depth: [0.0; 3], pairs, _capacities: capacities };
        let published = Some(Mutex::new(published));
        Arc::new(Self { limits: Some(limits), state: Mutex::default(), published })
    }

    /// For requests of the engine's own: nobody is refused, and nobody else's account changes.
    pub(crate) fn unlimited() -> Arc<Self> {
        Arc::new(Self { limits: None, state: Mutex::default(), published: None })
    }

    /// Lets a request in, or says why not.
    pub(crate) fn admit(
        self: &Arc<Self>,
        demand: &Demand,
        priority: Priority,
        deadline: Option<Instant>,
        now: Instant,
    ) -> Result<Arc<Place>, EngineError> {
        let mut state = self.lock();
        let waiting = state.waiting.iter().sum::<usize>();
        let full = |unit, capacity| EngineError::QueueFull { unit, capacity, retry_after: state.room_in() };
        if let Some(limits) = self.limits {
            if waiting >= limits.requests {
                return Err(full("requests", limits.requests));
            }
            // A vocabulary larger than the whole limit must get in when nothing else waits.
            if waiting > 0 && state.waiting_pairs + demand.categories > limits.pairs {
                return Err(full("(image, category) pairs", limits.pairs));
            }
        }
        let seconds = state.model.seconds(demand);
        if let Some(deadline) = deadline {
            state.check_deadline(seconds, priority, deadline.saturating_duration_since(now))?;
        }
        state.present += 1;
        state.waiting[priority as usize] += 1;
        state.waiting_pairs += demand.categories;
        state.backlog[priority as usize] += seconds;
        state.settle();
        drop(state);
        self.publish();
        let progress = Mutex::new(Progress { waiting: true, seconds, gone: false });
        Ok(Arc::new(Place { admission: Arc::clone(self), priority, pairs: demand.categories, progress }))
    }

    /// Requests that wait for their first launch.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting.iter().sum()
    }

    /// The predicted device seconds of all requests that are here, and how many they are.
    pub(crate) fn load(&self) -> (f64, usize) {
        let state = self.lock();
        (state.begun + state.backlog.iter().sum::<f64>(), state.present)
    }

    /// The predicted device seconds of a request.
    pub(crate) fn seconds(&self, demand: &Demand) -> f64 {
        self.lock().model.seconds(demand)
    }

    /// Lets the model of costs learn.
    pub(crate) fn learn(&self, lesson: impl FnOnce(&mut CostModel)) {
        lesson(&mut self.lock().model);
    }

    /// The predicted device seconds of a request's own share of a stage.
    pub(crate) fn stage_seconds(&self, stage: Stage, demand: &Demand) -> f64 {
        self.lock().model.stage_seconds(stage, demand)
    }

    fn publish(&self) {
        let Some(published) = &self.published else { return };
        let mut published = published.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.lock();
        let (waiting, pairs) = (state.waiting, state.waiting_pairs);
        drop(state);
        published.set_depth(waiting.map(|waiting| waiting as f64));
        published.pairs.set(pairs as f64);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves the account half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A request of `own` predicted seconds that has `left` until its deadline.
    fn check_deadline(&self, own: f64, priority: Priority, left: Duration) -> Result<(), EngineError> {
        let (own, left_seconds) = (own, left.as_secs_f64());
        // An idle device has nothing better to do than to try, and so learns when a prediction was too high.
        let slack = if self.present == 0 { 2.0 } else { 1.0 };
        if own > left_seconds * slack {
            return Err(EngineError::DeadlineTooShort { needed: Duration::from_secs_f64(own), left });
        }
        let ahead = self.begun + self.backlog[priority as usize..].iter().sum::<f64>();
        if self.present > 0 && ahead + own > left_seconds {
            return Err(EngineError::DeadlineUnreachable {
                predicted: Duration::from_secs_f64(ahead + own),
                left,
                retry_after: retry_delay(ahead + own - left_seconds),
            });
        }
        Ok(())
    }

    /// When one of the waiting requests will probably have begun.
    fn room_in(&self) -> Duration {
        let waiting = self.waiting.iter().sum::<usize>().max(1) as f64;
        retry_delay(self.begun + self.backlog.iter().sum::<f64>() / waiting)
    }

    /// Sums of floats drift; with nobody here they are known.
    fn settle(&mut self) {
        if self.present == 0 {
            (self.backlog, self.begun) = ([0.0; 3], 0.0);
        }
    }
}

/// A delay that is worth telling: not so short that it is no delay, not so long that nobody waits for it.
fn retry_delay(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds)
        .unwrap_or(Duration::MAX)
        .clamp(Duration::from_millis(50), Duration::from_secs(30))
}

/// A request's place in the account. The caller and the device thread hold it; it is given back when either of
/// them is done with the request.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    priority: Priority,
    pairs: usize,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    waiting: bool,
    /// Predicted device seconds that are left.
    seconds: f64,
    gone: bool,
}

impl Place {
    /// The request is in its first launch: it does not wait any more. Gives whether it was the first.
    pub(crate) fn begin(&self) -> bool {
        let mut progress = self.lock();
        if !progress.waiting || progress.gone {
            return false;
        }
        progress.waiting = false;
        let mut state = self.admission.lock();
        self.stop_waiting(&mut state, progress.seconds);
        state.begun += progress.seconds;
        drop(state);
        self.admission.publish();
        true
    }

    /// Work of so many predicted seconds is done.
    pub(crate) fn pay(&self, seconds: f64) {
        let mut progress = self.lock();
        if progress.waiting || progress.gone {
            return;
        }
        let seconds = seconds.min(progress.seconds);
        progress.seconds -= seconds;
        self.admission.lock().begun -= seconds;
    }

    /// The request is over, or nobody waits for it any more.
    pub(crate) fn leave(&self) {
        let mut progress = self.lock();
        if progress.gone {
            return;
        }
        progress.gone = true;
        let mut state = self.admission.lock();
        state.present -= 1;
        if progress.waiting {
            self.stop_waiting(&mut state, progress.seconds);
        } else {
            state.begun -= progress.seconds;
        }
        state.settle();
        drop(state);
        self.admission.publish();
    }

    fn stop_waiting(&self, state: &mut State, seconds: f64) {
        state.waiting[self.priority as usize] -= 1;
        state.waiting_pairs -= self.pairs;
        state.backlog[self.priority as usize] -= seconds;
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: QueueLimits = QueueLimits { requests: 3, pairs: 100 };

    fn demand(categories: usize) -> Demand {
        Demand { phrases: 0, encode: true, categories, top_k: None, enlargement: 1.0 }
    }

    /// An account that knows that a pair takes 10 ms, and that nothing else takes time.
    fn admission() -> Arc<Admission> {
        let admission = Admission::new(LIMITS);
        admission.learn(|model| {
            for pairs in [1.0, 10.0] {
                model.observe(Stage::CostMap, pairs, 1, Duration::from_secs_f64(0.01 * pairs));
            }
        });
        admission
    }

    fn admit(
        admission: &Arc<Admission>,
        categories: usize,
        priority: Priority,
        milliseconds: Option<u64>,
    ) -> Result<Arc<Place>, EngineError> {
        let now = Instant::now();
        let deadline = milliseconds.map(|left| now + Duration::from_millis(left));
        admission.admit(&demand(categories), priority, deadline, now)
    }

    #[test]
    fn requests_and_pairs_are_bounded_until_they_begin() {
        let admission = admission();
        let first = admit(&admission, 60, Priority::Normal, None).unwrap();
        let refused = admit(&admission, 50, Priority::Normal, None).unwrap_err();
        assert!(matches!(
            refused,
            EngineError::QueueFull { unit: "(image, category) pairs", capacity: 100, .. }
        ));
        assert!(first.begin() && !first.begin());
        let large = admit(&admission, 5000, Priority::Normal, None).unwrap(); // nothing else waits
        assert_eq!(admission.waiting(), 1);
        large.leave();
        let held: Vec<_> = (0..3).map(|_| admit(&admission, 0, Priority::Low, None).unwrap()).collect();
        let refused = admit(&admission, 0, Priority::High, None).unwrap_err();
        assert!(matches!(refused, EngineError::QueueFull { unit: "requests", capacity: 3, .. }));
        held[0].leave();
        held[0].leave();
        admit(&admission, 0, Priority::High, None).unwrap();
    }

    #[test]
    fn what_cannot_be_in_time_is_refused_at_once() {
        let admission = admission();
        // Alone: 300 ms of work are tried with 200 ms left, but not with 100.
        drop(admit(&admission, 30, Priority::Normal, Some(200)).unwrap());
        let refused = admit(&admission, 30, Priority::Normal, Some(100)).unwrap_err();
        assert!(matches!(refused, EngineError::DeadlineTooShort { .. }), "{refused:?}");

        let first = admit(&admission, 50, Priority::Normal, None).unwrap();
        let refused = admit(&admission, 30, Priority::Normal, Some(600)).unwrap_err();
        let EngineError::DeadlineUnreachable { predicted, retry_after, .. } = refused else {
            panic!("{refused:?}")
        };
        assert!((750..850).contains(&predicted.as_millis()), "{predicted:?}");
        assert!((150..250).contains(&retry_after.as_millis()), "{retry_after:?}");
        drop(admit(&admission, 30, Priority::High, Some(600)).unwrap()); // goes before the first
        first.begin();
        assert!(admit(&admission, 30, Priority::High, Some(600)).is_err()); // what has begun is finished first
        first.pay(0.4);
        admit(&admission, 30, Priority::High, Some(600)).unwrap();
    }

    #[test]
    fn the_account_is_even_in_the_end() {
        let admission = admission();
        for begin in [false, true] {
            let places: Vec<_> =
                (0..3).map(|n| admit(&admission, 10 * n, Priority::Normal, None).unwrap()).collect();
            if begin {
                assert!(places.iter().all(|place| place.begin()));
                places[2].pay(7.0); // more than it was charged
            }
            drop(places);
            let state = admission.lock();
            assert_eq!((state.present, state.waiting, state.waiting_pairs), (0, [0; 3], 0));
            assert_eq!((state.backlog, state.begun), ([0.0; 3], 0.0));
        }
    }
}
