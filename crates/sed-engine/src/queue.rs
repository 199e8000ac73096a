//! The bounded queue in front of the device: three priorities, first come first served within each, and
//! ageing, so that nobody waits for ever.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::job::Priority;

/// A queue that many callers fill and one thread empties.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    lanes: Mutex<Lanes<T>>,
    changed: Condvar,
    capacity: usize,
    /// Waiting this long is worth one step of priority.
    ageing: Duration,
}

#[derive(Debug)]
struct Lanes<T> {
    by_priority: [VecDeque<Entry<T>>; 3],
    closed: bool,
}

#[derive(Debug)]
struct Entry<T> {
    item: T,
    since: Instant,
}

/// Why an item was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    Closed,
}

/// What [`Queue::pop`] came back with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Popped<T> {
    Item(T),
    TimedOut,
    Closed,
}

impl<T> Queue<T> {
    pub(crate) fn new(capacity: usize, ageing: Duration) -> Self {
        let lanes = Lanes { by_priority: Default::default(), closed: false };
        Self { lanes: Mutex::new(lanes), changed: Condvar::new(), capacity, ageing }
    }

    /// Adds an item. If there is no room, items that are `dead` make it.
    pub(crate) fn push(
        &self,
        priority: Priority,
        item: T,
        since: Instant,
        dead: impl Fn(&T) -> bool,
    ) -> Result<(), Refusal> {
        let mut lanes = self.lock();
        if lanes.closed {
            return Err(Refusal::Closed);
        }
        if lanes.len() >= self.capacity {
            for lane in &mut lanes.by_priority {
                lane.retain(|entry| !dead(&entry.item));
            }
        }
        if lanes.len() >= self.capacity {
            return Err(Refusal::Full);
        }
        lanes.by_priority[priority as usize].push_back(Entry { item, since });
        drop(lanes);
        self.changed.notify_one();
        Ok(())
    }

    /// Takes the next item, waiting for one, but not longer than `timeout`.
    pub(crate) fn pop(&self, timeout: Option<Duration>) -> Popped<T> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut lanes = self.lock();
        loop {
            let now = Instant::now();
            if lanes.closed {
                return Popped::Closed;
            }
            if let Some(item) = lanes.take_next(now, self.ageing) {
                return Popped::Item(item);
            }
            lanes = match deadline.map(|deadline| deadline.saturating_duration_since(now)) {
                Some(Duration::ZERO) => return Popped::TimedOut,
                Some(rest) => {
                    self.changed.wait_timeout(lanes, rest).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(lanes).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Takes no more items, and hands out those that still wait.
    pub(crate) fn close(&self) -> Vec<T> {
        let mut lanes = self.lock();
        lanes.closed = true;
        let waiting = lanes.by_priority.iter_mut().flat_map(std::mem::take).map(|entry| entry.item).collect();
        drop(lanes);
        self.changed.notify_all();
        waiting
    }

    /// How many items wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    fn lock(&self) -> MutexGuard<'_, Lanes<T>> {
        // No code that can panic runs under the lock in a way that leaves the lanes half changed.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Lanes<T> {
    fn len(&self) -> usize {
        self.by_priority.iter().map(VecDeque::len).sum()
    }

    /// The oldest item of each lane competes: one step of priority is worth `ageing` of waiting.
    fn take_next(&mut self, now: Instant, ageing: Duration) -> Option<T> {
        let rank = |(priority, since): (usize, Instant)| {
            let steps = now.saturating_duration_since(since).as_secs_f64() / ageing.as_secs_f64();
            priority as f64 + steps
        };
        let heads = self
            .by_priority
            .iter()
            .enumerate()
            .filter_map(|(index, lane)| Some((index, lane.front()?.since)));
        let (best, _) = heads.max_by(|a, b| rank(*a).total_cmp(&rank(*b)))?;
        self.by_priority[best].pop_front().map(|entry| entry.item)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AGEING: Duration = Duration::from_secs(10);

    fn push(queue: &Queue<u32>, priority: Priority, item: u32, since: Instant) -> Result<(), Refusal> {
        queue.push(priority, item, since, |_| false)
    }

    #[test]
    fn higher_priorities_go_first_and_equals_in_order() {
        let queue = Queue::new(8, AGEING);
        let now = Instant::now();
        for (item, priority) in
            [Priority::Low, Priority::Normal, Priority::High, Priority::Normal].into_iter().enumerate()
        {
            push(&queue, priority, item as u32, now).unwrap();
        }
        let order: Vec<_> = std::iter::from_fn(|| match queue.pop(Some(Duration::ZERO)) {
            Popped::Item(item) => Some(item),
            Popped::TimedOut | Popped::Closed => None,
        })
        .collect();
        assert_eq!(order, [2, 1, 3, 0]);
    }

    #[test]
    fn waiting_lifts_a_low_priority_above_a_high_one() {
        let queue = Queue::new(8, AGEING);
        let now = Instant::now();
        push(&queue, Priority::High, 1, now).unwrap();
        push(&queue, Priority::Low, 2, now.checked_sub(AGEING * 3).unwrap()).unwrap();
        assert_eq!(queue.pop(None), Popped::Item(2));
    }

    #[test]
    fn a_full_queue_refuses_but_first_drops_the_dead() {
        let queue = Queue::new(2, AGEING);
        let now = Instant::now();
        push(&queue, Priority::Normal, 1, now).unwrap();
        push(&queue, Priority::Low, 2, now).unwrap();
        assert_eq!(push(&queue, Priority::High, 3, now), Err(Refusal::Full));
        assert_eq!(queue.push(Priority::High, 3, now, |item| *item == 1), Ok(()));
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.pop(None), Popped::Item(3));
    }

    #[test]
    fn closing_wakes_the_consumer_and_hands_out_the_rest() {
        let queue = Queue::new(2, AGEING);
        std::thread::scope(|scope| {
            let consumer = scope.spawn(|| queue.pop(None));
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(queue.close(), [0_u32; 0]);
            assert_eq!(consumer.join().unwrap(), Popped::Closed);
        });
        assert_eq!(push(&queue, Priority::Normal, 1, Instant::now()), Err(Refusal::Closed));

        let queue = Queue::new(2, AGEING);
        push(&queue, Priority::Normal, 7, Instant::now()).unwrap();
        assert_eq!(queue.close(), [7]);
    }

    proptest! {
        #[test]
        fn nobody_is_lost_and_equals_keep_their_order(priorities in prop::collection::vec(0_usize..3, 0..40)) {
            let queue = Queue::new(40, AGEING);
            let start = Instant::now();
            let kinds = [Priority::Low, Priority::Normal, Priority::High];
            for (item, priority) in priorities.iter().enumerate() {
                push(&queue, kinds[*priority], item as u32, start).unwrap();
            }
            let mut seen: Vec<Vec<u32>> = vec![Vec::new(); 3];
            while let Popped::Item(item) = queue.pop(Some(Duration::ZERO)) {
                seen[priorities[item as usize]].push(item);
            }
            prop_assert_eq!(seen.iter().map(Vec::len).sum::<usize>(), priorities.len());
            prop_assert!(seen.iter().all(|lane| lane.is_sorted()));
        }
    }
}
