//! Access to connections and calls: certificates and tokens, read from files and reloaded when the files
//! change.

mod certificate;
mod error;
mod file;
mod hangups;
mod own_thread;
mod reloaded;
mod tls;
mod tokens;

use std::{path::Path, sync::Arc, time::Duration};

pub use certificate::CertificateFacts;
pub(crate) use certificate::name_of;
pub use error::AccessError;
pub(crate) use reloaded::Reloaded;
pub(crate) use tls::Tls;
pub(crate) use tokens::Tokens;

use crate::{
    config::{Access, TlsFiles},
    metrics::ServerMetrics,
};

/// The certificates and tokens of the configured files. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct AccessFiles {
    pub(crate) tls: Option<Arc<Reloaded<Tls>>>,
    pub(crate) tokens: Option<Arc<Reloaded<Tokens>>>,
}

impl AccessFiles {
    /// Reads the files. `http1` offers HTTP/1.1 to TLS clients, beside HTTP/2.
    ///
    /// # Errors
    /// The first file that cannot be used, with its setting.
    pub(crate) async fn load(
        settings: &Access,
        http1: bool,
        metrics: &Arc<ServerMetrics>,
    ) -> Result<Self, AccessError> {
        let tls = match settings.tls.clone() {
            Some(files) => {
                let load = move || Tls::load(&files, http1);
                let (reloads, metrics) = (metrics.tls_reloads.clone(), Arc::clone(metrics));
                Some(Reloaded::new("tls", reloads, load, move |tls: &Tls| tls.announce(&metrics)).await?)
            }
            None => None,
        };
        let tokens = match settings.tokens.clone() {
            Some(file) => {
                let load = move || Tokens::load(&file);
                let (reloads, metrics) = (metrics.token_reloads.clone(), Arc::clone(metrics));
                let register = move |tokens: &Tokens| tokens.register(&metrics);
                Some(Reloaded::new("tokens", reloads, load, register).await?)
            }
            None => None,
        };
        Ok(Self { tls: tls.map(Arc::new), tokens: tokens.map(Arc::new) })
    }

    /// Reads the files again every `pause`, and at SIGHUP, until the future is dropped.
    pub(crate) async fn follow(self, pause: Duration) {
        tokio::join!(follow(self.tls, pause), follow(self.tokens, pause));
    }
}

async fn follow<T: Send + Sync + 'static>(files: Option<Arc<Reloaded<T>>>, pause: Duration) {
    if let Some(files) = files {
        files.follow(pause).await;
    }
}

/// Returns the certificates in the TLS files: the server's, and the authorities of clients.
///
/// # Errors
/// A server could not use the files.
pub fn inspect_tls(files: &TlsFiles) -> Result<(CertificateFacts, Vec<CertificateFacts>), AccessError> {
    let tls = Tls::load(files, false)?.value;
    Ok((tls.facts, tls.authorities))
}

/// Returns the names of the tokens in a file.
///
/// # Errors
/// A server could not use the file.
pub fn inspect_tokens(file: &Path) -> Result<Vec<String>, AccessError> {
    Ok(Tokens::load(file)?.value.names().map(ToString::to_string).collect())
}
