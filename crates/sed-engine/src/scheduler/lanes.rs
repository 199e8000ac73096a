//! The queue of one station: three priorities, first come, first served within each, and ageing, so that no
//! item waits forever.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::requests::job::Priority;

/// Something that waits.
pub(crate) trait Waits {
    /// Its priority.
    fn priority(&self) -> Priority;

    /// Start of its wait, by which equal priorities are ordered wherever they wait.
    fn since(&self) -> Instant;
}

/// Three lanes, each in the order of arrival.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    by_priority: [VecDeque<T>; 3],
    /// Waiting this long is worth one step of priority.
    ageing: Duration,
}

impl<T: Waits> Lanes<T> {
    pub(crate) fn new(ageing: Duration) -> Self {
        Self { by_priority: Default::default(), ageing }
    }

    /// Adds an item behind those of its priority that came before it.
    pub(crate) fn push(&mut self, item: T) {
        let lane = &mut self.by_priority[item.priority() as usize];
        let behind = lane.partition_point(|other| other.since() <= item.since());
        lane.insert(behind, item);
    }

    /// The item that goes next.
    pub(crate) fn head(&self, now: Instant) -> Option<&T> {
        self.best(now).and_then(|lane| self.by_priority[lane].front())
    }

    /// Removes and returns the item that goes next.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<T> {
        self.best(now).and_then(|lane| self.by_priority[lane].pop_front())
    }

    /// Removes and converts the item that goes next. One that `convert` returns as its error stays where it is.
    pub(crate) fn pop_as<U>(&mut self, now: Instant, convert: impl FnOnce(T) -> Result<U, T>) -> Option<U> {
        let lane = self.best(now)?;
        let lane = &mut self.by_priority[lane];
        convert(lane.pop_front()?).map_err(|item| lane.push_front(item)).ok()
    }

    /// All items, in the order in which they would be taken at the time `now`.
    pub(crate) fn in_order(&self, now: Instant) -> Vec<&T> {
        let mut all: Vec<&T> = self.iter().collect();
        all.sort_by(|a, b| self.rank(*b, now).total_cmp(&self.rank(*a, now)));
        all
    }

    /// All items, in no particular order of priority.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.by_priority.iter().flatten()
    }

    /// All items, to change.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.by_priority.iter_mut().flatten()
    }

    /// Removes and returns all items for which `chosen` holds.
    pub(crate) fn take(&mut self, chosen: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for lane in &mut self.by_priority {
            if lane.iter().any(&chosen) {
                let (out, stay): (VecDeque<T>, VecDeque<T>) = lane.drain(..).partition(&chosen);
                *lane = stay;
                taken.extend(out);
            }
        }
        taken
    }

    /// The rank of an item; the highest goes first.
    pub(crate) fn rank(&self, item: &T, now: Instant) -> f64 {
        self.rank_of(item.priority(), item.since(), now)
    }

    /// The rank of a priority after waiting since `since`: `ageing` of waiting is worth one step of priority.
    pub(crate) fn rank_of(&self, priority: Priority, since: Instant, now: Instant) -> f64 {
        let waited = now.saturating_duration_since(since);
        priority as u8 as f64 + waited.as_secs_f64() / self.ageing.as_secs_f64()
    }

    /// The lane whose oldest item goes next.
    fn best(&self, now: Instant) -> Option<usize> {
        let heads =
            self.by_priority.iter().enumerate().filter_map(|(index, lane)| Some((index, lane.front()?)));
        heads.max_by(|a, b| self.rank(a.1, now).total_cmp(&self.rank(b.1, now))).map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AGEING: Duration = Duration::from_secs(10);
    const PRIORITIES: [Priority; 3] = [Priority::Low, Priority::Normal, Priority::High];

    #[derive(Debug)]
    struct Item(Priority, Instant, usize);

    impl Waits for Item {
        fn priority(&self) -> Priority {
            self.0
        }

        fn since(&self) -> Instant {
            self.1
        }
    }

    fn drain(lanes: &mut Lanes<Item>, now: Instant) -> Vec<usize> {
        std::iter::from_fn(|| lanes.pop(now)).map(|item| item.2).collect()
    }

    #[test]
    fn higher_priorities_go_first_and_equals_in_order() {
        let (mut lanes, now) = (Lanes::new(AGEING), Instant::now());
        for (number, priority) in
            [Priority::Low, Priority::Normal, Priority::High, Priority::Normal].into_iter().enumerate()
        {
            lanes.push(Item(priority, now, number));
        }
        assert_eq!(lanes.in_order(now).iter().map(|item| item.2).collect::<Vec<_>>(), [2, 1, 3, 0]);
        assert_eq!(drain(&mut lanes, now), [2, 1, 3, 0]);
    }

    #[test]
    fn waiting_lifts_a_low_priority_above_a_high_one() {
        let (mut lanes, start) = (Lanes::new(AGEING), Instant::now());
        let now = start + AGEING * 3;
        lanes.push(Item(Priority::High, now, 1));
        lanes.push(Item(Priority::Low, start, 2));
        assert_eq!(drain(&mut lanes, now), [2, 1]);
    }

    #[test]
    fn whoever_came_first_goes_first_even_when_put_back() {
        let (mut lanes, now) = (Lanes::new(AGEING), Instant::now());
        lanes.push(Item(Priority::Normal, now + Duration::from_millis(1), 1));
        lanes.push(Item(Priority::Normal, now, 0));
        assert_eq!(drain(&mut lanes, now), [0, 1]);
    }

    proptest! {
        #[test]
        fn nobody_is_lost_and_equals_keep_their_order(
            priorities in prop::collection::vec(0_usize..3, 0..40),
            odd_first in any::<bool>(),
        ) {
            let (mut lanes, start) = (Lanes::new(AGEING), Instant::now());
            for (number, priority) in priorities.iter().enumerate() {
                lanes.push(Item(PRIORITIES[*priority], start + Duration::from_millis(number as u64), number));
            }
            let mut seen = if odd_first { lanes.take(|item| item.2 % 2 == 1) } else { Vec::new() };
            seen.extend(std::iter::from_fn(|| lanes.pop(start + AGEING)));
            prop_assert_eq!(seen.len(), priorities.len());
            prop_assert_eq!(lanes.iter().count(), 0);
            for priority in PRIORITIES {
                let rest = seen.iter().filter(|item| item.0 == priority && !(odd_first && item.2 % 2 == 1));
                prop_assert!(rest.map(|item| item.2).is_sorted());
            }
        }
    }
}
