//! Threads that share the indices of a loop.

use std::{
    any::Any,
    cell::{Cell, UnsafeCell},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, Thread, available_parallelism},
    time::{Duration, Instant},
};

/// The time that a thread without work looks for some before it sleeps: longer than what a network does between
/// two kernels, short beside a request.
const AWAKE: Duration = Duration::from_micros(50);
/// Pauses between two looks at the clock.
const PAUSES: usize = 64;

/// [`Gate`]'s bit of a loop that may be entered, and its unit of threads that are in one.
const OPEN: usize = 1;
const ENTERED: usize = 2;

thread_local! {
    /// True while the thread works for a loop: a loop inside of that is its alone.
    static IN_LOOP: Cell<bool> = const { Cell::new(false) };
}

/// A fixed number of threads. One of them is the caller of [`Team::run`]; the others wait for that, and end with the
/// process.
pub(super) struct Team {
    shared: Arc<Shared>,
    workers: Vec<Thread>,
    /// Held by the caller whose loop it is.
    one_at_a_time: Mutex<()>,
}

struct Shared {
    /// Rises with every loop.
    number: AtomicUsize,
    gate: AtomicUsize,
    /// Written while the gate is closed and no thread is inside, read by those who entered.
    work: UnsafeCell<Option<Loop>>,
    /// The indices of each thread; any other helps with them when it is done with its own.
    parts: Vec<Part>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `work` is the one field that is not `Sync`; the gate orders its uses, see there.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `work` is used during the loop only, whose caller waits for its end.
unsafe impl Send for Shared {}

/// A loop's body and its caller.
struct Loop {
    body: *const (dyn Fn(usize) + Sync),
    caller: Thread,
}

/// A run of indices, in a cache line of its own.
#[derive(Default)]
#[repr(align(128))]
struct Part {
    next: AtomicUsize,
    end: AtomicUsize,
}

impl Team {
    /// A team of so many threads; 0 is one for each core.
    pub(super) fn new(threads: usize) -> Self {
        let threads = if threads > 0 { threads } else { available_parallelism().map_or(1, usize::from) };
        let shared = Arc::new(Shared {
            number: AtomicUsize::new(0),
            gate: AtomicUsize::new(0),
            work: UnsafeCell::new(None),
            parts: (0..threads).map(|_| Part::default()).collect(),
            panic: Mutex::default(),
        });
        let start = |index: usize| {
            let shared = Arc::clone(&shared);
            let worker = thread::Builder::new().name(format!("compute-{index}"));
            worker.spawn(move || shared.serve(index)).ok()
        };
        // A thread that the system refuses is done without: the loops' indices are not bound to threads.
        let workers = (1..threads).filter_map(start).map(|worker| worker.thread().clone()).collect();
        Self { shared, workers, one_at_a_time: Mutex::default() }
    }

    pub(super) fn threads(&self) -> usize {
        self.shared.parts.len()
    }

