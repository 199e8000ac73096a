//! The state of an engine and of its devices, to read and to watch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::metrics::EngineMetrics;

/// The state of an engine, or of one of its devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineState {
    /// The model is being warmed up.
    Starting,
    /// Requests are answered.
    Ready,
    /// The model could not even do its warm-up. The engine tries again from time to time.
    Failed {
        /// The last error of the warm-up.
        reason: String,
    },
    /// The device does not answer. The engine tries it from time to time.
    DeviceLost {
        /// The last error of the device.
        reason: String,
    },
    /// The device was lost, cannot recover in this process, and failed as many probes as the settings allow.
    /// It is not tried again: a new process is needed.
    GivenUp {
        /// The last error of the device.
        reason: String,
    },
    /// The device thread has ended.
    Stopped,
}

impl EngineState {
    /// Reports whether a request sent now would be worked on.
    pub fn is_ready(&self) -> bool {
        *self == Self::Ready
    }
}

/// The states of all devices of an engine, and the engine's own, which is merged from them.
#[derive(Debug)]
pub(crate) struct StateBoard {
    states: Mutex<Vec<EngineState>>,
    merged: watch::Sender<EngineState>,
}

impl StateBoard {
    /// A board of `devices` devices that are all starting.
    pub(crate) fn new(devices: usize) -> Arc<Self> {
        let states = Mutex::new(vec![EngineState::Starting; devices]);
        Arc::new(Self { states, merged: watch::Sender::new(EngineState::Starting) })
    }

    /// The engine's state, to watch.
    pub(crate) fn watch(&self) -> watch::Receiver<EngineState> {
        self.merged.subscribe()
    }

    /// The engine's state now.
    pub(crate) fn merged(&self) -> EngineState {
        self.merged.borrow().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<EngineState>> {
        // Nothing under the lock leaves the states half changed.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one device on the board.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    board: Arc<StateBoard>,
    number: usize,
    /// The device's name, for its metric.
    device: Arc<str>,
    pub(crate) metrics: Arc<EngineMetrics>,
}

impl Seat {
    /// The place of the device of this number and name.
    pub(crate) fn new(
        board: &Arc<StateBoard>,
        number: usize,
        device: &str,
        metrics: &Arc<EngineMetrics>,
    ) -> Self {
        metrics.device_ready.set(device, 0.0);
        Self { board: Arc::clone(board), number, device: device.into(), metrics: Arc::clone(metrics) }
    }

    /// The device's own state.
    pub(crate) fn state(&self) -> EngineState {
        self.board.lock().get(self.number).cloned().unwrap_or(EngineState::Stopped)
    }

    /// Changes the device's own state, and so the engine's.
    pub(crate) fn report(&self, state: EngineState) {
        self.metrics.device_ready.set(&self.device, f64::from(u8::from(state.is_ready())));
        let mut states = self.board.lock();
        if let Some(own) = states.get_mut(self.number) {
            *own = state;
        }
        // Under the lock, so that the last report also has the last word.
        self.board.merged.send_replace(merge(&states));
    }
}

/// The engine's state: starting while any device is; then ready if any is; else the state of the first device
/// that may still recover; given up only when none may.
fn merge(states: &[EngineState]) -> EngineState {
    let rank = |state: &EngineState| match state {
        EngineState::Starting => 0,
        EngineState::Ready => 1,
        EngineState::Failed { .. } | EngineState::DeviceLost { .. } => 2,
        EngineState::GivenUp { .. } => 3,
        EngineState::Stopped => 4,
    };
    states.iter().min_by_key(|state| rank(state)).cloned().unwrap_or(EngineState::Stopped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics;

    #[test]
    fn one_device_that_works_is_enough_once_all_have_tried() {
        let board = StateBoard::new(2);
        let metrics = metrics::off();
        let [first, second] = [0, 1].map(|number| Seat::new(&board, number, "cpu", &metrics));
        let lost = |reason: &str| EngineState::DeviceLost { reason: reason.into() };
        first.report(EngineState::Ready);
        assert_eq!((board.merged(), first.state()), (EngineState::Starting, EngineState::Ready));
        second.report(EngineState::Failed { reason: "no memory".into() });
        assert_eq!(board.merged(), EngineState::Ready);
        first.report(lost("bus error"));
        assert_eq!(board.merged(), lost("bus error"));
        second.report(EngineState::Ready);
        assert_eq!(board.merged(), EngineState::Ready);
        let given_up = EngineState::GivenUp { reason: "no answer".into() };
        second.report(given_up.clone());
        assert_eq!(board.merged(), lost("bus error"));
        first.report(EngineState::Ready);
        assert_eq!(board.merged(), EngineState::Ready);
        first.report(given_up.clone());
        assert_eq!(board.merged(), given_up);
        second.report(EngineState::Stopped);
        assert_eq!(board.merged(), given_up);
        first.report(EngineState::Stopped);
        assert_eq!(board.merged(), EngineState::Stopped);
    }
}
