//! A value loaded from files and reloaded when they change. A failed reload is logged once and the previous
//! value stays in use.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use sed_telemetry::Counter;
use tokio::{
    sync::oneshot,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{AccessError, error::LONGEST_READ, hangups::Hangups, own_thread::own_thread};
use crate::metrics::ReloadOutcome;

/// SHA-256 of all that was read.
pub(super) type Digest = [u8; 32];

/// A value loaded from files, and the digest of their content.
#[derive(Debug)]
pub(super) struct Loaded<T> {
    pub(super) digest: Digest,
    pub(super) value: T,
}

/// Reads the files and makes the value of them.
type Loader<T> = Arc<dyn Fn() -> Result<Loaded<T>, AccessError> + Send + Sync>;
/// Makes a value known that comes into force.
type Announce<T> = Box<dyn Fn(&T) + Send + Sync>;
/// Receives the result of a thread that reads the files.
type Reading<T> = oneshot::Receiver<Result<Loaded<T>, AccessError>>;

/// The value of the last successful read of its files.
pub(crate) struct Reloaded<T> {
    what: &'static str,
    reloads: Counter<ReloadOutcome>,
    load: Loader<T>,
    /// Called with every value that comes into force.
    announce: Announce<T>,
    current: RwLock<Arc<T>>,
    seen: Mutex<Seen>,
}

/// The state of the last reload.
struct Seen {
    digest: Digest,
    /// The error that was logged and persists.
    trouble: Option<String>,
}

impl<T: Send + 'static> Reloaded<T> {
    /// Reads the files for the first time. `what` is their name in the log, `reloads` counts the outcomes of
    /// later reads.
    ///
    /// # Errors
    /// The error of `load`, or [`AccessError::Slow`] after [`LONGEST_READ`].
    pub(super) async fn new(
        what: &'static str,
        reloads: Counter<ReloadOutcome>,
        load: impl Fn() -> Result<Loaded<T>, AccessError> + Send + Sync + 'static,
        announce: impl Fn(&T) + Send + Sync + 'static,
    ) -> Result<Self, AccessError> {
        let load: Loader<T> = Arc::new(load);
        let read = timeout(LONGEST_READ, reading(&load)?).await;
        // A panic of the thread is one of `load`, which has none of its own.
        let loaded = read.ok().and_then(Result::ok).unwrap_or(Err(AccessError::Slow { what }));
        let Loaded { digest, value } = loaded?;
        announce(&value);
        Ok(Self {
            what,
            reloads,
            load,
            announce: Box::new(announce),
            current: RwLock::new(Arc::new(value)),
            seen: Mutex::new(Seen { digest, trouble: None }),
        })
    }

    /// Returns the values in force.
    pub(crate) fn current(&self) -> Arc<T> {
        // Nothing panics while it holds the lock.
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again every `pause` and at SIGHUP, until the future is dropped. A read that hangs
    /// holds up neither the runtime nor shutdown, and the next one begins only after it.
    pub(super) async fn follow(&self, pause: Duration) {
        let mut hangups = Hangups::new();
        let mut ticks = interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = hangups.next() => tracing::info!(files = self.what, "SIGHUP: reading them again"),
            }
            self.refresh().await;
        }
    }

    /// Reads the files again. A changed and valid value comes into force.
    async fn refresh(&self) {
        let mut reading = match reading(&self.load) {
            Ok(reading) => reading,
            Err(error) => return self.failed(&error),
        };
        let read = match timeout(LONGEST_READ, &mut reading).await {
            Ok(read) => read,
            Err(_) => {
                self.failed(&AccessError::Slow { what: self.what });
                reading.await
            }
        };
        match read {
            Ok(Ok(loaded)) => self.loaded(loaded),
            Ok(Err(error)) => self.failed(&error),
            Err(_) => {
                tracing::error!(files = self.what, "reading them broke down; the next look tries again")
            }
        }
    }

    fn loaded(&self, Loaded { digest, value }: Loaded<T>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let recovered = seen.trouble.take().is_some();
        if digest == seen.digest {
            if recovered {
                tracing::info!(files = self.what, "as they were before; nothing to do");
            }
            return;
        }
        seen.digest = digest;
        (self.announce)(&value);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
        self.reloads.add(ReloadOutcome::Loaded, 1);
        tracing::info!(files = self.what, "read again, because they changed");
    }

    /// Counts and logs an error once, however often it comes in a row.
    fn failed(&self, error: &AccessError) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let error = error.to_string();
        if seen.trouble.as_ref() != Some(&error) {
            self.reloads.add(ReloadOutcome::Failed, 1);
            tracing::error!(files = self.what, %error, "cannot be used; what was read before stays");
            seen.trouble = Some(error);
        }
    }
}

