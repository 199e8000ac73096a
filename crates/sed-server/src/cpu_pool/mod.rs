//! The threads that decode images and encode masks, apart from the device's and from those of the sockets.

mod turns;

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::available_parallelism,
    time::{Duration, Instant},
};

use sed_engine::{
    metrics::{AbandonCause, EngineMetrics, RequestStage},
    panic_message,
};
use tokio::sync::oneshot;
use tracing::Span;

pub(crate) use self::turns::Load;
use self::turns::Turns;

/// Threads beyond `cpu_threads`, for small work while large work is on all others: a quarter.
const SPARE_PART: usize = 4;

/// Their nice value: a tenth of the processor's time beside a thread that has the usual one, 0.
#[cfg(target_os = "linux")]
const PRIORITY: i32 = 10;

/// A pool of threads for work on pixels. Its queue is bounded by the requests in flight. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct CpuPool {
    threads: Arc<rayon::ThreadPool>,
    queue: Arc<Queue>,
    metrics: Arc<EngineMetrics>,
}

/// Work that waits for a thread.
struct Queue(Mutex<Turns<Box<dyn FnOnce() + Send>>>);

/// A CPU task: its stage, its load and its request's timing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errand {
    pub(crate) stage: RequestStage,
    pub(crate) load: Load,
    /// The time at which it began to wait.
    pub(crate) since: Instant,
    /// The time after which its result is not needed.
    pub(crate) deadline: Instant,
}

/// The result of some work, and its time.
#[derive(Debug)]
pub(crate) struct Done<T> {
    pub(crate) result: T,
    /// Time from the start of its wait to its beginning.
    pub(crate) wait: Duration,
    /// Time from its beginning to its end.
    pub(crate) duration: Duration,
    /// Its end, at which the wait for the next stage begins.
    pub(crate) ended: Instant,
}

impl<T> Done<T> {
    /// The times alone.
    pub(crate) fn times(&self) -> Done<()> {
        Done { result: (), wait: self.wait, duration: self.duration, ended: self.ended }
    }
}

/// The work panicked. Its message is in the log.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("work on pixels panicked")]
pub(crate) struct Panicked;

impl CpuPool {
    /// A pool of `threads` threads (0 is one for each core), and some more for small work.
    pub(crate) fn new(
        threads: usize,
        metrics: Arc<EngineMetrics>,
    ) -> Result<Self, rayon::ThreadPoolBuildError> {
        let usual = if threads > 0 { threads } else { available_parallelism().map_or(1, usize::from) };
        let builder = rayon::ThreadPoolBuilder::new().num_threads(usual + usual.div_ceil(SPARE_PART));
        let threads = builder
            .thread_name(|index| format!("pixels-{index}"))
            .start_handler(|_| yield_to_others())
            .build()?;
        Ok(Self {
            threads: Arc::new(threads),
            queue: Arc::new(Queue(Mutex::new(Turns::new(usual)))),
            metrics,
        })
    }

    /// Runs work on the pool. If the future is dropped before the work begins, the work and all that it holds
    /// are dropped with it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        errand: Errand,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Done<T>, Panicked> {
        let (request, metrics) = (Span::current(), Arc::clone(&self.metrics));
        self.enter(errand.load, Some(errand), move |begun| {
            let _in_span = errand.span(&request).entered();
            let result = work();
            let ended = Instant::now();
            let wait = begun.saturating_duration_since(errand.since);
            let duration = ended - begun;
            metrics.stage_wait.record(errand.stage, wait);
            metrics.stage_duration.record(errand.stage, duration);
            Done { result, wait, duration, ended }
        })
        .await
    }

    /// The same for work that is no stage of a request, such as unpacking a message.
    pub(crate) async fn run_unseen<T: Send + 'static>(
        &self,
        load: Load,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        self.enter(load, None, |_| work()).await
    }

    async fn enter<T: Send + 'static>(
        &self,
        load: Load,
        errand: Option<Errand>,
        work: impl FnOnce(Instant) -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting { work: Arc::new(Mutex::new(Some(work))), errand, metrics: &self.metrics };
        let (queued, metrics) = (Arc::clone(&waiting.work), Arc::clone(&self.metrics));
        let run = move || {
            let Some(work) = queued.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
            // All that the work held is dropped with it, so nothing half done can be seen.
            let outcome = catch_unwind(AssertUnwindSafe(|| work(Instant::now())));
            // A caller that does not wait any more has no use for the result: it is dropped here.
            let _ = reply.send(outcome.map_err(|payload| log_panic(&*payload, &metrics)));
        };
        self.queue.lock().push(load, Box::new(run), Instant::now());
        let queue = Arc::clone(&self.queue);
        self.threads.spawn_fifo(move || queue.work());
        let outcome = answer.await.unwrap_or(Err(Panicked));
        drop(waiting);
        outcome
    }
}

