//! Values in their ranges.

use std::{fmt::Display, time::Duration};

use super::ConfigError;

pub(super) fn within<T: PartialOrd + Display>(
    key: &'static str,
    value: Option<T>,
    default: T,
    least: T,
    most: T,
) -> Result<T, ConfigError> {
    let value = value.unwrap_or(default);
    if value >= least && value <= most {
        return Ok(value);
    }
    let (found, least, most) = (value.to_string(), least.to_string(), most.to_string());
    Err(ConfigError::OutOfRange { key, found, least, most })
}

pub(super) fn cache(key: &'static str, value: Option<usize>, default: usize) -> Result<usize, ConfigError> {
    within(key, value, default, 0, usize::MAX)
}

pub(super) fn window(key: &'static str, value: Option<u32>, default_mib: u32) -> Result<u32, ConfigError> {
    // HTTP/2's own default is the least; its largest window is 2^31 - 1.
    within(key, value, default_mib << 20, 65_535, (1 << 31) - 1)
}

pub(super) fn seconds(
    key: &'static str,
    value: Option<f64>,
    default: f64,
    least: f64,
) -> Result<Duration, ConfigError> {
    within(key, value, default, least, 86_400.0).map(Duration::from_secs_f64)
}
