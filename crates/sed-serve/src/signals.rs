//! The signals that end the program (SIGTERM, SIGINT), and SIGHUP, which must not end a server.

use std::io;

use sed_server::config::Access;
use tokio::{runtime::Runtime, sync::watch};

/// A received signal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signal {
    pub(crate) name: &'static str,
    number: i32,
}

impl Signal {
    /// The exit code of a program ended by this signal, by the convention of shells.
    pub(crate) fn exit_code(self) -> i32 {
        128 + self.number
    }
}

/// A listener for SIGTERM and Ctrl-C.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// Listens from now on. Until then, the system ends the program at once.
    #[cfg(unix)]
    pub(crate) fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Listens from now on.
    #[cfg(not(unix))]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next signal.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal { name: "SIGTERM", number: 15 },
            _ = self.interrupt.recv() => Signal { name: "SIGINT", number: 2 },
        }
    }

    /// Waits for the next signal.
    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            // The signal cannot be handled; the system still ends the program.
            std::future::pending::<()>().await;
        }
        Signal { name: "Ctrl-C", number: 2 }
    }
}

/// A receiver of the signal that asks to end early. A second signal ends the program at once.
pub(crate) fn stopping(mut signals: Signals) -> watch::Receiver<Option<Signal>> {
    let (set, stop) = watch::channel(None);
    tokio::spawn(async move {
        let signal = signals.next().await;
        // The work may have ended already.
        let _ = set.send(Some(signal));
        let second = signals.next().await;
        std::process::exit(second.exit_code())
    });
    stop
}

/// A listener for SIGHUP, on which a server reads certificates and tokens again; without any, it does
/// nothing.
#[derive(Debug)]
pub(crate) struct Hangups {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
    reads_files: bool,
}

impl Hangups {
    /// Listens from now on, for a server with this `access`; until then, the signal ends the program.
    #[cfg(unix)]
    pub(crate) fn of(runtime: &Runtime, access: &Access) -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let _inside = runtime.enter();
        let reads_files = access.tls.is_some() || access.tokens.is_some();
        Ok(Self { signal: signal(SignalKind::hangup())?, reads_files })
    }

    /// Does nothing where there is no such signal.
    #[cfg(not(unix))]
    pub(crate) fn of(_: &Runtime, access: &Access) -> io::Result<Self> {
        Ok(Self { reads_files: access.tls.is_some() || access.tokens.is_some() })
    }

    /// Logs every SIGHUP that has no effect. The server itself logs those that have one.
    pub(crate) async fn log(self) {
        #[cfg(unix)]
        {
            let Self { mut signal, reads_files } = self;
            while signal.recv().await.is_some() {
                if !reads_files {
                    tracing::info!("SIGHUP ignored: there are no certificates and no tokens to read again");
                }
            }
        }
    }
}
