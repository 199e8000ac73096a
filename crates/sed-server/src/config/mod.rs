//! The server's configuration: read once, checked once, and typed from then on.

mod automatic;
mod checked;
mod names;
mod settings;
mod transport;
mod values;
mod written;

use std::path::Path;

pub use checked::ServerConfig;
pub use names::nearest;
pub use settings::{SETTINGS, Settings};
pub use transport::{Access, Compression, TlsFiles, Transport, Web};
pub use written::{Written, keys, variable};

/// An error in the configuration.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum ConfigError {
    /// A file or variable cannot be read.
    #[error("cannot read the configuration: {0}")]
    Source(String),
    /// A file has a key that no setting has.
    #[error("there is no setting {key:?}{}", meant(nearest.as_deref()))]
    UnknownKey {
        /// The key.
        key: String,
        /// The setting that may have been meant.
        nearest: Option<String>,
    },
    /// A value has the wrong kind or is outside its range.
    #[error("{key} is {found}, but {expected}")]
    Value {
        /// The setting.
        key: String,
        /// Its value.
        found: String,
        /// The values allowed, as in "must be between 1 and 9".
        expected: String,
    },
    /// A value does not fit another.
    #[error("{key} is {found}, more than {other}, which is {limit}; lower the first or raise the second")]
    MoreThan {
        /// The setting.
        key: &'static str,
        /// Its value.
        found: u64,
        /// The setting that bounds it.
        other: &'static str,
        /// Its value.
        limit: u64,
    },
    /// An address cannot be understood.
    #[error("{key} is {found:?}, but must be an ip address and a port, for example {example}")]
    Address {
        /// The setting.
        key: &'static str,
        /// Its value.
        found: String,
        /// An example of a valid value.
        example: &'static str,
    },
    /// A value is none of the known ones.
    #[error("{key} has {found:?}, but must be {known}")]
    Word {
        /// The setting.
        key: &'static str,
        /// Its value.
        found: String,
        /// The known values.
        known: &'static str,
    },
    /// A setting has no effect without another, which is not set.
    #[error("{key} is set, but {other} is not; set both or neither")]
    Needs {
        /// The setting.
        key: &'static str,
        /// The setting that it needs.
        other: &'static str,
    },
    /// The published limit of a setting's name cannot hold its value.
    #[error("cannot publish a setting as the limit of its name: {0}")]
    Unpublished(String),
    /// There is no such vocabulary.
    #[error("{key} is {name:?}, but the built-in vocabularies are {known}")]
    UnknownVocabulary {
        /// The setting.
        key: &'static str,
        /// The name.
        name: String,
        /// The names of the built-in vocabularies.
        known: String,
    },
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}

/// Reads a file, the environment over it, and flags over both, and checks the whole.
///
/// # Errors
/// The first error, with the name of its setting.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: Written,
) -> Result<ServerConfig, ConfigError> {
    let file = file.map(Written::in_file).transpose()?.unwrap_or_default();
    ServerConfig::read(&flags.over(Written::in_environment(environment)).over(file))
}

#[cfg(test)]
mod tests;
