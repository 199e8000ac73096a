//! The errors that keep the server from serving.

use std::{io, net::SocketAddr};

use crate::access::AccessError;

/// An error that keeps the server from serving.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; free it, or choose another with the setting {setting}")]
    Bind {
        /// The setting that has the address.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// A vocabulary that comes with the program breaks a rule.
    #[error("the built-in vocabulary {name:?} cannot be used: {error}")]
    Vocabulary {
        /// Its name.
        name: String,
        /// The rule.
        error: sed_engine::VocabularyError,
    },
    /// No threads for work on pixels.
    #[error("cannot start the threads for work on pixels: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// Reflection cannot be set up, because the descriptors of the interface are damaged.
    #[error("cannot set up reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The descriptors of the interface cannot be read.
    #[error("cannot read the interface's descriptors: {0}")]
    Descriptors(#[from] prost::DecodeError),
    /// A certificate, a key or the tokens cannot be used.
    #[error(transparent)]
    Access(#[from] AccessError),
}
