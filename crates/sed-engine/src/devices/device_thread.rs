//! The thread that owns the model: it drains the inbox, runs the scheduler's next launch, and delivers the
//! results; those of a submission by way of the answer thread.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::Span;

use crate::{
    devices::{
        answer_thread::AnswerThread,
        inbox::{Event, Inbox, Wait},
        state::{EngineState, Seat},
        warm_up::{Round, WarmUp},
    },
    requests::error::EngineError,
    scheduler::{
        Aftermath, Ran, Scheduler,
        launch::{Launch, LaunchSize},
    },
    stages::Stages,
};

/// The inbox and the state of a device thread, which its callers share.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) inbox: Inbox,
    pub(crate) seat: Seat,
}

/// The state that the device thread owns.
pub(crate) struct DeviceThread<S: Stages> {
    pub(crate) line: Arc<Line>,
    pub(crate) stages: S,
    pub(crate) scheduler: Scheduler<S>,
    pub(crate) warm_up: WarmUp,
    pub(crate) probes: Probes,
    pub(crate) answers: AnswerThread,
}

/// The schedule by which a failed device is tried again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probes {
    /// Time between two probes.
    pub(crate) interval: Duration,
    /// Failed probes in a row after which a device that cannot recover in this process is given up; 0 is
    /// never.
    pub(crate) most_failed: u32,
    /// Probes since the device worked that lost it again.
    pub(crate) failed: u32,
    /// Launches that lost the device.
    pub(crate) lost: u32,
}

/// The reason why a thread has ended.
enum End<S: Stages> {
    /// The inbox was closed: the engine was shut down, or its last handle dropped.
    Stopped,
    /// A stage panicked. The state of the thread itself is not trusted; the model goes on in a new thread.
    Panicked(Box<DeviceThread<S>>),
}

impl<S: Stages> DeviceThread<S> {
    /// Starts a thread that goes on in a new one after a panic, until the inbox is closed.
    pub(crate) fn start(self) -> Result<(), EngineError> {
        let end = EndOfEngine(Arc::clone(&self.line));
        let name = format!("device-{}", self.stages.info().device);
        let thread = |name: String| std::thread::Builder::new().name(name);
        let watch = move || {
            let _end = end; // however this ends, the callers see it
            let mut next = self;
            next.first_warm_up();
            loop {
                let started = thread(name.clone()).spawn(move || next.run());
                let Ok(worker) = started else {
                    tracing::error!("the operating system gives no thread for the device");
                    return;
                };
                match worker.join() {
                    Ok(End::Panicked(worker)) => {
                        worker.scheduler.metrics.device_restarts.add(1);
                        next = *worker;
                    }
                    Ok(End::Stopped) | Err(_) => return,
                }
            }
        };
        let started = thread("device-watch".into()).spawn(watch);
        started.map(|_| ()).map_err(|error| EngineError::NoThread(error.to_string()))
    }

    fn run(mut self) -> End<S> {
        loop {
            let (events, closed) = self.line.inbox.take(Wait::No);
            self.receive(events);
            if closed {
                self.scheduler.fail_all(true, &EngineError::ShuttingDown);
            }
            if !self.line.seat.state().is_ready() {
                if closed {
                    return End::Stopped;
                }
                self.wait_for_device();
                continue;
            }
            match self.scheduler.next() {
                Some(launch) => {
                    if self.launch(launch).panicked {
                        return End::Panicked(Box::new(self));
                    }
                }
                None if closed => {
                    // What is left could only wait for the directory of text embeddings.
                    self.scheduler.fail_all(false, &EngineError::ShuttingDown);
                    return End::Stopped;
                }
                None => {
                    let wait = self.scheduler.background_in().map_or(Wait::Forever, Wait::For);
                    let (events, _) = self.line.inbox.take(wait);
                    self.receive(events);
                }
            }
        }
    }

    /// Refuses requests that arrive, and probes the device at intervals unless it was given up.
    fn wait_for_device(&mut self) {
        let given_up = matches!(self.line.seat.state(), EngineState::GivenUp { .. });
        let wait = if given_up { Wait::Forever } else { Wait::For(self.probes.interval) };
        let (events, closed) = self.line.inbox.take(wait);
        if events.is_empty() && !closed {
            self.probe();
        } else {
            self.receive(events);
        }
    }

