//! Values as they are written: numbers in their ranges, sizes with a unit, and switches.

use std::{fmt::Display, path::PathBuf, str::FromStr};

/// A text that is not a valid value: the error says what the value must be.
#[derive(Clone, Debug, thiserror::Error)]
#[error("must be {0}")]
pub(super) struct Expected(String);

impl Expected {
    pub(super) fn between(least: impl Display, most: impl Display) -> Self {
        Self(format!("between {least} and {most}"))
    }
}

/// Returns the parser of a number from `least` to `most`.
pub(super) fn within<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, Expected> + Clone + Send + Sync
where
    T: Copy + Display + FromStr + PartialOrd + Send + Sync,
{
    move |text| {
        let number = text.trim().parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| Expected::between(least, most))
    }
}

/// Returns the parser of a number of seconds, at most a day.
pub(super) fn seconds(least: f64) -> impl Fn(&str) -> Result<f64, Expected> + Clone + Send + Sync {
    within(least, 86_400.0)
}

/// Returns the parser of a number of bytes from `least` to `most`, with or without a unit: `4MiB`.
pub(super) fn bytes<T: TryFrom<u64>>(
    least: u64,
    most: u64,
) -> impl Fn(&str) -> Result<T, Expected> + Clone + Send + Sync {
    move |text| {
        let text = text.trim();
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
        let unit = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, 1 << shift)));
        let (count, unit) = unit.unwrap_or((text, 1));
        let Ok(count) = count.trim_end().parse::<u64>() else {
            return Err(Expected("a number of bytes, or of KiB, MiB or GiB".into()));
        };
        let size = count.checked_mul(unit).filter(|size| (least..=most).contains(size));
        size.and_then(|size| size.try_into().ok()).ok_or_else(|| Expected::between(least, most))
    }
}

/// Parses the memory for requests in bytes; 0 is a share of the machine's.
pub(super) fn request_memory(text: &str) -> Result<u64, Expected> {
    if text.trim() == "0" { Ok(0) } else { bytes(64 << 20, 1 << 50)(text) }
}

/// Parses a flow control window in bytes: HTTP/2's own default is the least, and 2^31 - 1 its largest.
pub(super) fn window(text: &str) -> Result<u32, Expected> {
    bytes(65_535, (1 << 31) - 1)(text)
}

/// Parses a switch.
pub(super) fn switch(text: &str) -> Result<bool, Expected> {
    match text.trim().to_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
        _ => Err(Expected("true or false".into())),
    }
}

/// Splits the text of a list at its commas.
pub(super) fn listed(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// The path of a setting; an empty one is none.
pub(super) fn file(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}
