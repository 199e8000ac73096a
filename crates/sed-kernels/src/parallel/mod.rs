//! Parallel loops of the kernels, on a [`Team`] of threads of their own.
//!
//! Not on rayon's: its idle threads call `sched_yield` in a loop, and Linux since 6.6 takes that for a turn given away,
//! so that beside other busy threads, of whatever priority, a kernel's threads come last. These wait in
//! user space for a moment, and then sleep.

mod team;

use std::sync::OnceLock;

use self::team::Team;

static TEAM: OnceLock<Team> = OnceLock::new();

/// The threads were started already.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the threads that compute were started already")]
pub struct AlreadyStarted;

/// Starts the threads of the kernels on the CPU: `threads` with the one that calls a kernel, 0 for one on each core.
/// Without this the first kernel starts one on each core.
///
/// # Errors
/// They were started already.
pub fn start_threads(threads: usize) -> Result<(), AlreadyStarted> {
    let mut is_first = false;
    TEAM.get_or_init(|| {
        is_first = true;
        Team::new(threads)
    });
    if is_first { Ok(()) } else { Err(AlreadyStarted) }
}

/// The number of threads that a kernel runs on, its caller's included.
pub fn threads() -> usize {
    team().threads()
}

fn team() -> &'static Team {
    TEAM.get_or_init(|| Team::new(0))
}

/// Calls `work` with every index below `count`, on all threads. A loop inside of `work` runs on its thread alone.
pub(crate) fn each(count: usize, work: impl Fn(usize) + Sync) {
    team().run(count, &work);
}

/// Calls `work`, which has loops of its own, with every item: one on a thread, and those that are left for less than
/// all threads one after the other, each on all of them.
pub(crate) fn each_nested<T: Send>(items: &mut [Option<T>], work: impl Fn(T) + Sync) {
    let (together, rest) = items.split_at_mut(items.len() - items.len() % threads());
    chunks(together, 1, |_, items| items.iter_mut().filter_map(Option::take).for_each(&work));
    rest.iter_mut().filter_map(Option::take).for_each(work);
}

/// Calls `work` with every chunk of `size` values and its index; the last one may be shorter.
pub(crate) fn chunks<T: Send>(values: &mut [T], size: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let (size, len) = (size.max(1), values.len());
    let begin = Begin(values.as_mut_ptr());
    each(len.div_ceil(size), |index| {
        let first = index * size;
        // SAFETY: every index comes once, and the chunks of two indices do not overlap.
        let chunk = unsafe { std::slice::from_raw_parts_mut(begin.at(first), size.min(len - first)) };
        work(index, chunk);
    });
}

/// The results of `work` for every chunk of `size` values, in their order.
pub(crate) fn map_chunks<T: Send, R: Send>(
    values: &mut [T],
    size: usize,
    work: impl Fn(usize, &mut [T]) -> R + Sync,
) -> Vec<R> {
    let mut chunks: Vec<(&mut [T], Option<R>)> =
        values.chunks_mut(size.max(1)).map(|chunk| (chunk, None)).collect();
    self::chunks(&mut chunks, 1, |index, slot| {
        for (chunk, result) in slot {
            *result = Some(work(index, chunk));
        }
    });
    chunks.into_iter().filter_map(|(_, result)| result).collect()
}

/// The results of `work` for every index below `count`, in their order.
pub(crate) fn map<R: Send>(count: usize, work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let mut indices: Vec<usize> = (0..count).collect();
    map_chunks(&mut indices, 1, |index, _| work(index))
}

/// The beginning of a slice of which several threads write chunks of their own.
struct Begin<T>(*mut T);

// SAFETY: it is only a pointer, to values that may be sent; its use states why the chunks are disjoint.
unsafe impl<T: Send> Sync for Begin<T> {}

impl<T> Begin<T> {
    /// # Safety
    /// `offset` must lie in the slice.
    unsafe fn at(&self, offset: usize) -> *mut T {
        // SAFETY: the caller keeps the offset inside the slice.
        unsafe { self.0.add(offset) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_and_their_results_are_in_order() {
        for (len, size) in [(0, 3), (1, 3), (3, 3), (1000, 7), (5, 0)] {
            let mut values = vec![0; len];
            let firsts = map_chunks(&mut values, size, |index, chunk| {
                chunk.fill(index);
                index
            });
            let want: Vec<usize> = (0..len).map(|i| i / size.max(1)).collect();
            assert_eq!(values, want);
            assert_eq!(firsts, (0..len.div_ceil(size.max(1))).collect::<Vec<_>>());
        }
        assert_eq!(map(100, |index| 2 * index), (0..100).map(|index| 2 * index).collect::<Vec<_>>());
    }

    #[test]
    fn nested_loops_see_every_index_once() {
        let sums = map(3 * threads() + 1, |index| {
            let mut inner = vec![0; 50];
            chunks(&mut inner, 4, |_, chunk| chunk.iter_mut().for_each(|value| *value += index));
            inner.iter().sum::<usize>()
        });
        assert_eq!(sums, (0..3 * threads() + 1).map(|index| 50 * index).collect::<Vec<_>>());
        let counts: Vec<_> = (0..2 * threads() + 1).map(|_| std::sync::atomic::AtomicUsize::new(0)).collect();
        let mut items: Vec<_> = counts.iter().map(Some).collect();
        each_nested(&mut items, |count| {
            each(10, |_| {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            });
        });
        assert!(counts.iter().all(|count| count.load(std::sync::atomic::Ordering::Relaxed) == 10));
    }
}
