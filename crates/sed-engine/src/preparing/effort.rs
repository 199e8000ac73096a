//! The effort for one vocabulary.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sed_telemetry::GaugeShare;
use tokio::sync::watch;

use super::{EffortId, Plan, PreparationState, Progress, Start};
use crate::{metrics::EngineMetrics, requests::error::EngineError};

/// An effort that runs.
#[derive(Debug)]
pub(super) struct Effort {
    pub(super) id: EffortId,
    /// The caller that its phrases count for.
    pub(super) caller: Option<Arc<str>>,
    /// Callers that wait for it.
    pub(super) watchers: usize,
    /// Refused requests want it until then.
    pub(super) asked_until: Option<Instant>,
    /// True once it has ended, for the devices.
    pub(super) over: Arc<AtomicBool>,
    parts: Vec<Part>,
    progress: watch::Sender<Progress>,
    /// Phrases that are left.
    left: GaugeShare,
    _running: GaugeShare,
}

/// One device's part.
#[derive(Debug)]
struct Part {
    device: String,
    embedded: usize,
    remaining: Option<Duration>,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Working,
    /// It has all.
    Done,
    /// The device is lost.
    Gone,
}

impl Effort {
    /// An effort that begins.
    pub(super) fn new(id: EffortId, plan: Plan, metrics: &EngineMetrics) -> Self {
        let part = |Start { device, embedded, remaining }| {
            let standing = Standing::Working;
            Part { device, embedded, remaining, standing }
        };
        let parts: Vec<Part> = plan.devices.into_iter().map(part).collect();
        let known = parts.iter().map(|part| part.embedded).min().unwrap_or(0);
        let progress = Progress {
            phrases: plan.phrases,
            known,
            embedded: known,
            remaining: None,
            devices: Vec::new(),
            state: PreparationState::Running,
        };
        let mut effort = Self {
            id,
            caller: plan.caller,
            watchers: 0,
            asked_until: None,
            over: Arc::default(),
            parts,
            progress: watch::Sender::new(progress),
            left: metrics.preparing_phrases.share(0.0),
            _running: metrics.preparations.share(1.0),
        };
        effort.publish(None);
        effort
    }

    /// Its different phrases.
    pub(super) fn phrases(&self) -> usize {
        self.progress.borrow().phrases
    }

    /// Those that were unknown when it began.
    pub(super) fn missing(&self) -> usize {
        let progress = self.progress.borrow();
        progress.phrases - progress.known
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Its progress, to watch.
    pub(super) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Ends it if no caller waits for it and no refused request has asked for it lately.
    pub(super) fn end_unless_wanted(&mut self, now: Instant) {
        let is_asked_for = self.asked_until.is_some_and(|until| now < until);
        if self.watchers == 0 && !is_asked_for {
            self.publish(Some(EngineError::Cancelled));
        }
    }

    /// A device has so many phrases.
    pub(super) fn report(&mut self, device: usize, embedded: usize, remaining: Option<Duration>) {
        self.settle(device, |part| {
            part.embedded = part.embedded.max(embedded);
            part.remaining = remaining;
        });
    }

    /// A device has all.
    pub(super) fn done(&mut self, device: usize) {
        let phrases = self.phrases();
        self.settle(device, |part| {
            part.embedded = phrases;
            part.standing = Standing::Done;
        });
    }

    /// A device has failed. Others go on without one that is lost; the words themselves are to blame for all
    /// else.
    pub(super) fn fail(&mut self, device: usize, error: &EngineError) {
        if !self.parts.get(device).is_some_and(|part| part.standing == Standing::Working) {
            return;
        }
        let is_lost = matches!(
            error,
            EngineError::DeviceLost(_) | EngineError::WarmUpFailed(_) | EngineError::ShuttingDown
        );
        let mut others = self.parts.iter().enumerate().filter(|(other, _)| *other != device);
        if is_lost && others.any(|(_, part)| part.standing != Standing::Gone) {
            self.settle(device, |part| part.standing = Standing::Gone);
        } else {
            self.publish(Some(error.clone()));
        }
    }

    /// Changes the part of a device that still works on it.
    fn settle(&mut self, device: usize, change: impl FnOnce(&mut Part)) {
        let part = self.parts.get_mut(device).filter(|part| part.standing == Standing::Working);
        if let Some(part) = part {
            change(part);
            self.publish(None);
        }
    }

    /// Brings the progress up to date. An error ends the effort.
    fn publish(&mut self, error: Option<EngineError>) {
        if self.has_ended() {
            return;
        }
        let parts = || self.parts.iter().filter(|part| part.standing != Standing::Gone);
        let embedded = parts().map(|part| part.embedded).min().unwrap_or(0);
        let working = || parts().filter(|part| part.standing == Standing::Working);
        let state = match error {
            Some(error) => PreparationState::Failed(error),
            None if working().next().is_none() => PreparationState::Ready,
            None => PreparationState::Running,
        };
        let before = self.progress();
        let progress = Progress {
            embedded: embedded.max(before.embedded),
            remaining: working()
                .map(|part| part.remaining)
                .try_fold(Duration::ZERO, |most, remaining| Some(most.max(remaining?))),
            devices: parts().map(|part| (part.device.clone(), part.embedded)).collect(),
            state,
            ..before
        };
        self.over.store(progress.state != PreparationState::Running, Ordering::Relaxed);
        self.left.set((progress.phrases - progress.embedded) as f64);
        self.progress.send_replace(progress);
    }
}
