//! The rows that tensors of pairs get behind a rejection, guessed from what was left of earlier submissions.

use crate::level::Level;

/// The part of the largest share seen that remains at each submission, so that a picture of many categories is
/// forgotten in time.
const MEMORY: f64 = 0.98;
/// Rows beyond the largest share seen.
const MARGIN: f64 = 1.125;
/// Fewer pairs say nothing of others: two that are equal both stay, as in a warm-up.
const LEAST_PAIRS: usize = 16;
/// Rows come in multiples of this.
const STEP: usize = 16;
/// Different capacities between a number and its double, at most: each may need algorithms and memory of its own.
const STEPS: usize = 8;

/// The shares of pairs that were left lately, by decoder level.
#[derive(Debug, Default)]
pub(super) struct Seen([Option<f64>; Level::COUNT]);

/// The pairs of a submission before the first rejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidates {
    /// Those that no rejection can remove.
    pub(super) fixed: usize,
    /// All others.
    pub(super) rejectable: usize,
}

impl Candidates {
    /// All pairs.
    pub(super) fn all(self) -> usize {
        self.fixed + self.rejectable
    }

    /// The most rows for each level where launches have limits.
    pub(super) fn most(self, limits: [usize; Level::COUNT]) -> [usize; Level::COUNT] {
        limits.map(|limit| limit.min(self.all()))
    }
}

impl Seen {
    /// The capacity for each level, at most its limit. Before the first submission all pairs.
    pub(super) fn capacities(
        &self,
        pairs: Candidates,
        limits: [usize; Level::COUNT],
    ) -> [usize; Level::COUNT] {
        let mut most = pairs.all();
        let mut capacities = pairs.most(limits);
        for (capacity, share) in capacities.iter_mut().zip(self.0) {
            let left = share.map_or(pairs.rejectable, |share| {
                quantised((pairs.rejectable as f64 * share * MARGIN).ceil() as usize)
            });
            most = most.min(pairs.fixed + left.min(pairs.rejectable));
            *capacity = most.min(*capacity);
        }
        capacities
    }

    /// Remembers how many pairs entered each level.
    pub(super) fn remember(&mut self, pairs: Candidates, entered: [usize; Level::COUNT]) {
        if pairs.rejectable < LEAST_PAIRS {
            return;
        }
        for (seen, entered) in self.0.iter_mut().zip(entered) {
            let share = entered.saturating_sub(pairs.fixed) as f64 / pairs.rejectable as f64;
            *seen = Some(seen.map_or(share, |seen| share.max(seen * MEMORY)));
        }
    }
}

/// The next number of rows that capacities have.
fn quantised(rows: usize) -> usize {
    let octave = rows.max(1).ilog2();
    rows.next_multiple_of(STEP.max((1 << octave) / STEPS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: Candidates = Candidates { fixed: 0, rejectable: 150 };
    const UNLIMITED: [usize; Level::COUNT] = [usize::MAX; Level::COUNT];

    #[test]
    fn capacities_follow_what_was_left() {
        let mut seen = Seen::default();
        assert_eq!(seen.capacities(BATCH, UNLIMITED), [150; 3]);
        seen.remember(BATCH, [47, 42, 42]);
        // An eighth more, in steps of 16.
        assert_eq!(seen.capacities(BATCH, UNLIMITED), [64, 48, 48]);
        assert_eq!(
            seen.capacities(Candidates { fixed: 0, rejectable: 150 * 16 }, UNLIMITED),
            [896, 768, 768]
        );
        seen.remember(BATCH, [140, 150, 10]);
        assert_eq!(seen.capacities(BATCH, UNLIMITED), [150, 150, 48]);
        // Of a few nothing is learned.
        let mut fresh = Seen::default();
        fresh.remember(Candidates { fixed: 30, rejectable: 2 }, [32; 3]);
        fresh.remember(BATCH, [47, 42, 42]);
        assert_eq!(fresh.capacities(BATCH, UNLIMITED), [64, 48, 48]);
        // What was large once is forgotten in time.
        (0..200).for_each(|_| seen.remember(BATCH, [30, 20, 10]));
        assert_eq!(seen.capacities(BATCH, UNLIMITED), [48, 32, 16]);
    }

    #[test]
    fn pairs_that_stay_have_rows_beside() {
        let mut seen = Seen::default();
        let mixed = Candidates { fixed: 40, rejectable: 100 };
        seen.remember(mixed, [60, 50, 45]);
        assert_eq!(seen.capacities(mixed, UNLIMITED), [72, 56, 56]);
        let fixed = Candidates { fixed: 7, rejectable: 0 };
        seen.remember(fixed, [7; 3]);
        assert_eq!(seen.capacities(fixed, UNLIMITED), [7; 3]);
    }

    #[test]
    fn launches_have_limits() {
        let limits = [200, 100, 60];
        let mut seen = Seen::default();
        let pairs = Candidates { fixed: 20, rejectable: 130 };
        assert_eq!((seen.capacities(pairs, limits), pairs.most(limits)), ([150, 100, 60], [150, 100, 60]));
        // Few are expected, and more are left: there are rows for all that may be.
        seen.remember(pairs, [40, 40, 40]);
        assert_eq!((seen.capacities(pairs, limits), pairs.most(limits)), ([52, 52, 52], [150, 100, 60]));
    }

    #[test]
    fn few_capacities_occur() {
        let different: std::collections::BTreeSet<usize> = (1..5000).map(quantised).collect();
        assert!(different.len() < 60, "{}", different.len());
        assert!(
            (1..5000)
                .all(|rows| quantised(rows) >= rows && quantised(rows) <= (rows + STEP).max(rows * 9 / 8))
        );
    }
}