/// Begins to read the files.
fn reading<T: Send + 'static>(load: &Loader<T>) -> Result<Reading<T>, AccessError> {
    let load = Arc::clone(load);
    own_thread("access-files", move || load()).map_err(AccessError::NoThread)
}

impl<T> fmt::Debug for Reloaded<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reloaded").field("what", &self.what).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicU8, Ordering},
        mpsc,
    };

    use super::*;
    use crate::metrics;

    fn reloads() -> Counter<ReloadOutcome> {
        metrics::off().token_reloads.clone()
    }

    static TOLD: AtomicU8 = AtomicU8::new(0);

    #[tokio::test]
    async fn what_cannot_be_used_leaves_what_was() {
        let content = Arc::new(AtomicU8::new(1));
        let load = {
            let content = Arc::clone(&content);
            move || match content.load(Ordering::Relaxed) {
                0 => Err(AccessError::Token { file: "tokens".into(), line: 1, reason: "is wrong" }),
                value => Ok(Loaded { digest: [value; 32], value }),
            }
        };
        let told = |_: &u8| {
            TOLD.fetch_add(1, Ordering::Relaxed);
        };
        let reloaded = Reloaded::new("tokens", reloads(), load, told).await.unwrap();
        for (now, in_force, announced) in [(1, 1, 1), (0, 1, 1), (0, 1, 1), (1, 1, 1), (2, 2, 2), (0, 2, 2)] {
            content.store(now, Ordering::Relaxed);
            reloaded.refresh().await;
            assert_eq!(*reloaded.current(), in_force);
            assert_eq!(TOLD.load(Ordering::Relaxed), announced);
            let trouble = reloaded.seen.lock().unwrap().trouble.is_some();
            assert_eq!(trouble, now == 0);
        }
    }

    fn trouble(reloaded: &Reloaded<u8>) -> Option<String> {
        reloaded.seen.lock().unwrap().trouble.clone()
    }

    #[test]
    fn a_read_that_hangs_is_reported_once_and_holds_up_neither_the_value_nor_the_end() {
        let (release, hangs) = mpsc::channel::<()>();
        let (hangs, reads) = (Mutex::new(hangs), Arc::new(AtomicU8::new(0)));
        let counted = Arc::clone(&reads);
        let load = move || {
            // The first read answers at once, the second one only when the test says so.
            let value = counted.fetch_add(1, Ordering::SeqCst) + 1;
            if value == 2 {
                hangs.lock().unwrap().recv().unwrap();
            }
            Ok(Loaded { digest: [value; 32], value })
        };
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let first = runtime();
        let reloaded = first.block_on(async {
            let reloaded = Reloaded::new("tokens", reloads(), load, |_| {}).await.unwrap();
            // From now on the clock jumps to the next timer whenever the runtime has nothing else to do.
            tokio::time::pause();
            assert!(timeout(10 * LONGEST_READ, reloaded.follow(Duration::from_secs(1))).await.is_err());
            reloaded
        });
        drop(first); // would wait forever for a blocking thread of its own
        while reads.load(Ordering::SeqCst) < 2 {
            std::thread::yield_now();
        }
        assert_eq!(*reloaded.current(), 1);
        assert!(trouble(&reloaded).unwrap().contains("within 10 s"), "{:?}", trouble(&reloaded));

        release.send(()).unwrap();
        runtime().block_on(reloaded.refresh());
        assert_eq!((*reloaded.current(), trouble(&reloaded)), (3, None), "one read at a time");
    }

    #[tokio::test(start_paused = true)]
    async fn files_that_hang_at_the_start_are_an_error() {
        let (_never, hangs) = mpsc::channel::<()>();
        let hangs = Mutex::new(hangs);
        let load = move || {
            let _ = hangs.lock().unwrap().recv();
            Ok(Loaded { digest: [0; 32], value: 0_u8 })
        };
        let error = Reloaded::new("tls", reloads(), load, |_| {}).await.unwrap_err();
        assert!(matches!(error, AccessError::Slow { what: "tls" }), "{error}");
    }
}
