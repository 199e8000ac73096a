//! The open connections, and those of them that make room when there are too many.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::rt::Executor;
use tokio::{sync::Notify, time::Instant};

use crate::exchange::Exchange;

/// A connection without a call for so long makes room for others when there are too many; its client opens
/// another for its next call.
const IDLE: Duration = Duration::from_secs(1);

/// The exchanges that a connection is busy with.
#[derive(Debug)]
pub(super) struct Activity {
    exchanges: AtomicUsize,
    /// When the last exchange ended; `None` before the first.
    idle_since: Mutex<Option<Instant>>,
    begun: Instant,
    /// Notified when the connection is to accept no new calls.
    retire: Notify,
}

impl Activity {
    fn new() -> Self {
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

/// One exchange of a connection, until it is dropped.
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

/// The open connections, of which the one that was idle for longest makes room when there are too many.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd(Arc<Mutex<Vec<Weak<Activity>>>>);

impl Crowd {
    /// Registers a connection that begins now.
    pub(super) fn enter(&self) -> Arc<Activity> {
        let activity = Arc::new(Activity::new());
        let mut all = self.lock();
        all.retain(|known| known.strong_count() > 0);
        all.push(Arc::downgrade(&activity));
        activity
    }

    /// Retires connections that carry no exchange, those that were idle for longest first: an eighth of all,
    /// because others may be waiting behind the one that asks.
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
    use tokio::time::{advance, timeout};

    use super::*;

    async fn is_retired(activity: &Activity) -> bool {
        timeout(Duration::from_millis(1), activity.retired()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn connections_without_a_call_make_room_and_busy_ones_never_do() {
        let crowd = Crowd::default();
        let [busy, used, unused] = [(); 3].map(|()| crowd.enter());
        let _call = Running::begin(&busy);
        drop(Running::begin(&used));
        crowd.make_room();
        let retired = [is_retired(&busy).await, is_retired(&used).await, is_retired(&unused).await];
        assert_eq!(retired, [false, false, true]);
        drop(unused);
        advance(IDLE).await;
        crowd.make_room();
        assert_eq!([is_retired(&busy).await, is_retired(&used).await], [false, true]);
    }
}
