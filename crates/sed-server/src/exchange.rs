//! One request and its answer, as a task that can be cut from elsewhere.
//!
//! hyper asks an answer's body for more only while the client takes it, so a body cannot end itself when the
//! client does not. Dropping the task that drives the exchange resets the stream (RFC 9113, section 8.1) and
//! frees the answer.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;

tokio::task_local! {
    static CURRENT: Exchange;
}

/// A handle to cut one exchange; over HTTP/1.1, the connection. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exchange(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    cut: AtomicBool,
    notify: Notify,
}

impl Exchange {
    /// Returns the exchange that the current task drives.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Drops the exchange with its answer.
    pub(crate) fn cut(&self) {
        self.0.cut.store(true, Ordering::Relaxed);
        self.0.notify.notify_one();
    }

    /// Drives `work` to its end, or until it is cut.
    pub(crate) async fn drive<T>(self, work: impl Future<Output = T>) -> Option<T> {
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
