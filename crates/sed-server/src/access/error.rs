//! What is wrong with a file of certificates, keys or tokens. Nothing of what stands in a file is ever told.

use std::{io, path::PathBuf};

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// It cannot be read.
    #[error("cannot read {setting} {}: {source}", file.display())]
    Read {
        /// The setting that has the file.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It does not hold what it should.
    #[error("{setting} {}: {reason}", file.display())]
    Content {
        /// The setting that has the file.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Certificate and key are not of each other.
    #[error("tls_key {} is not the key of tls_certificate {}; give the two files of one request", key.display(), certificate.display())]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// A line of the tokens is wrong.
    #[error("tokens {}, line {line}: {reason}", file.display())]
    Token {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
}