    /// Calls `body` with every index below `count`, in no particular order, and returns when all have been. A
    /// panic of one ends the loop and is passed on. A body must not wait for a thread that may call this itself: one
    /// loop runs at a time.
    pub(super) fn run(&self, count: usize, body: &(dyn Fn(usize) + Sync)) {
        if count <= 1 || self.workers.is_empty() || IN_LOOP.get() {
            return (0..count).for_each(body);
        }
        let turn = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.deal(count);
        // SAFETY: only the lifetime is removed. The reference outlives the loop: `close` returns when every thread
        // that entered has left, and no other looks at it.
        let body: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(body) };
        self.shared.open(Loop { body, caller: thread::current() });
        self.workers.iter().take(count - 1).for_each(Thread::unpark);
        self.shared.work_on(0, body);
        self.shared.close();
        let panic = self.shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(turn);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Shared {
    /// Deals the indices below `count` to the threads, in runs of equal length.
    fn deal(&self, count: usize) {
        let threads = self.parts.len();
        for (index, part) in self.parts.iter().enumerate() {
            part.next.store(index * count / threads, Ordering::Relaxed);
            part.end.store((index + 1) * count / threads, Ordering::Relaxed);
        }
    }

    /// Lets threads in. The caller has the turn, and no thread is inside.
    fn open(&self, work: Loop) {
        // SAFETY: the gate is closed and no thread is inside, so none reads it.
        unsafe { *self.work.get() = Some(work) };
        self.gate.fetch_or(OPEN, Ordering::Release);
        self.number.fetch_add(1, Ordering::Release);
    }

    /// Lets no more threads in, and waits until those inside have left.
    fn close(&self) {
        self.gate.fetch_and(!OPEN, Ordering::AcqRel);
        wait_until(|| self.gate.load(Ordering::Acquire) == 0);
    }

    /// Waits for loops, and helps with each, as thread `index` of the team.
    fn serve(&self, index: usize) {
        let mut seen = 0;
        loop {
            wait_until(|| self.number.load(Ordering::Acquire) != seen);
            seen = self.number.load(Ordering::Acquire);
            let enter = |gate| (gate & OPEN != 0).then_some(gate + ENTERED);
            if self.gate.fetch_update(Ordering::AcqRel, Ordering::Relaxed, enter).is_err() {
                continue; // too late
            }
            // SAFETY: the gate was open, so the loop is there, and stays until this thread has left.
            let work = unsafe { (*self.work.get()).as_ref() };
            let caller = work.map(|Loop { body, caller }| {
                let caller = caller.clone();
                // SAFETY: the body outlives the loop, see `Team::run`.
                self.work_on(index, unsafe { &**body });
                caller
            });
            // The last one behind a closed gate wakes the caller.
            if self.gate.fetch_sub(ENTERED, Ordering::AcqRel) == ENTERED {
                caller.iter().for_each(Thread::unpark);
            }
        }
    }

    /// Calls the body with the indices of thread `index`, and then with what others have not begun yet.
    fn work_on(&self, index: usize, body: &(dyn Fn(usize) + Sync)) {
        IN_LOOP.set(true);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let (before, from) = self.parts.split_at(index);
            for part in from.iter().chain(before) {
                let end = part.end.load(Ordering::Relaxed);
                loop {
                    let next = part.next.fetch_add(1, Ordering::Relaxed);
                    if next >= end {
                        break;
                    }
                    body(next);
                }
            }
        }));
        IN_LOOP.set(false);
        if let Err(panic) = outcome {
            // What has not begun is left out: the loop has failed.
            self.parts.iter().for_each(|part| part.next.store(usize::MAX / 2, Ordering::Relaxed));
            let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            if first.is_none() {
                *first = Some(panic);
            } else {
                // Not dropped: what it holds may panic in turn, and this thread must leave the loop.
                std::mem::forget(panic);
            }
        }
    }
}

/// Waits until `holds`: looking again and again for a moment, then asleep until it is woken.
fn wait_until(holds: impl Fn() -> bool) {
    let begun = Instant::now();
    loop {
        for _ in 0..PAUSES {
            if holds() {
                return;
            }
            std::hint::spin_loop();
        }
        if begun.elapsed() > AWAKE {
            break;
        }
    }
    while !holds() {
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of calls with each index.
    fn counts(team: &Team, count: usize) -> Vec<usize> {
        let counts: Vec<_> = (0..count).map(|_| AtomicUsize::new(0)).collect();
        team.run(count, &|index| {
            counts[index].fetch_add(1, Ordering::Relaxed);
        });
        counts.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_index_comes_once() {
        for threads in [1, 2, 3, 8] {
            let team = Team::new(threads);
            assert_eq!(team.threads(), threads);
            for count in [0, 1, 2, 3, 7, 100, 1001] {
                assert_eq!(counts(&team, count), vec![1; count], "{threads} threads, {count} indices");
            }
        }
    }

    #[test]
    fn short_loops_one_after_another_and_of_many_callers() {
        let team = Team::new(3);
        thread::scope(|scope| {
            for caller in 0..4 {
                let team = &team;
                scope.spawn(move || {
                    for round in 0..2000 {
                        if round % 500 == 0 {
                            thread::sleep(2 * AWAKE); // the others sleep
                        }
                        let count = (caller + round) % 9;
                        assert_eq!(counts(team, count), vec![1; count]);
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_goes_on() {
        let team = Team::new(4);
        for bad in [0, 50, 99] {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                team.run(100, &|index| assert!(index != bad, "index {bad}"));
            }));
            let panic = outcome.unwrap_err();
            assert_eq!(panic.downcast_ref::<String>().unwrap(), &format!("index {bad}"));
            assert_eq!(counts(&team, 100), vec![1; 100]);
        }
    }
}
