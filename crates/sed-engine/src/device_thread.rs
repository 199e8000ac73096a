//! The thread that owns the model. One request at a time goes through its stages; between them, expired and
//! cancelled requests are dropped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    error::EngineError,
    job::{Priority, SegmentJob},
    pipeline::Pipeline,
    queue::{Popped, Queue},
    stages::{ModelInfo, NetworkInput, OutputSpec, Stages},
    state::EngineState,
    ticket::Ticket,
    vocabulary::{Category, Vocabulary},
};

/// What the thread shares with the callers.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) queue: Queue<Ticket>,
    pub(crate) state: watch::Sender<EngineState>,
    /// Moving mean of the time that one request holds the device, in microseconds.
    mean_service_micros: AtomicU64,
}

impl Line {
    pub(crate) fn new(queue: Queue<Ticket>) -> Self {
        Self {
            queue,
            state: watch::Sender::new(EngineState::Starting),
            mean_service_micros: AtomicU64::new(0),
        }
    }

    /// When a request that finds the queue full should come back.
    pub(crate) fn retry_after(&self) -> Duration {
        let mean = Duration::from_micros(self.mean_service_micros.load(Ordering::Relaxed));
        mean.clamp(Duration::from_millis(50), Duration::from_secs(30))
    }

    fn note_service_time(&self, time: Duration) {
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let old = self.mean_service_micros.load(Ordering::Relaxed);
        let mean = if old == 0 { time } else { old - old / 8 + time / 8 };
        self.mean_service_micros.store(mean, Ordering::Relaxed);
    }

    fn fail_waiting(&self, error: &EngineError) {
        for ticket in self.queue.close() {
            ticket.answer(Err(error.clone()));
        }
    }
}

/// The thread's own part.
pub(crate) struct DeviceThread<S: Stages> {
    pub(crate) line: Arc<Line>,
    pub(crate) pipeline: Pipeline<S>,
    pub(crate) model: ModelInfo,
    /// How often a model that does not work is tried again.
    pub(crate) probe_interval: Duration,
}

impl<S: Stages> DeviceThread<S> {
    /// Warms up, then answers requests until the queue is closed.
    pub(crate) fn run(mut self) {
        // Declared before anything can fail, so that callers see the end of the thread however it comes.
        let _end = EndOfThread(Arc::clone(&self.line));
        self.warm_up(|reason| EngineState::Failed { reason });
        loop {
            let ready = self.line.state.borrow().is_ready();
            let patience = (!ready).then_some(self.probe_interval);
            match self.line.queue.pop(patience) {
                Popped::Item(ticket) => self.serve(ticket),
                Popped::TimedOut => self.warm_up(|reason| EngineState::DeviceLost { reason }),
                Popped::Closed => break,
            }
        }
        drop(self.pipeline); // device memory is free before the end is announced
    }

    fn serve(&mut self, ticket: Ticket) {
        let begun = Instant::now();
        let reply = self.pipeline.run(&ticket.job, &|| ticket.still_wanted());
        match &reply {
            Ok(_) => self.line.note_service_time(begun.elapsed()),
            Err(EngineError::DeviceLost(reason)) => {
                tracing::error!(reason, "the device does not answer");
                self.line.state.send_replace(EngineState::DeviceLost { reason: reason.clone() });
            }
            Err(error @ EngineError::StageFailed { .. }) => tracing::error!(%error, "a request failed"),
            Err(error) => tracing::debug!(%error, "a request was dropped"),
        }
        ticket.answer(reply);
    }

    /// Takes a grey picture through every stage: memory is allocated, caches are filled, and a model that
    /// cannot work is known before the first request.
    fn warm_up(&mut self, failed: impl FnOnce(String) -> EngineState) {
        let begun = Instant::now();
        let outcome = warm_up_job(&self.model)
            .and_then(|job| self.pipeline.run(&job, &|| Ok(())).map_err(|error| error.to_string()));
        let state = match outcome {
            Ok(_) => {
                tracing::info!(seconds = begun.elapsed().as_secs_f64(), "the model is warm");
                EngineState::Ready
            }
            Err(reason) => {
                tracing::error!(reason, "the warm-up failed");
                failed(reason)
            }
        };
        self.line.state.send_replace(state);
    }
}

fn warm_up_job(model: &ModelInfo) -> Result<SegmentJob, String> {
    let side = model.input_side;
    let map_side = model.map_side as u32;
    let categories = ["background", "object"].map(Category::named).to_vec();
    Ok(SegmentJob {
        input: NetworkInput { side, data: vec![0.0; side * side * 3] },
        vocabulary: Vocabulary::built_in(categories).map_err(|error| error.to_string())?,
        top_k: Some(1),
        output: OutputSpec {
            width: map_side,
            height: map_side,
            crop: None,
            score_threshold: 0.0,
            score_maps: false,
        },
        waiting_since: Instant::now(),
        deadline: None,
        priority: Priority::Normal,
    })
}

/// Tells everybody when the thread ends, even by a panic.
struct EndOfThread(Arc<Line>);

impl Drop for EndOfThread {
    fn drop(&mut self) {
        self.0.fail_waiting(&EngineError::ShuttingDown);
        self.0.state.send_replace(EngineState::Stopped);
    }
}
