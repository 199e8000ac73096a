//! One check and its verdict.

use serde::Serialize;

use crate::print;

/// A check: its subject, the verdict, and the finding.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) verdict: Verdict,
    pub(super) found: String,
    /// Advice on how to mend it.
    pub(super) advice: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// Nothing to mend.
    Good,
    /// It works, but not as well as it could.
    Warning,
    /// It does not work.
    Wrong,
}

impl Check {
    pub(super) fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Good, found: found.into(), advice: None }
    }

    pub(super) fn warning(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, advice: Some(advice.into()), ..Self::good(name, found) }
    }

    pub(super) fn wrong(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Wrong, ..Self::warning(name, found, advice) }
    }

    /// A check that failed with an error, whose text contains the advice.
    pub(super) fn failed(name: &'static str, error: impl Into<anyhow::Error>) -> Self {
        let found = print::causes(&error.into());
        Self { verdict: Verdict::Wrong, ..Self::good(name, found) }
    }
}

/// Bytes in the unit that suits them.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_their_unit() {
        assert_eq!([512, 1 << 20, 3 << 29, 5 << 40].map(size), ["0.5 KiB", "1.0 MiB", "1.5 GiB", "5.0 TiB"]);
    }
}
