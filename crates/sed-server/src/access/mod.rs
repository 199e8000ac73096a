//! Who may open a connection, and who may call: certificates and tokens, read from files, and again when the
//! files change.

mod certificate;
mod error;
mod guard;
mod reloaded;
mod tls;
mod tokens;

use std::{path::Path, sync::Arc, time::Duration};

use sed_engine::metrics::{TLS_CERTIFICATE_EXPIRY, TLS_RELOADS, TOKEN_RELOADS};
use tokio::time::{MissedTickBehavior, interval};

pub use certificate::CertificateFacts;
pub(crate) use certificate::name_of;
pub use error::AccessError;
pub(crate) use guard::{Caller, CallerName, Guard};
pub(crate) use reloaded::Reloaded;
pub(crate) use tls::Tls;
pub(crate) use tokens::Tokens;

use crate::config::{Access, TlsFiles};

/// What the files of the settings hold. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct AccessFiles {
    pub(crate) tls: Option<Arc<Reloaded<Tls>>>,
    pub(crate) tokens: Option<Arc<Reloaded<Tokens>>>,
}

impl AccessFiles {
    /// Reads them. `http1` offers HTTP/1.1 to clients of TLS beside HTTP/2.
    ///
    /// # Errors
    /// The first file that cannot be used, with its setting.
    pub(crate) fn load(settings: &Access, http1: bool) -> Result<Self, AccessError> {
        let tls = settings.tls.clone().map(|files| {
            Reloaded::new(
                "tls",
                &TLS_RELOADS,
                move || Tls::load(&files, http1),
                |tls: &Tls| {
                    TLS_CERTIFICATE_EXPIRY.set(tls.facts.not_after as f64);
                },
            )
        });
        let tokens = settings.tokens.clone().map(|file| {
            Reloaded::new("tokens", &TOKEN_RELOADS, move || Tokens::load(&file), Tokens::register)
        });
        Ok(Self { tls: tls.transpose()?.map(Arc::new), tokens: tokens.transpose()?.map(Arc::new) })
    }

    /// Looks at the files every `pause`, and at SIGHUP, until the future is dropped.
    pub(crate) async fn follow(self, pause: Duration) {
        if self.tls.is_none() && self.tokens.is_none() {
            return std::future::pending().await;
        }
        let mut hangups = Hangups::new();
        let mut ticks = interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = hangups.next() => tracing::info!("SIGHUP: looking at certificates and tokens"),
            }
            let files = self.clone();
            // A file may lie on a disk that is slow today.
            if let Err(error) = tokio::task::spawn_blocking(move || files.refresh()).await {
                tracing::error!(%error, "looking at certificates and tokens broke down");
            }
        }
    }

    fn refresh(&self) {
        if let Some(tls) = &self.tls {
            tls.refresh();
        }
        if let Some(tokens) = &self.tokens {
            tokens.refresh();
        }
    }
}

/// SIGHUP, by which operators ask servers to read their files again.
struct Hangups {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Hangups {
    #[cfg(unix)]
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let signal = signal(SignalKind::hangup());
        if let Err(error) = &signal {
            tracing::warn!(%error, "SIGHUP cannot be listened to; files are only looked at from time to time");
        }
        Self { signal: signal.ok() }
    }

    #[cfg(not(unix))]
    fn new() -> Self {
        Self {}
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}

/// What certificates the files of TLS hold: the server's, and the authorities of clients.
///
/// # Errors
/// A server could not use the files.
pub fn inspect_tls(files: &TlsFiles) -> Result<(CertificateFacts, Vec<CertificateFacts>), AccessError> {
    let tls = Tls::load(files, false)?.value;
    Ok((tls.facts, tls.authorities))
}

/// The names of the tokens of a file.
///
/// # Errors
/// A server could not use the file.
pub fn inspect_tokens(file: &Path) -> Result<Vec<String>, AccessError> {
    Ok(Tokens::load(file)?.value.names().map(ToString::to_string).collect())
}
