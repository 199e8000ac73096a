//! The flag that ends a measurement early.

use tokio::sync::watch;

/// A flag that is set when the measurement should end.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Creates a flag, and the sender that sets it. A flag whose sender is gone is never set.
    pub fn pair() -> (watch::Sender<bool>, Self) {
        let (set, stop) = watch::channel(false);
        (set, Self(stop))
    }

    /// Reports whether the flag is set.
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the flag is set.
    pub async fn wait(&self) {
        let mut stop = self.0.clone();
        if stop.wait_for(|set| *set).await.is_err() {
            // The sender is gone: the flag can no longer be set.
            std::future::pending::<()>().await;
        }
    }
}
