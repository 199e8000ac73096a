//! The handle by which the rest of the program uses the model.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};
use tracing::Span;

use crate::{
    admission::{Admission, Place, QueueLimits},
    budget::{Budget, SharedBudget},
    cost_model::Demand,
    device_thread::{DeviceThread, Line},
    error::EngineError,
    feature_cache::{FeatureCache, ImageKey, PinnedImage},
    inbox::{Event, Inbox},
    job::{JobImage, Priority, SegmentJob, SegmentOutcome},
    scheduler::{Policy, Scheduler, SchedulerParts},
    stages::{ModelInfo, Stages},
    state::EngineState,
    text_cache::{KnownText, TextCache},
    text_store::TextStoreThread,
    ticket::{Outcome, Request, Ticket},
    vocabulary::Vocabulary,
    warm_up::WarmUp,
};

/// How an engine works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Requests that may wait for the device; at least 1.
    pub queue_capacity: usize,
    /// (Image, category) pairs of the requests that may wait for the device.
    pub queue_pairs: usize,
    /// Waiting this long lifts a request by one step of priority.
    pub ageing: Duration,
    /// Images of one encoder batch; `None`: as many as memory and device make useful.
    pub batch_images: Option<usize>,
    /// (Image, category) pairs of one batch of any later stage; `None`: as many as memory and device make useful.
    pub batch_pairs: Option<usize>,
    /// While other work is ripe, a batch that is not full waits this long for more.
    pub batch_delay: Duration,
    /// Bound of the cache of text embeddings, in bytes; 0 turns it off.
    pub text_cache_bytes: usize,
    /// Bound of the cache of whole vocabularies on the device, in bytes; 0 turns it off.
    pub vocabulary_cache_bytes: usize,
    /// Bound of the cache of image features, in bytes; 0 turns it off.
    pub image_cache_bytes: usize,
    /// A directory that keeps text embeddings, to share them with other processes.
    pub text_cache_dir: Option<PathBuf>,
    /// Bound of that directory, in bytes.
    pub text_cache_dir_bytes: u64,
    /// Phrases that are embedded in one launch.
    pub text_chunk: usize,
    /// Vocabularies whose words are embedded before the engine is ready.
    pub preload: Vec<Vocabulary>,
    /// Whether the largest batches are tried before the engine is ready: a server wants to know, a command that
    /// asks once does not.
    pub warm_up_largest_batches: bool,
    /// How often a device that was lost is tried again.
    pub probe_interval: Duration,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            queue_capacity: 64,
            queue_pairs: 65_536,
            ageing: Duration::from_secs(5),
            batch_images: None,
            batch_pairs: None,
            batch_delay: Duration::ZERO,
            text_cache_bytes: 512 << 20,
            vocabulary_cache_bytes: 512 << 20,
            image_cache_bytes: 512 << 20,
            text_cache_dir: None,
            text_cache_dir_bytes: 4 << 30,
            text_chunk: 32,
            preload: Vec::new(),
            warm_up_largest_batches: false,
            probe_interval: Duration::from_secs(5),
        }
    }
}

/// A running model. Cheap to clone; when the last clone is gone, its thread ends.
#[derive(Clone, Debug)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    line: Arc<Line>,
    model: ModelInfo,
    admission: Arc<Admission>,
    budget: Arc<SharedBudget>,
    known_text: Arc<dyn KnownText>,
    images: Arc<FeatureCache>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("model", &self.model).finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Whoever waits for an answer holds a handle, so there are no requests to hand out.
        drop(self.line.inbox.close());
    }
}

