//! A request's place in the account: its priority, and the part of its predicted work that is left.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    admission::{Account, Admission, charge::Charge},
    requests::job::Priority,
    stages::stage::Stage,
};

/// A request's place in the account. The caller and the device thread hold it; it is released when either of
/// them is done with the request.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    priority: Priority,
    pairs: usize,
    /// The charge that was predicted when the request was admitted.
    charge: Charge,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    /// No launch has included the request yet.
    waiting: bool,
    /// A launch behind the words has included it.
    in_flight: bool,
    /// Predicted device time that is left.
    left: Charge,
    gone: bool,
}

impl Place {
    /// A place of a request that `admission` has counted as waiting, with this charge.
    pub(crate) fn new(admission: Arc<Admission>, priority: Priority, pairs: usize, charge: Charge) -> Self {
        let progress = Progress { waiting: true, in_flight: false, left: charge, gone: false };
        Self { admission, priority, pairs, charge, progress: Mutex::new(progress) }
    }

    /// Notes that a launch of a stage includes the request. Returns whether that is its first launch.
    pub(crate) fn begin(&self, stage: Stage) -> bool {
        let mut progress = self.lock();
        if progress.gone {
            return false;
        }
        let first = std::mem::take(&mut progress.waiting);
        let mut account = self.admission.lock();
        if first {
            self.stop_waiting(&mut account);
        }
        if stage != Stage::TextEmbedding && !progress.in_flight {
            progress.in_flight = true;
            let time = progress.left.behind_words();
            account.queued[self.priority as usize] -= time;
            account.in_flight += time;
        }
        drop(account);
        if first {
            self.admission.publish();
        }
        first
    }

    /// Pays a share of what a stage was predicted to take.
    pub(crate) fn pay(&self, stage: Stage, share: f64) {
        let time = self.charge.of(stage);
        // A share of all or more, or of nothing (0/0), is all of it.
        self.pay_time(stage, if share < 1.0 { time.mul_f64(share.max(0.0)) } else { time });
    }

    /// Pays the rest of a stage that is over, and of those before it.
    pub(crate) fn pay_up_to(&self, stage: Stage) {
        for paid in Stage::ALL.into_iter().take_while(|before| before.index() <= stage.index()) {
            self.pay_time(paid, Duration::MAX);
        }
    }

    /// Releases the place when the request is over or its caller has gone. Returns whether it was held until
    /// now.
    pub(crate) fn leave(&self) -> bool {
        let mut progress = self.lock();
        if progress.gone {
            return false;
        }
        progress.gone = true;
        let mut account = self.admission.lock();
        account.present -= 1;
        if progress.waiting {
            self.stop_waiting(&mut account);
        }
        for stage in Stage::ALL {
            *self.sum_of(&mut account, progress.in_flight, stage) -= progress.left.of(stage);
        }
        drop(account);
        self.admission.publish();
        true
    }

    /// Reports whether the place was released.
    pub(crate) fn is_gone(&self) -> bool {
        self.lock().gone
    }

    /// Returns the part of the charge that is not paid, or was not when the place was released.
    #[cfg(test)]
    pub(crate) fn left(&self) -> Charge {
        self.lock().left
    }

    fn pay_time(&self, stage: Stage, time: Duration) {
        let mut progress = self.lock();
        if progress.gone {
            return;
        }
        let time = progress.left.take(stage, time);
        *self.sum_of(&mut self.admission.lock(), progress.in_flight, stage) -= time;
    }

    /// The sum of the account that holds the request's time of a stage.
    fn sum_of<'a>(&self, account: &'a mut Account, in_flight: bool, stage: Stage) -> &'a mut Duration {
        match (stage, in_flight) {
            (Stage::TextEmbedding, _) => &mut account.words[self.priority as usize],
            (_, false) => &mut account.queued[self.priority as usize],
            (_, true) => &mut account.in_flight,
        }
    }

    fn stop_waiting(&self, account: &mut Account) {
        account.waiting[self.priority as usize] -= 1;
        account.waiting_pairs -= self.pairs;
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
