//! The wish to end early.

use std::io;

use tokio::sync::watch;

use crate::signals::Signals;

/// Is set once somebody wants the measuring to end.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Is set by SIGTERM or Ctrl-C. A second one ends the program at once.
    pub(crate) fn on_signal() -> io::Result<Self> {
        let mut signals = Signals::new()?;
        let (set, stop) = watch::channel(false);
        tokio::spawn(async move {
            let signal = signals.next().await;
            tracing::warn!(signal = signal.name, "ending early; a second signal ends at once");
            // Whoever measures may have ended already.
            let _ = set.send(true);
            let second = signals.next().await;
            std::process::exit(second.exit_code())
        });
        Ok(Self(stop))
    }

    /// Whether it is set.
    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is set.
    pub(crate) async fn wait(&self) {
        let mut stop = self.0.clone();
        if stop.wait_for(|set| *set).await.is_err() {
            // Nobody is left who could set it.
            std::future::pending::<()>().await;
        }
    }

    /// One that a test sets.
    #[cfg(test)]
    pub(crate) fn by_hand() -> (watch::Sender<bool>, Self) {
        let (set, stop) = watch::channel(false);
        (set, Self(stop))
    }
}