impl Engine {
    /// Starts the device thread, which begins with a warm-up. Requests are refused until it is done; see
    /// [`Engine::state`].
    ///
    /// # Errors
    /// [`EngineError::NoThread`] if the operating system gives no thread, [`EngineError::TextStore`] if the
    /// directory of text embeddings cannot be used.
    pub fn start<S: Stages>(stages: S, config: &EngineConfig) -> Result<Self, EngineError> {
        let model = stages.info();
        let limits = QueueLimits { requests: config.queue_capacity.max(1), pairs: config.queue_pairs.max(1) };
        let admission = Admission::new(limits);
        let shared_budget = Arc::<SharedBudget>::default();
        let line =
            Arc::new(Line { inbox: Inbox::default(), state: watch::Sender::new(EngineState::Starting) });
        let text_cache = Arc::new(TextCache::new(config.text_cache_bytes, config.vocabulary_cache_bytes));
        let images = Arc::new(FeatureCache::new(config.image_cache_bytes));
        let store = config.text_cache_dir.as_deref().map(|folder| {
            let line = Arc::clone(&line);
            let answer = move |phrase, found| {
                // Only requests can be given back, and this is none.
                let _ = line.inbox.push(Event::WasRead { phrase, found });
            };
            TextStoreThread::start(folder, config.text_cache_dir_bytes, &model, answer)
        });
        let scheduler = Scheduler::new(SchedulerParts {
            policy: Policy {
                delay: config.batch_delay,
                ageing: config.ageing.max(Duration::from_millis(1)),
                text_chunk: config.text_chunk.max(1),
            },
            clock: Arc::new(Instant::now),
            budget: Budget::new(
                (config.batch_images, config.batch_pairs),
                &stages.memory(),
                Arc::clone(&shared_budget),
            ),
            text_cache: Arc::clone(&text_cache),
            feature_cache: Arc::clone(&images),
            store: store.transpose()?,
            admission: Arc::clone(&admission),
        });
        let warm_up =
            WarmUp { largest_batches: config.warm_up_largest_batches, vocabularies: config.preload.clone() };
        let probe_interval = config.probe_interval;
        DeviceThread { line: Arc::clone(&line), stages, scheduler, warm_up, probe_interval }.start()?;
        let shared = Shared { line, model, admission, budget: shared_budget, known_text: text_cache, images };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The model that runs here.
    pub fn model(&self) -> &ModelInfo {
        &self.shared.model
    }

    /// Whether the engine can work, to look at or to watch.
    pub fn state(&self) -> watch::Receiver<EngineState> {
        self.shared.line.state.subscribe()
    }

    /// Waits for the end of the warm-up.
    ///
    /// # Errors
    /// The warm-up failed, or the engine was stopped.
    pub async fn ready(&self) -> Result<(), EngineError> {
        let mut state = self.state();
        let settled = state.wait_for(|state| *state != EngineState::Starting).await;
        settled.map_or(Err(EngineError::ShuttingDown), |state| refusal(&state))
    }

    /// Whether a request sent now would be worked on; to refuse it before its image is decoded.
    ///
    /// # Errors
    /// Why it would not.
    pub fn check_ready(&self) -> Result<(), EngineError> {
        refusal(&self.shared.line.state.borrow())
    }

    /// The image of a key, if its features are still in the cache. They stay for as long as it is held.
    pub fn image(&self, key: &ImageKey) -> Option<PinnedImage> {
        self.shared.images.get(key)
    }

    /// Whether features of images are kept.
    pub fn keeps_images(&self) -> bool {
        self.shared.images.is_on()
    }

    /// Images of the largest encoder batch, and (image, category) pairs of the largest batch of any later stage.
    pub fn budget(&self) -> (usize, usize) {
        self.shared.budget.get()
    }

    /// Segments one image. Dropping the future cancels the request: it is taken out before its next stage.
    ///
    /// # Errors
    /// The engine is not ready, its queue is full, the deadline cannot be kept or passes, or a stage fails.
    pub async fn segment(&self, job: SegmentJob) -> Result<SegmentOutcome, EngineError> {
        self.check_ready()?;
        job.check(&self.shared.model)?;
        let phrases = self.shared.known_text.unknown_phrases(&job.vocabulary);
        let encode = match &job.image {
            JobImage::Pixels { facts, .. } => {
                !facts.is_some_and(|facts| self.shared.images.contains(&facts.key))
            }
            JobImage::Cached(_) => false,
        };
        let demand = Demand::of_job(&job, self.shared.model.map_side, phrases, encode);
        let (priority, since, deadline) = (job.priority, job.waiting_since, job.deadline);
        match self.ask(Request::Segment(Box::new(job)), demand, priority, since, deadline).await? {
            Outcome::Segmented(outcome) => Ok(*outcome),
            Outcome::Embedded => Err(EngineError::ShuttingDown), // a segmentation is never answered so
        }
    }

    /// Computes the text embeddings of a vocabulary, so that the first picture does not wait for them.
    ///
    /// # Errors
    /// As [`Engine::segment`].
    pub async fn embed(&self, vocabulary: Vocabulary, deadline: Option<Instant>) -> Result<(), EngineError> {
        self.check_ready()?;
        let demand = Demand::of_words(self.shared.known_text.unknown_phrases(&vocabulary));
        let request = Request::Embed(vocabulary);
        self.ask(request, demand, Priority::Normal, Instant::now(), deadline).await.map(|_| ())
    }

    async fn ask(
        &self,
        request: Request,
        demand: Demand,
        priority: Priority,
        since: Instant,
        deadline: Option<Instant>,
    ) -> Result<Outcome, EngineError> {
        let place = self.shared.admission.admit(&demand, priority, deadline, Instant::now())?;
        let _leaving = Leaving(Arc::clone(&place));
        let (reply, answer) = oneshot::channel();
        let span = Span::current();
        let ticket = Ticket { request, demand, priority, since, deadline, place, span, reply };
        let arrived = self.shared.line.inbox.push(Event::Arrived(Box::new(ticket)));
        arrived.map_err(|_| EngineError::ShuttingDown)?;
        let reply = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), answer)
                .await
                .map_err(|_| EngineError::DeadlineExceeded)?,
            None => answer.await,
        };
        // The sender is only dropped unused when the thread ends.
        reply.unwrap_or(Err(EngineError::ShuttingDown))
    }

    /// How many requests wait for the device.
    pub fn queue_depth(&self) -> usize {
        self.shared.admission.waiting()
    }

    /// Stops: refuses what waits, finishes what has begun, and gives the model's memory back.
    pub async fn shutdown(&self) {
        let line = &self.shared.line;
        for ticket in line.inbox.close() {
            ticket.answer(Err(EngineError::ShuttingDown));
        }
        // `line` holds the sender, so waiting for a state cannot fail.
        let _ = self.state().wait_for(|state| *state == EngineState::Stopped).await;
    }
}

/// Gives the caller's place back when it goes, at once, even while the device is busy.
struct Leaving(Arc<Place>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Why a request is refused in a state; `Ok` when it is not.
fn refusal(state: &EngineState) -> Result<(), EngineError> {
    match state {
        EngineState::Ready => Ok(()),
        EngineState::Starting => Err(EngineError::NotReady),
        EngineState::Failed { reason } | EngineState::DeviceLost { reason } => {
            Err(EngineError::DeviceLost(reason.clone()))
        }
        EngineState::Stopped => Err(EngineError::ShuttingDown),
    }
}
