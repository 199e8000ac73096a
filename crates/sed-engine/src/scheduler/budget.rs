//! The budget of a launch: the most images or pairs in one batch. It falls when the device runs out of
//! memory, and recovers slowly.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    metrics::EngineMetrics,
    stages::{MemoryNeeds, stage::Unit},
};

/// Share of the free memory that batches may take; the rest is for caches that grow and for others.
const SHARE: f64 = 0.5;
/// After this long without running out of memory, a lowered budget is doubled. A try that fails costs one
/// launch.
const RECOVERY: Duration = Duration::from_secs(10);

/// The largest batches now, readable from every thread.
#[derive(Debug, Default)]
pub(crate) struct SharedBudget {
    images: AtomicUsize,
    pairs: AtomicUsize,
}

impl SharedBudget {
    /// Images of an encoder batch, pairs of a batch of any later stage.
    pub(crate) fn get(&self) -> (usize, usize) {
        (self.images.load(Ordering::Relaxed), self.pairs.load(Ordering::Relaxed))
    }
}

/// The largest batches.
#[derive(Debug)]
pub(crate) struct Budget {
    images: Limit,
    pairs: Limit,
    /// Pairs of a submission, which needs more memory than its stages one by one.
    whole: Limit,
    shared: Arc<SharedBudget>,
    metrics: Arc<EngineMetrics>,
}

#[derive(Clone, Debug)]
struct Limit {
    now: usize,
    most: usize,
    lowered: Option<Instant>,
}

impl Budget {
    /// A budget by the settings, or else by the device's memory and speed; never more pairs than a launch may
    /// have.
    pub(crate) fn new(
        (images, pairs): (Option<usize>, Option<usize>),
        needs: &MemoryNeeds,
        shared: Arc<SharedBudget>,
        metrics: Arc<EngineMetrics>,
    ) -> Self {
        let fitting = |each: u64, useful: usize| {
            let fit = needs.free.map(|free| (free as f64 * SHARE / each.max(1) as f64) as usize);
            fit.map_or(useful, |fit| fit.min(useful)).max(1)
        };
        let limit = |set: Option<usize>, each, useful, bound: usize| {
            let most = set.unwrap_or_else(|| fitting(each, useful)).min(bound).max(1);
            Limit { now: most, most, lowered: None }
        };
        let pairs = limit(pairs, needs.per_pair, needs.useful_pairs, needs.most_pairs);
        let budget = Self {
            images: limit(images, needs.per_image, needs.useful_images, usize::MAX),
            whole: pairs.clone(),
            pairs,
            shared,
            metrics,
        };
        budget.publish();
        budget
    }

    /// The largest batch now.
    pub(crate) fn get(&self, unit: Unit) -> usize {
        match unit {
            Unit::Images => self.images.now,
            Unit::Pairs => self.pairs.now,
        }
    }

    /// The most pairs of a submission now.
    pub(crate) fn whole(&self) -> usize {
        self.whole.now.min(self.pairs.now)
    }

    /// Lowers the budget after a batch of `units` did not fit: to half of that batch, at least 1.
    pub(crate) fn lower(&mut self, unit: Unit, units: usize, now: Instant) {
        self.limit(unit).lower(units, now);
        self.publish();
    }

    /// Lowers the budget of submissions after one of `pairs` did not fit.
    pub(crate) fn lower_whole(&mut self, pairs: usize, now: Instant) {
        self.whole.lower(pairs, now);
    }

    /// Doubles each limit that was lowered at least [`RECOVERY`] ago, up to its first value.
    pub(crate) fn recover(&mut self, now: Instant) {
        let mut changed = false;
        for limit in [&mut self.images, &mut self.pairs, &mut self.whole] {
            if limit.lowered.is_some_and(|lowered| now.saturating_duration_since(lowered) >= RECOVERY) {
                limit.now = (limit.now * 2).min(limit.most);
                limit.lowered = (limit.now < limit.most).then_some(now);
                changed = true;
            }
        }
        if changed {
            self.publish();
        }
    }

    fn limit(&mut self, unit: Unit) -> &mut Limit {
        match unit {
            Unit::Images => &mut self.images,
            Unit::Pairs => &mut self.pairs,
        }
    }

    fn publish(&self) {
        self.shared.images.store(self.images.now, Ordering::Relaxed);
        self.shared.pairs.store(self.pairs.now, Ordering::Relaxed);
        self.metrics.batch_budget.set(Unit::Images, self.images.now as f64);
        self.metrics.batch_budget.set(Unit::Pairs, self.pairs.now as f64);
    }
}

impl Limit {
    fn lower(&mut self, units: usize, now: Instant) {
        self.now = self.now.min((units / 2).max(1));
        self.lowered = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics;

    const NEEDS: MemoryNeeds = MemoryNeeds {
        free: Some(1000),
        per_image: 100,
        per_pair: 10,
        useful_images: 16,
        useful_pairs: 40,
        most_pairs: 1000,
    };

    #[test]
    fn memory_speed_and_settings_bound_it() {
        let budget = |set, needs| {
            let budget = Budget::new(set, &needs, Arc::default(), metrics::off());
            (budget.get(Unit::Images), budget.get(Unit::Pairs), budget.shared.get())
        };
        assert_eq!(budget((None, None), NEEDS), (5, 40, (5, 40)));
        assert_eq!(budget((Some(9), Some(7)), NEEDS), (9, 7, (9, 7)));
        assert_eq!(budget((None, None), MemoryNeeds { free: None, ..NEEDS }), (16, 40, (16, 40)));
        for free in [0, 3] {
            assert_eq!(budget((None, None), MemoryNeeds { free: Some(free), ..NEEDS }), (1, 1, (1, 1)));
        }
        assert_eq!(budget((None, Some(5000)), NEEDS), (5, 1000, (5, 1000)));
        assert_eq!(budget((None, None), MemoryNeeds { most_pairs: 30, ..NEEDS }), (5, 30, (5, 30)));
    }

    #[test]
    fn it_falls_and_recovers() {
        let start = Instant::now();
        let mut budget = Budget::new((Some(8), Some(100)), &NEEDS, Arc::default(), metrics::off());
        budget.lower(Unit::Pairs, 60, start);
        assert_eq!((budget.get(Unit::Images), budget.get(Unit::Pairs)), (8, 30));
        budget.lower(Unit::Pairs, 1, start);
        assert_eq!(budget.get(Unit::Pairs), 1);
        budget.recover(start + RECOVERY / 2);
        assert_eq!(budget.get(Unit::Pairs), 1);
        for (minutes, expected) in [(1, 2), (2, 4), (3, 8), (20, 16), (40, 32), (60, 64), (80, 100)] {
            budget.recover(start + RECOVERY * minutes);
            assert_eq!(budget.get(Unit::Pairs), expected);
        }
        assert_eq!(budget.shared.get(), (8, 100));
        budget.lower_whole(60, start);
        assert_eq!((budget.whole(), budget.get(Unit::Pairs)), (30, 100));
        budget.lower(Unit::Pairs, 50, start);
        assert_eq!(budget.whole(), 25);
    }
}
