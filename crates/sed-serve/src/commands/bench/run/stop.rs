//! The flag that ends a measurement early.

use std::io;

use tokio::sync::watch;

use crate::signals::Signals;

/// A flag that is set when the measurement should end.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Creates a flag that SIGTERM or Ctrl-C sets. A second signal ends the program at once.
    pub(crate) fn on_signal() -> io::Result<Self> {
        let mut signals = Signals::new()?;
        let (set, stop) = watch::channel(false);
        tokio::spawn(async move {
            let signal = signals.next().await;
            tracing::warn!(signal = signal.name, "ending early; a second signal ends at once");
            // The measurement may have ended already.
            let _ = set.send(true);
            let second = signals.next().await;
            std::process::exit(second.exit_code())
        });
        Ok(Self(stop))
    }

    /// Reports whether the flag is set.
    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the flag is set.
    pub(crate) async fn wait(&self) {
        let mut stop = self.0.clone();
        if stop.wait_for(|set| *set).await.is_err() {
            // The sender is gone: the flag can no longer be set.
            std::future::pending::<()>().await;
        }
    }

    /// Creates a flag that a test sets.
    #[cfg(test)]
    pub(crate) fn by_hand() -> (watch::Sender<bool>, Self) {
        let (set, stop) = watch::channel(false);
        (set, Self(stop))
    }
}
