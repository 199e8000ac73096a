//! Settings as they are written in flags, the environment and a file: texts with their keys.

use std::{collections::BTreeMap, error::Error, fmt::Display, path::Path, sync::LazyLock};

use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches,
    error::{ContextKind, ContextValue},
    parser::ValueSource,
};
use toml::{Table, Value};

use super::{ConfigError, Settings, names::nearest, settings::SHORT, values::listed};

/// The command line that all texts go through.
static COMMAND: LazyLock<Command> = LazyLock::new(|| {
    let bare = Command::new("settings").no_binary_name(true).disable_help_flag(true);
    // A list may be empty.
    Settings::augment_args(bare).mut_args(|flag| if is_list(&flag) { flag.num_args(0..=1) } else { flag })
});

/// The texts of settings by their keys. As arguments of a command these are the flags that were given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written(BTreeMap<String, Vec<String>>);

impl Written {
    /// Reads the environment: variables named `SED_` and a key in capitals. An empty one counts as unset;
    /// commas separate the items of a list.
    pub fn in_environment(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let setting = |(name, text): (String, String)| {
            let flag = COMMAND.get_arguments().find(|flag| variable(flag.get_id().as_str()) == name)?;
            (!text.is_empty()).then(|| (flag.get_id().to_string(), split(flag, text)))
        };
        Self(variables.into_iter().filter_map(setting).collect())
    }

    /// Reads a TOML file. An empty text counts as unset.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or has a key that does not exist.
    pub fn in_file(path: &Path) -> Result<Self, ConfigError> {
        let failed = |error: &dyn Display| ConfigError::Source(format!("{}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
        let table: Table = text.parse().map_err(|error| failed(&error))?;
        Self::in_table(table)
    }

    fn in_table(table: Table) -> Result<Self, ConfigError> {
        let mut texts = BTreeMap::new();
        for (key, value) in table {
            let Some(flag) = COMMAND.get_arguments().find(|flag| flag.get_id() == key.as_str()) else {
                let nearest = nearest(&key, keys()).map(str::to_owned);
                return Err(ConfigError::UnknownKey { key, nearest });
            };
            let written = match value {
                Value::String(text) if text.is_empty() => continue,
                Value::String(text) => split(flag, text),
                Value::Array(items) if is_list(flag) => {
                    items.into_iter().map(|item| scalar(&key, item)).collect::<Result<_, _>>()?
                }
                value => vec![scalar(&key, value)?],
            };
            texts.insert(key, written);
        }
        Ok(Self(texts))
    }

    /// Returns these settings, with those of `below` for the ones not set here.
    #[must_use]
    pub fn over(self, mut below: Self) -> Self {
        below.0.extend(self.0);
        below
    }

    /// Fills in the defaults and checks every value by itself.
    ///
    /// # Errors
    /// A value of the wrong kind or outside its range.
    pub fn parse(&self) -> Result<Settings, ConfigError> {
        let flags = self.0.iter().flat_map(|(key, texts)| {
            let flag = format!("--{}", key.replace('_', "-"));
            let empty = texts.is_empty().then(|| flag.clone());
            empty.into_iter().chain(texts.iter().map(move |text| format!("{flag}={text}")))
        });
        let matches = COMMAND.clone().try_get_matches_from(flags);
        matches.and_then(|matches| Settings::from_arg_matches(&matches)).map_err(wrong_value)
    }
}

impl TryFrom<&Settings> for Written {
    type Error = ConfigError;

    fn try_from(settings: &Settings) -> Result<Self, ConfigError> {
        Self::in_table(table(settings)?)
    }
}

impl Default for Settings {
    fn default() -> Self {
        // A test shows that the defaults pass their own check; it could only fail here if they did not.
        #[allow(clippy::expect_used)]
        Written::default().parse().expect("the defaults are in range")
    }
}

impl Args for Written {
    fn augment_args(command: Command) -> Command {
        let short = |flag: Arg| {
            let hidden = keys().any(|key| flag.get_id() == key) && !SHORT.contains(&flag.get_id().as_str());
            if hidden { flag.hide_short_help(true) } else { flag }
        };
        Settings::augment_args(command).mut_args(short)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Written {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = keys().filter(|key| matches.value_source(key) == Some(ValueSource::CommandLine));
        let texts = |key: &str| {
            let raw = matches.get_raw(key).into_iter().flatten();
            (key.to_owned(), raw.map(|text| text.to_string_lossy().into_owned()).collect())
        };
        Ok(Self(given.map(texts).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Serialises settings by their keys, without those that have no value.
pub(super) fn table(settings: &Settings) -> Result<Table, ConfigError> {
    Table::try_from(settings).map_err(|error| ConfigError::Source(error.to_string()))
}

/// Returns the keys of all settings.
pub fn keys() -> impl Iterator<Item = &'static str> {
    COMMAND.get_arguments().map(|flag| flag.get_id().as_str())
}

/// Returns the name of a setting's environment variable.
pub fn variable(key: &str) -> String {
    format!("SED_{}", key.to_uppercase())
}

fn is_list(flag: &Arg) -> bool {
    matches!(flag.get_action(), ArgAction::Append)
}

/// The items of a list that is written as one text; any other setting is its text.
fn split(flag: &Arg, text: String) -> Vec<String> {
    if is_list(flag) { listed(&text) } else { vec![text] }
}

fn scalar(key: &str, value: Value) -> Result<String, ConfigError> {
    match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(on) => Ok(on.to_string()),
        other => Err(ConfigError::Value {
            key: key.to_owned(),
            found: format!("a TOML {}", other.type_str()),
            expected: "must be a single value".to_owned(),
        }),
    }
}

/// Translates the error of a value from flags to keys.
fn wrong_value(error: clap::Error) -> ConfigError {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let flag = text(ContextKind::InvalidArg).and_then(|flag| flag.strip_prefix("--")?.split(' ').next());
    match (flag, text(ContextKind::InvalidValue), error.source()) {
        (Some(flag), Some(found), Some(expected)) => ConfigError::Value {
            key: flag.replace('-', "_"),
            found: found.to_owned(),
            expected: expected.to_string(),
        },
        _ => ConfigError::Source(error.to_string()),
    }
}
