//! The time of one request by stage. Waits and durations follow each other without a gap, so that together
//! they are the whole time.

use std::time::{Duration, Instant};

use crate::{
    requests::report::{BatchTiming, StageTiming},
    stages::stage::Stage,
};

/// The times of one request.
#[derive(Debug)]
pub(crate) struct Timeline {
    timings: Vec<StageTiming>,
    last_end: Instant,
    begun: Option<Instant>,
}

impl Timeline {
    /// For a request that has been waiting since `since`.
    pub(crate) fn new(since: Instant) -> Self {
        Self { timings: Vec::with_capacity(7), last_end: since, begun: None }
    }

    /// Begins a stage, or goes on with it when it is the one that ran last (a stage in several launches).
    /// Returns the wait for a stage that begins.
    pub(crate) fn begin(&mut self, stage: Stage, now: Instant) -> Option<Duration> {
        let wait = now.saturating_duration_since(self.last_end);
        // A clock that was read earlier than the last end counts from there.
        self.begun = Some(now.max(self.last_end));
        if let Some(last) = self.timings.last_mut().filter(|last| last.stage == stage) {
            last.queue_wait += wait;
            return None;
        }
        let (duration, batches) = (Duration::ZERO, Vec::new());
        self.timings.push(StageTiming { stage, queue_wait: wait, duration, batches });
        Some(wait)
    }

    /// Ends the stage that was begun, with the batch in which it ran, if there was one.
    pub(crate) fn end(&mut self, now: Instant, batch: Option<BatchTiming>) {
        let begun = self.begun.take().unwrap_or(self.last_end);
        self.last_end = now.max(begun);
        if let Some(last) = self.timings.last_mut() {
            last.duration += self.last_end - begun;
            last.batches.extend(batch);
        }
    }

    /// The times of all stages, and when the last of them ended.
    pub(crate) fn into_parts(self) -> (Vec<StageTiming>, Instant) {
        (self.timings, self.last_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn waits_and_durations_add_up_to_the_whole() {
        let since = Instant::now();
        let mut timeline = Timeline::new(since);
        for (stage, wait, work) in [(Stage::Encode, 3, 5), (Stage::CostMap, 0, 7), (Stage::CostMap, 2, 1)] {
            let begun = timeline.last_end + MS * wait;
            let is_new = timeline.begin(stage, begun);
            assert_eq!(is_new, (wait != 2).then_some(MS * wait));
            timeline
                .end(begun + MS * work, Some(BatchTiming { images: 1, pairs: 4, device_time: MS * work }));
        }
        let (timings, end) = timeline.into_parts();
        assert_eq!(end - since, MS * 18);
        assert_eq!(end - since, timings.iter().map(|timing| timing.queue_wait + timing.duration).sum());
        assert_eq!(timings.len(), 2);
        assert_eq!((timings[1].queue_wait, timings[1].duration), (MS * 2, MS * 8));
        assert_eq!(timings[1].batches.len(), 2);
    }
}
