//! A request's slot in the queue of a device: its priority, and the part of its prediction that is left.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    admission::{Admission, Queue, prediction::Prediction},
    requests::job::Priority,
    stages::stage::Stage,
};

/// A request's slot in the queue. The caller and the device thread hold it; it is released when either of
/// them is done with the request.
#[derive(Debug)]
pub(crate) struct QueueSlot {
    admission: Arc<Admission>,
    priority: Priority,
    pairs: usize,
    /// The device time that was predicted when the request was admitted.
    predicted: Prediction,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    /// No launch has included the request yet.
    waiting: bool,
    /// When all its words had embeddings.
    words_at: Option<Instant>,
    /// A launch behind the words has included it.
    in_flight: bool,
    /// The part of the prediction that no launch has done.
    left: Prediction,
    gone: bool,
}

impl QueueSlot {
    /// A slot of a request that `admission` has counted as waiting, with what it is predicted to take.
    pub(crate) fn new(
        admission: Arc<Admission>,
        priority: Priority,
        pairs: usize,
        predicted: Prediction,
    ) -> Self {
        let progress =
            Progress { waiting: true, words_at: None, in_flight: false, left: predicted, gone: false };
        Self { admission, priority, pairs, predicted, progress: Mutex::new(progress) }
    }

    /// Notes that a launch of a stage includes the request. Returns whether that is its first launch.
    pub(crate) fn begin(&self, stage: Stage) -> bool {
        let mut progress = self.lock();
        if progress.gone {
            return false;
        }
        let first = std::mem::take(&mut progress.waiting);
        let mut queue = self.admission.lock();
        if first {
            self.stop_waiting(&mut queue);
        }
        if stage != Stage::TextEmbedding && !progress.in_flight {
            progress.in_flight = true;
            let time = progress.left.behind_words();
            queue.queued[self.priority as usize] -= time;
            queue.in_flight += time;
        }
        drop(queue);
        if first {
            self.admission.publish();
        }
        first
    }

    /// Deducts a share of what a stage was predicted to take.
    pub(crate) fn deduct(&self, stage: Stage, share: f64) {
        let time = self.predicted.of(stage);
        // A share of all or more, or of nothing (0/0), is all of it.
        self.deduct_time(stage, if share < 1.0 { time.mul_f64(share.max(0.0)) } else { time });
    }

    /// Deducts the rest of a stage that is over, and of those before it.
    pub(crate) fn deduct_up_to(&self, stage: Stage) {
        self.lock().words_at.get_or_insert_with(Instant::now); // the words are the first stage
        for done in Stage::ALL.into_iter().take_while(|before| before.index() <= stage.index()) {
            self.deduct_time(done, Duration::MAX);
        }
    }

    /// Releases the slot when the request is over or its caller has gone. Returns whether it was held until
    /// now.
    pub(crate) fn leave(&self) -> bool {
        let mut progress = self.lock();
        if progress.gone {
            return false;
        }
        progress.gone = true;
        let mut queue = self.admission.lock();
        queue.present -= 1;
        if progress.waiting {
            self.stop_waiting(&mut queue);
        }
        for stage in Stage::ALL {
            *self.sum_of(&mut queue, progress.in_flight, stage) -= progress.left.of(stage);
        }
        drop(queue);
        self.admission.publish();
        true
    }

    /// Returns when the request left the words' station; `None` if it has not yet.
    pub(crate) fn words_at(&self) -> Option<Instant> {
        self.lock().words_at
    }

    /// Reports whether the slot was released.
    pub(crate) fn is_gone(&self) -> bool {
        self.lock().gone
    }

    /// Returns the part of the prediction that is left, or was left when the slot was released.
    #[cfg(test)]
    pub(crate) fn left(&self) -> Prediction {
        self.lock().left
    }

    fn deduct_time(&self, stage: Stage, time: Duration) {
        let mut progress = self.lock();
        if progress.gone {
            return;
        }
        let time = progress.left.take(stage, time);
        *self.sum_of(&mut self.admission.lock(), progress.in_flight, stage) -= time;
    }

    /// The sum of the queue that holds the request's time of a stage.
    fn sum_of<'a>(&self, queue: &'a mut Queue, in_flight: bool, stage: Stage) -> &'a mut Duration {
        match (stage, in_flight) {
            (Stage::TextEmbedding, _) => &mut queue.words[self.priority as usize],
            (_, false) => &mut queue.queued[self.priority as usize],
            (_, true) => &mut queue.in_flight,
        }
    }

    fn stop_waiting(&self, queue: &mut Queue) {
        queue.waiting[self.priority as usize] -= 1;
        queue.waiting_pairs -= self.pairs;
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for QueueSlot {
    fn drop(&mut self) {
        self.leave();
    }
}
