//! Vocabularies that are prepared: their text embeddings are computed in the background of all requests.
//! Callers that ask for the same words share one effort, which every device that works takes part in.

mod effort;
mod progress;

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

use self::effort::Effort;
pub use self::progress::{PreparationState, Progress};
use crate::{
    metrics::EngineMetrics,
    requests::{
        error::{EngineError, NotReady},
        vocabulary::{Vocabulary, VocabularyDigest},
    },
};

/// An effort that only refused requests have asked for ends when none has asked again for so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// All efforts of an engine.
#[derive(Debug)]
pub(crate) struct Preparations {
    /// Phrases of all efforts together.
    most_phrases: usize,
    efforts: Mutex<Efforts>,
    metrics: Arc<EngineMetrics>,
}

#[derive(Debug, Default)]
struct Efforts {
    running: HashMap<VocabularyDigest, Effort>,
    /// Number of efforts that have begun.
    begun: u64,
}

/// The terms on which a vocabulary is prepared.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Its different phrases.
    pub(crate) phrases: usize,
    /// Phrases of all efforts together whose embeddings the devices can hold.
    pub(crate) most_held: usize,
    /// The devices that prepare it, at least one.
    pub(crate) devices: Vec<Start>,
    /// The caller that the phrases count for; all callers without a name count as one.
    pub(crate) caller: Option<Arc<str>>,
}

/// The state of a device when an effort begins.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// Its name.
    pub(crate) device: String,
    /// Phrases whose embeddings it has.
    pub(crate) embedded: usize,
    /// Predicted time for the others; `None` while nothing is known of it.
    pub(crate) remaining: Option<Duration>,
}

/// The order to a device to prepare a vocabulary.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) vocabulary: Vocabulary,
    pub(crate) share: Share,
}

/// The number of an effort, and its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EffortId {
    digest: VocabularyDigest,
    number: u64,
}

/// A device's share in an effort. A device that drops it without a result has ended.
#[derive(Debug)]
pub(crate) struct Share {
    preparations: Arc<Preparations>,
    effort: EffortId,
    /// Its place among the devices of the effort.
    device: usize,
    over: Arc<AtomicBool>,
}

/// A vocabulary that is being prepared. Dropping it leaves: the effort goes on while another caller waits for
/// it, or a refused request has asked for it lately; otherwise it ends, and what is embedded stays in the
/// caches.
#[derive(Debug)]
pub struct Preparation {
    progress: watch::Receiver<Progress>,
    /// Phrases that were ready when the caller came.
    known: usize,
    /// `None` if the words were ready.
    _watcher: Option<Watcher>,
}

/// A caller that waits for an effort.
#[derive(Debug)]
struct Watcher {
    preparations: Arc<Preparations>,
    effort: EffortId,
}

impl Preparation {
    /// A preparation that has nothing to do.
    pub(crate) fn of_ready(progress: Progress) -> Self {
        Self { known: progress.embedded, progress: watch::channel(progress).1, _watcher: None }
    }

    /// Returns the number of phrases whose embeddings every device had when this caller came.
    pub fn known(&self) -> usize {
        self.known
    }

    /// Returns the progress, to read and to watch. The last state of a preparation that has ended stays.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Waits until the next request with these words does not wait for them.
    ///
    /// # Errors
    /// The error for which the preparation has ended.
    pub async fn ready(&self) -> Result<(), EngineError> {
        let mut progress = self.progress();
        let ended = progress.wait_for(|progress| progress.state != PreparationState::Running).await;
        match ended.map(|progress| progress.state.clone()) {
            Ok(PreparationState::Failed(error)) => Err(error),
            Ok(_) => Ok(()),
            // The sender goes only behind a last state.
            Err(_) => Err(EngineError::ShuttingDown),
        }
    }
}

impl Plan {
    /// Reports whether every device has all phrases already.
    pub(crate) fn is_done(&self) -> bool {
        self.missing() == 0
    }

    /// Phrases that some device does not have.
    pub(crate) fn missing(&self) -> usize {
        self.phrases - self.devices.iter().map(|start| start.embedded).min().unwrap_or(0)
    }
}

impl Preparations {
    /// None yet, of at most `most_phrases` phrases together.
    pub(crate) fn new(most_phrases: usize, metrics: &Arc<EngineMetrics>) -> Arc<Self> {
        Arc::new(Self { most_phrases, efforts: Mutex::default(), metrics: Arc::clone(metrics) })
    }

    /// Waits for the effort for a vocabulary, or begins it. The assignments, which only a new effort has, are
    /// in the order of the plan's devices.
    ///
    /// # Errors
    /// Too many phrases are being prepared.
    pub(crate) fn watch(
        self: &Arc<Self>,
        vocabulary: &Vocabulary,
        plan: Plan,
        now: Instant,
    ) -> Result<(Preparation, Vec<Assignment>), NotReady> {
        let mut efforts = self.lock();
        let (effort, assignments) = self.enter(&mut efforts, vocabulary, plan, now)?;
        effort.watchers += 1;
        let watcher = Watcher { preparations: Arc::clone(self), effort: effort.id };
        // Before devices have the assignments of an effort that begins.
        let known = effort.progress().embedded;
        Ok((Preparation { progress: effort.watch(), known, _watcher: Some(watcher) }, assignments))
    }

