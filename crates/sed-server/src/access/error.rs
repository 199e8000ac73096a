//! Errors of files of certificates, keys or tokens. They never repeat what stands in a file.

use std::{io, path::PathBuf};

use super::reloaded::LONGEST_READ;

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
    /// A read has not ended in time.
    #[error(
        "the files of {what} cannot be read within {} s; check the file system that they are on",
        LONGEST_READ.as_secs()
    )]
    Slow {
        /// Which files: `tls` or `tokens`.
        what: &'static str,
    },
    /// There is no thread to read them.
    #[error("cannot start a thread that reads certificates and tokens: {0}")]
    NoThread(io::Error),
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
