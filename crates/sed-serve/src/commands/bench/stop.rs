//! The signals that end a measurement early.

use std::io;

use sed_bench::Stop;

use crate::signals::Signals;

/// Creates a flag that SIGTERM or Ctrl-C sets. A second signal ends the program at once.
pub(crate) fn on_signal() -> io::Result<Stop> {
    let mut signals = Signals::new()?;
    let (set, stop) = Stop::pair();
    tokio::spawn(async move {
        let signal = signals.next().await;
        tracing::warn!(signal = signal.name, "ending early; a second signal ends at once");
        // The measurement may have ended already.
        let _ = set.send(true);
        let second = signals.next().await;
        std::process::exit(second.exit_code())
    });
    Ok(stop)
}
