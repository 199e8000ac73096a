//! Category early rejection (SED section 3.4).

use std::{fmt, num::NonZeroU32, str::FromStr};

use serde::Serialize;

/// The rejection before every decoder level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "u32")]
pub enum Rejection {
    /// All categories go on.
    #[default]
    Off,
    /// Only categories among this many best at some position of the map go on.
    TopK(NonZeroU32),
}

impl Rejection {
    /// Converts a `top_k` as requests, settings and reports write it: 0 turns rejection off.
    pub fn from_top_k(top_k: u32) -> Self {
        NonZeroU32::new(top_k).map_or(Self::Off, Self::TopK)
    }

    /// The `top_k` as requests, settings and reports write it: 0 where rejection is off.
    pub fn top_k(self) -> u32 {
        match self {
            Self::Off => 0,
            Self::TopK(top_k) => top_k.get(),
        }
    }

    /// The number of `categories` that stay at one position.
    pub fn kept(self, categories: usize) -> usize {
        match self {
            Self::Off => categories,
            Self::TopK(top_k) => categories.min(top_k.get() as usize),
        }
    }
}

impl From<Rejection> for u32 {
    fn from(rejection: Rejection) -> Self {
        rejection.top_k()
    }
}

/// The text is neither `off` nor a number.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected `off` or a whole number, 0 for off")]
pub struct ParseRejectionError;

impl FromStr for Rejection {
    type Err = ParseRejectionError;

    fn from_str(text: &str) -> Result<Self, ParseRejectionError> {
        match text {
            "off" => Ok(Self::Off),
            text => text.parse().map(Self::from_top_k).map_err(|_| ParseRejectionError),
        }
    }
}

/// `off`, or the `top_k`.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.pad("off"),
            Self::TopK(top_k) => top_k.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_off_and_keeps_all() {
        for top_k in [0, 1, 8, u32::MAX] {
            assert_eq!(Rejection::from_top_k(top_k).top_k(), top_k);
        }
        assert_eq!(Rejection::from_top_k(0), Rejection::Off);
        assert_eq!([Rejection::Off.kept(5), Rejection::Off.kept(0)], [5, 0]);
        let eight = Rejection::from_top_k(8);
        assert_eq!([eight.kept(150), eight.kept(8), eight.kept(3)], [8, 8, 3]);
        assert_eq!(format!("{} {eight}", Rejection::Off), "off 8");
        assert_eq!(["off", "0", "8"].map(str::parse), [Ok(Rejection::Off), Ok(Rejection::Off), Ok(eight)]);
        assert_eq!(["-1", "some", ""].map(str::parse::<Rejection>), [Err(ParseRejectionError); 3]);
    }
}