    /// Asks for a vocabulary without waiting for it, for a request that is refused. The rest as
    /// [`Preparations::watch`].
    pub(crate) fn ask(
        self: &Arc<Self>,
        vocabulary: &Vocabulary,
        plan: Plan,
        now: Instant,
    ) -> Result<(Progress, Vec<Assignment>), NotReady> {
        let mut efforts = self.lock();
        let (effort, assignments) = self.enter(&mut efforts, vocabulary, plan, now)?;
        effort.asked_until = Some(now + PATIENCE);
        Ok((effort.progress(), assignments))
    }

    /// Phrases of a vocabulary that its effort, if one runs, holds on every device.
    pub(crate) fn embedded(&self, vocabulary: &Vocabulary) -> usize {
        let efforts = self.lock();
        efforts.running.get(&vocabulary.digest()).map_or(0, |effort| effort.progress().embedded)
    }

    /// The effort for a vocabulary, and the assignments of one that begins.
    fn enter<'a>(
        self: &Arc<Self>,
        efforts: &'a mut Efforts,
        vocabulary: &Vocabulary,
        plan: Plan,
        now: Instant,
    ) -> Result<(&'a mut Effort, Vec<Assignment>), NotReady> {
        efforts.end_unwanted(now);
        let room = efforts.check_room(&plan, self.most_phrases);
        let begun = &mut efforts.begun;
        let place = match efforts.running.entry(vocabulary.digest()) {
            Entry::Occupied(running) => return Ok((running.into_mut(), Vec::new())),
            Entry::Vacant(place) => place,
        };
        room?;
        *begun += 1;
        let id = EffortId { digest: vocabulary.digest(), number: *begun };
        let devices = plan.devices.len();
        let effort = place.insert(Effort::new(id, plan, &self.metrics));
        let share = |device| {
            let (preparations, over) = (Arc::clone(self), Arc::clone(&effort.over));
            Share { preparations, effort: id, device, over }
        };
        let assignment = |device| Assignment { vocabulary: vocabulary.clone(), share: share(device) };
        let assignments = (0..devices).map(assignment).collect();
        Ok((effort, assignments))
    }

    /// Changes an effort that still runs, and forgets it if it has ended thereby.
    fn change(&self, id: EffortId, change: impl FnOnce(&mut Effort)) {
        let mut efforts = self.lock();
        let Some(effort) = efforts.running.get_mut(&id.digest).filter(|effort| effort.id == id) else {
            return;
        };
        change(effort);
        if effort.has_ended() {
            efforts.running.remove(&id.digest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Efforts> {
        // Nothing under the lock leaves an effort half changed.
        self.efforts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Efforts {
    /// Refuses an effort with more unknown phrases than there is room for, or more phrases than may be held.
    fn check_room(&self, plan: &Plan, most_phrases: usize) -> Result<(), NotReady> {
        let efforts = self.running.values();
        let held: usize = efforts.clone().map(Effort::phrases).sum();
        let all: usize = efforts.clone().map(Effort::missing).sum();
        let own: usize = efforts.filter(|effort| effort.caller == plan.caller).map(Effort::missing).sum();
        let bounds = [
            (held, plan.phrases, plan.most_held),
            (all, plan.missing(), most_phrases),
            (own, plan.missing(), most_phrases.div_ceil(2)),
        ];
        match bounds.into_iter().find(|(preparing, more, limit)| preparing + more > *limit) {
            Some((preparing, _, limit)) => Err(NotReady::TooMany { preparing, limit }),
            None => Ok(()),
        }
    }

    /// Ends the efforts that no caller waits for and no refused request has asked for lately.
    fn end_unwanted(&mut self, now: Instant) {
        self.running.retain(|_, effort| {
            effort.end_unless_wanted(now);
            !effort.has_ended()
        });
    }
}

impl Share {
    /// Reports whether the effort has ended: what the device holds for it can be dropped.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Reports whether the effort is still wanted, and ends it if not.
    pub(crate) fn is_wanted(&self, now: Instant) -> bool {
        self.preparations.change(self.effort, |effort| effort.end_unless_wanted(now));
        !self.is_over()
    }

    /// Reports the phrases that the device has, and the time that it will take for the others.
    pub(crate) fn report(&self, embedded: usize, remaining: Option<Duration>) {
        self.preparations.change(self.effort, |effort| effort.report(self.device, embedded, remaining));
    }

    /// Reports that the device has all.
    pub(crate) fn done(self) {
        self.preparations.change(self.effort, |effort| effort.done(self.device));
    }

    /// Ends the device's share with an error.
    pub(crate) fn fail(self, error: &EngineError) {
        self.preparations.change(self.effort, |effort| effort.fail(self.device, error));
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // A share that is done or has failed is settled already.
        self.preparations.change(self.effort, |effort| effort.fail(self.device, &EngineError::ShuttingDown));
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.preparations.change(self.effort, |effort| {
            effort.watchers -= 1;
            effort.end_unless_wanted(Instant::now());
        });
    }
}

#[cfg(test)]
mod tests;