impl Queue {
    /// Does the next work, if any may begin. It is called once for each work that comes, and again behind
    /// each one, since that may have kept others from beginning.
    fn work(self: &Arc<Self>) {
        let Some((load, work)) = self.lock().next(Instant::now()) else { return };
        let begun = Instant::now();
        work();
        let mut turns = self.lock();
        turns.end(load, begun.elapsed(), Instant::now());
        if !turns.is_empty() {
            let queue = Arc::clone(self);
            rayon::spawn_fifo(move || queue.work());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Turns<Box<dyn FnOnce() + Send>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

/// Lowers the priority of the current thread: what computes for a request that has begun, and what reads and
/// writes, goes before the pictures of the next ones.
#[cfg(target_os = "linux")] // elsewhere a priority is the whole process's
fn yield_to_others() {
    let lowered = rustix::process::getpriority_process(None)
        .and_then(|now| rustix::process::setpriority_process(None, now.max(PRIORITY)));
    if let Err(error) = lowered {
        tracing::debug!(%error, "threads for work on pixels have the priority of all others");
    }
}

#[cfg(not(target_os = "linux"))]
fn yield_to_others() {}

/// Work that waits for a thread. Dropping this drops the work at once, unless it has begun.
struct Waiting<'a, W> {
    work: Arc<Mutex<Option<W>>>,
    errand: Option<Errand>,
    metrics: &'a EngineMetrics,
}

impl<W> Drop for Waiting<'_, W> {
    fn drop(&mut self) {
        let unbegun = self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(_), Some(errand)) = (unbegun, self.errand) {
            let cause = errand.abandon_cause(Instant::now());
            self.metrics.requests_abandoned.add(errand.stage, cause, 1);
        }
    }
}

impl Errand {
    fn abandon_cause(&self, now: Instant) -> AbandonCause {
        if now < self.deadline { AbandonCause::Cancelled } else { AbandonCause::Deadline }
    }

    /// The span of the work, within that of its request.
    fn span(&self, request: &Span) -> Span {
        match self.stage {
            RequestStage::ImageDecode => tracing::info_span!(parent: request, "image_decode"),
            RequestStage::MaskEncoding => tracing::info_span!(parent: request, "mask_encoding"),
            RequestStage::Device(_) => Span::none(), // it has its span in the engine
        }
    }
}

fn log_panic(payload: &(dyn Any + Send), metrics: &EngineMetrics) -> Panicked {
    let message = panic_message(payload).unwrap_or("no message");
    metrics.panics.add(1);
    tracing::error!(message, "work on pixels panicked");
    Panicked
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use sed_telemetry::Telemetry;

    use super::*;
    use crate::memory::ConnectionId;

    /// Large, of which a pool of one thread runs one at a time.
    fn errand() -> Errand {
        let since = Instant::now();
        let load = Load { connection: ConnectionId::next(), bytes: u64::MAX };
        Errand { stage: RequestStage::ImageDecode, load, since, deadline: since + Duration::from_secs(60) }
    }

    #[test]
    fn work_is_abandoned_for_the_deadline_or_for_the_caller() {
        let errand = errand();
        assert_eq!(errand.abandon_cause(errand.since), AbandonCause::Cancelled);
        assert_eq!(errand.abandon_cause(errand.deadline), AbandonCause::Deadline);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_pool_goes_on() {
        let pool = CpuPool::new(1, EngineMetrics::new(&Telemetry::off())).unwrap();
        let work = || -> u32 { panic!("no pixels") };
        assert_eq!(pool.run(errand(), work).await.unwrap_err(), Panicked);
        assert_eq!(pool.run(errand(), || 7).await.unwrap().result, 7);
    }

    #[tokio::test]
    async fn abandoned_work_is_not_begun() {
        let telemetry = Telemetry::new(&[&EngineMetrics::DEFINITIONS]).unwrap();
        let pool = CpuPool::new(1, EngineMetrics::new(&telemetry)).unwrap();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let begun = Arc::new(AtomicBool::new(false));
        let blocking = pool.run(errand(), move || wait.recv().is_ok());
        let abandoned = {
            let begun = Arc::clone(&begun);
            pool.run(errand(), move || begun.store(true, Ordering::SeqCst))
        };
        tokio::pin!(blocking);
        {
            tokio::pin!(abandoned);
            // Both are in the pool's queue once polled.
            assert!(futures_poll(blocking.as_mut()).await);
            assert!(futures_poll(abandoned.as_mut()).await);
        }
        // Work that was not begun is gone, and counted, before its turn comes.
        assert_eq!(Arc::strong_count(&begun), 1);
        go.send(()).unwrap();
        assert!(blocking.await.unwrap().result);
        pool.run(errand(), || ()).await.unwrap();
        assert!(!begun.load(Ordering::SeqCst));
        let counted = "sed_requests_abandoned_total{stage=\"image_decode\",cause=\"cancelled\"} 1";
        assert!(telemetry.render().unwrap().lines().any(|line| line == counted));
    }

    /// Polls once; true if the future is not ready.
    async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending()))
            .await
    }
}