    fn receive(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            match event {
                Event::Arrived(request) => match self.failure() {
                    Some(error) => request.fail(error),
                    None => self.scheduler.arrive(&self.stages, *request),
                },
                Event::Assigned(assignment) => match self.failure() {
                    Some(error) => assignment.share.fail(&error),
                    None => self.scheduler.prepare(&self.stages, *assignment),
                },
                Event::WasRead { phrase, found } => {
                    self.scheduler.was_read(&self.stages, &phrase, found.as_deref());
                }
            }
        }
    }

    /// The error with which a device that does not work refuses everything.
    fn failure(&self) -> Option<EngineError> {
        match self.line.seat.state() {
            EngineState::DeviceLost { reason } | EngineState::GivenUp { reason } => {
                Some(EngineError::DeviceLost(reason))
            }
            EngineState::Failed { reason } => Some(EngineError::WarmUpFailed(reason)),
            EngineState::Starting | EngineState::Ready | EngineState::Stopped => None,
        }
    }

    /// Runs a launch and hands out its results.
    fn launch(&mut self, mut launch: Launch<S>) -> Aftermath {
        let span = self.batch_span(&mut launch);
        let begun = self.scheduler.now();
        let ended = span.in_scope(|| launch.run(&self.stages));
        let ran = Ran { begun, ended: self.scheduler.now() };
        span.record("pairs", ended.size.pairs);
        drop(span);
        let mut aftermath = self.scheduler.complete(&self.stages, ended, ran);
        aftermath.unfinished.drain(..).for_each(|unfinished| self.answers.finish(unfinished));
        if let Some(reason) = &aftermath.lost {
            self.probes.lost = self.probes.lost.saturating_add(1);
            tracing::error!(device = self.stages.info().device, reason, "the device does not answer");
            self.change_state(EngineState::DeviceLost { reason: reason.clone() });
            self.scheduler.fail_all(false, &EngineError::DeviceLost(reason.clone()));
        }
        aftermath
    }

    /// The span of a batch. It is linked to the spans of all its requests instead of being the child of one.
    fn batch_span(&self, launch: &mut Launch<S>) -> Span {
        if !self.scheduler.recording {
            return Span::none(); // the engine's own requests have no caller
        }
        let LaunchSize { images, .. } = launch.work.size();
        let stage = launch.work.name();
        // The number of pairs in a part of a stage is known once it has run.
        let pairs = tracing::field::Empty;
        let span = tracing::info_span!(parent: None, "batch", otel.name = stage, stage, images, pairs);
        for ticket in launch.work.tickets_mut() {
            span.follows_from(&ticket.span);
        }
        span
    }

    fn first_warm_up(&mut self) {
        self.change_state(EngineState::Starting);
        let begun = Instant::now();
        let warm_up = self.warm_up.clone();
        match self.warm(&warm_up) {
            Ok(()) => {
                let seconds = begun.elapsed().as_secs_f64();
                self.scheduler.metrics.warmup.set(seconds);
                tracing::info!(seconds, "the model is warm");
                self.change_state(EngineState::Ready);
            }
            Err(reason) => {
                tracing::error!(reason, "the warm-up failed");
                // A launch that lost the device has reported it.
                if !matches!(self.line.seat.state(), EngineState::DeviceLost { .. }) {
                    self.change_state(EngineState::Failed { reason });
                }
            }
        }
    }

    /// Tries a model that did not work, with a small picture.
    fn probe(&mut self) {
        let lost_before = self.probes.lost;
        match self.warm(&WarmUp::quick()) {
            Ok(()) => {
                self.probes.failed = 0;
                tracing::info!("the device works again");
                self.change_state(EngineState::Ready);
            }
            Err(reason) => {
                // A probe that fails without losing the device, for want of memory say, says nothing of its
                // context.
                if self.probes.lost != lost_before {
                    self.probes.failed = self.probes.failed.saturating_add(1);
                }
                let Probes { failed, most_failed, .. } = self.probes;
                let device = self.stages.info().device;
                tracing::error!(device, reason, failed, "the device still does not work");
                let given_up = most_failed > 0 && failed >= most_failed && !self.stages.can_recover();
                if given_up {
                    tracing::error!(device, "the device is given up: only a new process can use it again");
                }
                self.change_state(match self.line.seat.state() {
                    _ if given_up => EngineState::GivenUp { reason },
                    EngineState::Failed { .. } => EngineState::Failed { reason },
                    _ => EngineState::DeviceLost { reason },
                });
            }
        }
    }

    fn warm(&mut self, warm_up: &WarmUp) -> Result<(), String> {
        self.scheduler.recording = false;
        let outcome = self.warm_rounds(warm_up);
        self.scheduler.recording = true;
        outcome
    }

    fn warm_rounds(&mut self, warm_up: &WarmUp) -> Result<(), String> {
        let words = warm_up.words(&self.stages)?;
        let pictures = warm_up.pictures(&self.stages, &self.scheduler)?;
        pictures.into_iter().try_for_each(|round| self.warm_round(round))?;
        self.warm_round(words)
    }

    /// Runs one round of the engine's own requests through all stages. Fails with the first error among their
    /// answers.
    fn warm_round<T>(&mut self, round: Round<T>) -> Result<(), String> {
        let (requests, answers) = round;
        requests.into_iter().for_each(|request| self.scheduler.arrive(&self.stages, request));
        while !self.scheduler.is_empty() {
            match self.scheduler.next() {
                Some(launch) => drop(self.launch(launch)),
                None => {
                    // Only the directory of text embeddings can be waited for here.
                    let (events, closed) = self.line.inbox.take(Wait::For(Duration::from_millis(100)));
                    self.receive(events);
                    if closed {
                        self.scheduler.fail_all(false, &EngineError::ShuttingDown);
                    }
                }
            }
        }
        answers.into_iter().try_for_each(|answer| match answer.blocking_recv() {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        })
    }

    fn change_state(&self, state: EngineState) {
        self.line.seat.report(state);
    }
}

/// A guard that closes the inbox and reports [`EngineState::Stopped`] on drop, even after a panic that
/// nothing caught.
struct EndOfEngine(Arc<Line>);

impl Drop for EndOfEngine {
    fn drop(&mut self) {
        for request in self.0.inbox.close() {
            request.fail(EngineError::ShuttingDown);
        }
        self.0.seat.report(EngineState::Stopped);
    }
}
