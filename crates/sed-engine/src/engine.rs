//! The handle by which the rest of the program uses the model.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    device_thread::{DeviceThread, Line},
    error::EngineError,
    job::{SegmentJob, SegmentOutcome},
    pipeline::Pipeline,
    queue::{Queue, Refusal},
    stages::{ModelInfo, Stages},
    state::EngineState,
    ticket::Ticket,
};

/// How an engine works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Requests that may wait for the device; at least 1.
    pub queue_capacity: usize,
    /// Waiting this long lifts a request by one step of priority.
    pub ageing: Duration,
    /// Bound of the cache of text embeddings, in bytes; 0 turns it off.
    pub text_cache_bytes: usize,
    /// Phrases that are embedded in one go; deadline and cancellation are looked at in between.
    pub text_chunk: usize,
    /// How often a device that was lost is tried again.
    pub probe_interval: Duration,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            queue_capacity: 64,
            ageing: Duration::from_secs(5),
            text_cache_bytes: 512 << 20,
            text_chunk: 32,
            probe_interval: Duration::from_secs(5),
        }
    }
}

/// A running model. Cheap to clone; when the last clone is gone, its thread ends.
#[derive(Clone, Debug)]
pub struct Engine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    line: Arc<Line>,
    model: ModelInfo,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.line.queue.close();
    }
}

impl Engine {
    /// Starts the device thread, which begins with a warm-up. Requests are refused until it is done; see
    /// [`Engine::state`].
    ///
    /// # Errors
    /// [`EngineError::NoThread`] if the operating system gives no thread.
    pub fn start<S: Stages>(stages: S, config: &EngineConfig) -> Result<Self, EngineError> {
        let model = stages.info();
        let queue = Queue::new(config.queue_capacity.max(1), config.ageing.max(Duration::from_millis(1)));
        let line = Arc::new(Line::new(queue));
        let thread = DeviceThread {
            line: Arc::clone(&line),
            pipeline: Pipeline::new(stages, config.text_cache_bytes, config.text_chunk),
            model: model.clone(),
            probe_interval: config.probe_interval,
        };
        std::thread::Builder::new()
            .name(format!("device-{}", model.device))
            .spawn(move || thread.run())
            .map_err(|error| EngineError::NoThread(error.to_string()))?;
        Ok(Self { shared: Arc::new(Shared { line, model }) })
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

    /// Segments one image. Dropping the future cancels the request: it is taken out before its next stage.
    ///
    /// # Errors
    /// The engine is not ready, its queue is full, the deadline passes, or a stage fails.
    pub async fn segment(&self, job: SegmentJob) -> Result<SegmentOutcome, EngineError> {
        let line = &self.shared.line;
        self.check_ready()?;
        job.check(&self.shared.model)?;
        let deadline = job.deadline;
        let priority = job.priority;
        let (ticket, answer) = Ticket::new(job);
        let since = Instant::now();
        line.queue.push(priority, ticket, since, |waiting| waiting.still_wanted().is_err()).map_err(
            |refusal| match refusal {
                Refusal::Full => EngineError::QueueFull {
                    capacity: line.queue.capacity(),
                    retry_after: line.retry_after(),
                },
                Refusal::Closed => EngineError::ShuttingDown,
            },
        )?;
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
        self.shared.line.queue.len()
    }

    /// Stops: refuses what waits, lets the running stage end, and gives the model's memory back.
    pub async fn shutdown(&self) {
        let line = &self.shared.line;
        for ticket in line.queue.close() {
            ticket.answer(Err(EngineError::ShuttingDown));
        }
        // `line` holds the sender, so waiting for a state cannot fail.
        let _ = self.state().wait_for(|state| *state == EngineState::Stopped).await;
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
