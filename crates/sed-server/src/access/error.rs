//! Errors of files of certificates, keys or tokens. They never repeat the content of a file.

use std::{io, path::PathBuf, time::Duration};

/// A read of small files that takes longer hangs in the file system.
pub(super) const LONGEST_READ: Duration = Duration::from_secs(10);

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// It cannot be read.
    #[error("cannot read {setting} {}: {source}", file.display())]
    Read {
        /// The setting that has the file.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The files could not be read in time.
    #[error(
        "the files of {what} cannot be read within {} s; check the file system that they are on",
        LONGEST_READ.as_secs()
    )]
    Slow {
        /// The files: `tls` or `tokens`.
        what: &'static str,
    },
    /// The thread that reads the files cannot be started.
    #[error("cannot start a thread that reads certificates and tokens: {0}")]
    NoThread(io::Error),
    /// Its content is not valid.
    #[error("{setting} {}: {reason}", file.display())]
    Content {
        /// The setting that has the file.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// The fault and its remedy.
        reason: String,
    },
    /// The key is not that of the certificate.
    #[error("tls_key {} is not the key of tls_certificate {}; give the two files of one request", key.display(), certificate.display())]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// A line of the token file is not valid.
    #[error("tokens {}, line {line}: {reason}", file.display())]
    Token {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The fault of the line.
        reason: &'static str,
    },
}
