//! One request and its answer, as a task that can be cut from elsewhere.
//!
//! hyper asks an answer's body for more only while the client takes it, so a body cannot end itself when the client
//! does not. Dropping the task that drives the exchange resets the stream (RFC 9113, section 8.1) and frees the answer.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hyper::rt::Executor;
use tokio::sync::Notify;

/// A connection without a call for so long makes room for others when there are too many; its client opens another for
/// its next call.
const IDLE: Duration = Duration::from_secs(1);

tokio::task_local! {
    static CURRENT: Exchange;
}

/// The hand on one exchange; over HTTP/1.1, on the connection. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exchange(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    cut: AtomicBool,
    notify: Notify,
}

impl Exchange {
    /// The one that the current task drives.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Drops the exchange, answer and all.
    pub(crate) fn cut(&self) {
        self.0.cut.store(true, Ordering::Relaxed);
        self.0.notify.notify_one();
    }

    /// Drives `work` to its end, or until it is cut.
    pub(super) async fn drive<T>(self, work: impl Future<Output = T>) -> Option<T> {
        let cut = self.clone();
        let cut = async move {
            while !cut.0.cut.load(Ordering::Relaxed) {
                cut.0.notify.notified().await;
            }
        };
        CURRENT
            .scope(self, async {
                tokio::select! {
                    done = work => Some(done),
                    () = cut => None,
                }
            })
            .await
    }
}

/// Runs every exchange of a connection of HTTP/2 as a task of its own.
#[derive(Clone, Debug)]
pub(super) struct Exchanges {
    pub(super) activity: Arc<Activity>,
}

impl<F> Executor<F> for Exchanges
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, work: F) {
        let running = Running::begin(&self.activity);
        tokio::spawn(async move {
            drop(Exchange::default().drive(work).await);
            drop(running);
        });
    }
}

/// The exchanges that a connection is busy with.
#[derive(Debug)]
pub(super) struct Activity {
    exchanges: AtomicUsize,
    /// When the last exchange ended; `None` before the first.
    idle_since: Mutex<Option<Instant>>,
    begun: Instant,
    /// Told to take no new calls.
    retire: Notify,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            exchanges: AtomicUsize::new(0),
            idle_since: Mutex::new(None),
            begun: Instant::now(),
            retire: Notify::new(),
        }
    }

    /// Returns the time for which the connection has carried no exchange, if it may make room: at once where
    /// it never carried one, else after [`IDLE`].
    fn spare(&self) -> Option<Duration> {
        if self.exchanges.load(Ordering::Relaxed) > 0 {
            return None;
        }
        match *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Some(self.begun.elapsed()),
            Some(since) => Some(since.elapsed()).filter(|idle| *idle >= IDLE),
        }
    }

    /// Resolves when the connection is to make room for another.
    pub(super) async fn retired(&self) {
        self.retire.notified().await;
    }
}

/// One exchange of a connection.
struct Running(Arc<Activity>);

impl Running {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.exchanges.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.0.exchanges.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The open connections, of which the one that was idle for longest makes room when there are too many.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd(Arc<Mutex<Vec<Weak<Activity>>>>);

impl Crowd {
    /// A connection that begins now.
    pub(super) fn enter(&self) -> Arc<Activity> {
        let activity = Arc::new(Activity::new());
        let mut all = self.lock();
        all.retain(|known| known.strong_count() > 0);
        all.push(Arc::downgrade(&activity));
        activity
    }

    /// Retires connections that carry no exchange, those that were idle for longest first: an eighth of all, because others
    /// may be waiting behind the one that asks.
    pub(super) fn make_room(&self) {
        let all = self.lock();
        let spare = all.iter().filter_map(Weak::upgrade).filter_map(|known| Some((known.spare()?, known)));
        let mut spare: Vec<_> = spare.collect();
        spare.sort_by_key(|(idle, _)| std::cmp::Reverse(*idle));
        for (_, connection) in spare.iter().take(all.len().div_ceil(8)) {
            connection.retire.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Activity>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn an_exchange_ends_by_itself_or_is_cut() {
        assert_eq!(Exchange::default().drive(async { 7 }).await, Some(7));
        let exchange = Exchange::default();
        let hand = exchange.clone();
        let cut = exchange.drive(async {
            Exchange::current().unwrap().cut();
            pending::<()>().await
        });
        assert_eq!(cut.await, None);
        hand.cut();
        assert!(Exchange::current().is_none());
    }
}
