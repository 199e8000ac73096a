//! The handle by which the rest of the program uses the model.

mod words;

use std::sync::Arc;

use sed_telemetry::Telemetry;
use tokio::sync::watch;

use crate::{
    admission::cost_model::Demand,
    caches::direction_cache::DirectionCache,
    config::EngineConfig,
    devices::{
        member::Member,
        state::{EngineState, Seat, StateBoard},
    },
    metrics::EngineMetrics,
    preparing::Preparations,
    requests::{
        error::EngineError,
        image::{ImageKey, PinnedImage},
        job::{JobImage, SegmentJob, SegmentOutcome},
    },
    scheduler::task::Order,
    stages::{ModelInfo, Stages, input::InputSlots, phrases::ReadPhrases},
};

use self::words::LateWords;

/// A running model, on one device or several. Cheap to clone; when the last clone is gone, its threads end.
#[derive(Clone, Debug)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    model: ModelInfo,
    reader: Arc<dyn ReadPhrases>,
    slots: Option<Arc<dyn InputSlots>>,
    board: Arc<StateBoard>,
    directions: DirectionCache,
    preparations: Arc<Preparations>,
    /// One for each device, at least one.
    members: Vec<Member>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("model", &self.model).finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts the device thread, which begins with a warm-up and records in `telemetry`. Requests are refused
    /// until it is done; see [`Engine::state`].
    ///
    /// # Errors
    /// [`EngineError::NoThread`] if the operating system gives no thread, [`EngineError::TextStore`] if the
    /// directory of text embeddings cannot be used.
    pub fn start<S: Stages>(
        stages: S,
        config: &EngineConfig,
        telemetry: &Telemetry,
    ) -> Result<Self, EngineError> {
        Self::start_all(vec![stages], config, telemetry)
    }

    /// Starts one thread for each device that holds the model. Each has its own queue, budgets and caches, as
    /// the settings say: what is cached is memory of one device, and fetching it from another would take
    /// longer than most launches. A request goes where it will probably be done first, which is where its
    /// image or its words are known if the others are not much less busy.
    ///
    /// # Errors
    /// As [`Engine::start`], and [`EngineError::NoThread`] if there is no device.
    pub fn start_all<S: Stages>(
        stages: Vec<S>,
        config: &EngineConfig,
        telemetry: &Telemetry,
    ) -> Result<Self, EngineError> {
        let models: Vec<ModelInfo> = stages.iter().map(Stages::info).collect();
        let (Some(mut model), Some(reader)) =
            (models.first().cloned(), stages.first().map(Stages::phrase_reader))
        else {
            return Err(EngineError::NoThread("there is no device to have one".into()));
        };
        // Every device reads the memory of the first one's.
        let slots = stages.first().and_then(Stages::input_slots);
        model.device = models.iter().map(|model| model.device.as_str()).collect::<Vec<_>>().join(",");
        let (board, metrics) = (StateBoard::new(stages.len()), EngineMetrics::new(telemetry));
        let member = |(number, (stages, model)): (usize, (S, &ModelInfo))| {
            Member::start(stages, config, Seat::new(&board, number, &model.device, &metrics))
        };
        let members = stages.into_iter().zip(&models).enumerate().map(member).collect::<Result<_, _>>()?;
        let directions = DirectionCache::new();
        let preparations = Preparations::new(config.preparing_phrases, &metrics);
        let shared = Shared { model, reader, slots, board, directions, preparations, members };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The model that runs here.
    pub fn model(&self) -> &ModelInfo {
        &self.shared.model
    }

    /// The model's reading of phrases. A phrase costs some microseconds, so call it off the runtime's
    /// threads.
    pub fn phrase_reader(&self) -> Arc<dyn ReadPhrases> {
        Arc::clone(&self.shared.reader)
    }

    /// Memory that a device reads inputs from by itself, for threads that make a [`crate::JobInput`]; `None`
    /// where that gains nothing.
    pub fn input_slots(&self) -> Option<Arc<dyn InputSlots>> {
        self.shared.slots.clone()
    }

    /// Returns the state of the engine, to read or to watch. With several devices it is
    /// [`EngineState::Starting`] while any of them starts, and then [`EngineState::Ready`] while any of them
    /// is ready.
    pub fn state(&self) -> watch::Receiver<EngineState> {
        self.shared.board.watch()
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

    /// Checks that a request sent now would be worked on, so that it can be refused before its image is
    /// decoded.
    ///
    /// # Errors
    /// [`EngineError::NotReady`], [`EngineError::WarmUpFailed`], [`EngineError::DeviceLost`] or
    /// [`EngineError::ShuttingDown`], by the state of the engine.
    pub fn check_ready(&self) -> Result<(), EngineError> {
        refusal(&self.shared.board.merged())
    }

    /// The image of a key, if its features are still in the cache of a device that works. They stay for as
    /// long as it is held.
    pub fn image(&self, key: &ImageKey) -> Option<PinnedImage> {
        self.working().find_map(|member| member.images.get(key))
    }

    /// Reports whether the engine caches image features.
    pub fn keeps_images(&self) -> bool {
        self.shared.members.iter().any(|member| member.images.is_on())
    }

    /// Images of the largest encoder batch, and (image, category) pairs of the largest batch of any later
    /// stage, on the device that allows most.
    pub fn budget(&self) -> (usize, usize) {
        let budgets = self.shared.members.iter().map(Member::budget);
        budgets.fold((0, 0), |most, budget| (most.0.max(budget.0), most.1.max(budget.1)))
    }

    /// Segments one image. Dropping the future cancels the request: it is taken out before its next stage.
    ///
    /// # Errors
    /// The engine is not ready, its queue is full, the deadline cannot be kept or passes, or a stage fails.
    /// Where only unknown words stand between a request and its deadline, they are prepared, and the error is
    /// [`EngineError::VocabularyNotReady`].
    pub async fn segment(&self, job: SegmentJob) -> Result<SegmentOutcome, EngineError> {
        self.segment_for(job, None).await
    }

    /// As [`Engine::segment`], for a caller with a name, which words that are prepared count for.
    ///
    /// # Errors
    /// As [`Engine::segment`].
    pub async fn segment_for(
        &self,
        job: SegmentJob,
        caller: Option<Arc<str>>,
    ) -> Result<SegmentOutcome, EngineError> {
        self.check_ready()?;
        job.check(&self.shared.model)?;
        let (member, demand) = self.best_for(&job)?;
        let late = LateWords::of(&job.vocabulary, job.deadline, member.behind_words(&demand), caller);
        let outcome = match member.submit(Order::segment(job), demand) {
            Ok(pending) => pending.wait().await,
            Err(refused) => Err(refused),
        };
        outcome.map_err(|failure| self.explain(failure, late))
    }

    /// The device that will probably be the first to be done with a job, and what the job asks of it.
    fn best_for(&self, job: &SegmentJob) -> Result<(&Member, Demand), EngineError> {
        if let JobImage::Cached(image) = &job.image {
            let home = self.shared.members.iter().find(|member| member.images.is_home_of(image));
            let elsewhere = "comes from another engine; ask this one for it".to_owned();
            let home = home.ok_or(EngineError::InvalidJob { field: "image", message: elsewhere })?;
            return Ok((home, home.demand(job)));
        }
        // One judge of costs for all: the devices are taken to be alike, and what each has seen so far is
        // chance.
        let judge = self.working().next();
        let rated = self.working().map(|member| {
            let demand = member.demand(job);
            let (ahead, present) = member.ahead_of(&demand, job.priority);
            (ahead + judge.map_or(0.0, |judge| judge.seconds(&demand)), present, member, demand)
        });
        let best = rated.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        best.map(|(_, _, member, demand)| (member, demand)).ok_or_else(none_left)
    }

    fn working(&self) -> impl Iterator<Item = &Member> {
        self.shared.members.iter().filter(|member| member.is_ready())
    }

    /// Number of requests that wait for a device.
    pub fn queue_depth(&self) -> usize {
        self.shared.members.iter().map(Member::waiting).sum()
    }

    /// Stops the engine: refuses waiting requests, finishes those that have begun, and frees the model's
    /// memory.
    pub async fn shutdown(&self) {
        self.shared.members.iter().for_each(Member::close);
        // The board holds the sender, so waiting for a state cannot fail.
        let _ = self.state().wait_for(|state| *state == EngineState::Stopped).await;
    }
}

/// The error where no device works, of those that were ready a moment ago.
fn none_left() -> EngineError {
    EngineError::DeviceLost("no device is left".into())
}

/// The error with which a state refuses requests; `Ok` when it accepts them.
fn refusal(state: &EngineState) -> Result<(), EngineError> {
    match state {
        EngineState::Ready => Ok(()),
        EngineState::Starting => Err(EngineError::NotReady),
        EngineState::Failed { reason } => Err(EngineError::WarmUpFailed(reason.clone())),
        EngineState::DeviceLost { reason } | EngineState::GivenUp { reason } => {
            Err(EngineError::DeviceLost(reason.clone()))
        }
        EngineState::Stopped => Err(EngineError::ShuttingDown),
    }
}
