//! Bearer tokens: lines `name = "secret"`, or `name = ["old secret", "new secret"]`, and comments after `#`.

use std::{fmt, path::Path, sync::Arc};

use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::{AccessError, file, reloaded::Loaded};
use crate::metrics::ServerMetrics;

/// The setting that names the file.
const SETTING: &str = "tokens";

/// Names in one file: each is a label of metrics.
const MOST_NAMES: usize = 64;
/// Secrets in one file: a call is compared with all of them.
const MOST_SECRETS: usize = 256;
/// Letters of a name.
const LONGEST_NAME: usize = 64;
/// Shorter secrets could be guessed.
const SHORTEST_SECRET: usize = 16;

/// The tokens of a file. Only their digests are kept.
pub(crate) struct Tokens {
    names: Vec<Arc<str>>,
    /// Digest of a secret, and the index of its name.
    secrets: Vec<([u8; 32], u32)>,
}

impl Tokens {
    /// Reads and checks the file.
    pub(super) fn load(path: &Path) -> Result<Loaded<Self>, AccessError> {
        let bytes = file::read(SETTING, path)?;
        let content = |reason: &str| AccessError::Content {
            setting: SETTING,
            file: path.into(),
            reason: reason.to_owned(),
        };
        let text =
            std::str::from_utf8(&bytes).map_err(|_| content("is not valid UTF-8; write it as plain text"))?;
        let wrong = |(line, reason)| AccessError::Token { file: path.into(), line, reason };
        let value = Self::parse(text).map_err(wrong)?;
        if value.secrets.is_empty() {
            return Err(content(
                "holds no token, so every call would be refused; add a line name = \"secret\"",
            ));
        }
        Ok(Loaded { digest: Sha256::digest(&bytes).into(), value })
    }

    /// Parses a token file. An error is the number of a line, from 1, and its fault.
    fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut tokens = Self { names: Vec::new(), secrets: Vec::new() };
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                tokens.add(line).map_err(|reason| (number, reason))?;
            }
        }
        Ok(tokens)
    }

    fn add(&mut self, line: &str) -> Result<(), &'static str> {
        const FORM: &str = "expected name = \"secret\"";
        let (name, value) = line.split_once('=').ok_or(FORM)?;
        let name = name.trim();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(plain) {
            return Err("a name has 1 to 64 letters, digits, hyphens, dots or underscores");
        }
        if self.names.iter().any(|known| **known == *name) {
            return Err("the name stands on a line above already; give several secrets as a list");
        }
        if self.names.len() == MOST_NAMES {
            return Err("there are 64 names already, the most that there may be");
        }
        let place = self.names.len() as u32;
        self.names.push(name.into());
        let mut rest = value.trim();
        let list = rest.strip_prefix('[');
        rest = list.unwrap_or(rest);
        loop {
            let (secret, after) = quoted(rest.trim_start()).ok_or(FORM)?;
            self.add_secret(secret, place)?;
            rest = after.trim_start();
            if list.is_none() {
                break;
            }
            let comma = rest.strip_prefix(',').map(str::trim_start);
            if let Some(after) = comma.unwrap_or(rest).strip_prefix(']') {
                rest = after.trim_start();
                break;
            }
            rest = comma.ok_or(FORM)?;
        }
        if rest.is_empty() || rest.starts_with('#') { Ok(()) } else { Err(FORM) }
    }

    fn add_secret(&mut self, secret: &str, place: u32) -> Result<(), &'static str> {
        if secret.len() < SHORTEST_SECRET {
            return Err("a secret has at least 16 characters; `openssl rand -hex 32` makes a good one");
        }
        if !secret.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return Err("a secret has letters, digits and signs of ASCII, without spaces and backslashes");
        }
        let digest: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        if self.secrets.iter().any(|(known, _)| *known == digest) {
            return Err("the secret stands further above already; give each name its own");
        }
        if self.secrets.len() == MOST_SECRETS {
            return Err("there are 256 secrets already, the most that there may be");
        }
        self.secrets.push((digest, place));
        Ok(())
    }

    /// Returns the name of a token. The time that this takes reveals nothing about the tokens of the file.
    pub(crate) fn name_of(&self, token: &[u8]) -> Option<Arc<str>> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let mut found = u32::MAX;
        for (known, place) in &self.secrets {
            found.conditional_assign(place, known.ct_eq(&digest));
        }
        self.names.get(found as usize).cloned()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.iter()
    }

    /// Creates the metric series of every name, so that they exist before its first call.
    pub(super) fn register(&self, metrics: &ServerMetrics) {
        for name in &self.names {
            metrics.requests_by_caller.create(name);
        }
    }
}

/// Splits a text that begins with a quoted string into that string and the rest.
fn quoted(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('"')?.split_once('"')
}

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tokens").field("names", &self.names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# who may call
camera-7 = \"0123456789abcdef\"

web.shop = [\"old-secret-old-secret\", \"new-secret-new-secret\",] # changed in May
  night_job= \"aaaaaaaaaaaaaaaa\"   # once a day
";

    fn reason(text: &str) -> (usize, &'static str) {
        Tokens::parse(text).unwrap_err()
    }

    #[test]
    fn each_secret_is_its_names_and_no_other_is() {
        let tokens = Tokens::parse(FILE).unwrap();
        let name = |token: &str| tokens.name_of(token.as_bytes()).map(|name| name.to_string());
        assert_eq!(name("0123456789abcdef").as_deref(), Some("camera-7"));
        assert_eq!(name("old-secret-old-secret").as_deref(), Some("web.shop"));
        assert_eq!(name("new-secret-new-secret").as_deref(), Some("web.shop"));
        assert_eq!(name("aaaaaaaaaaaaaaaa").as_deref(), Some("night_job"));
        for wrong in ["", "0123456789abcdeF", "0123456789abcdef ", "\"0123456789abcdef\"", "camera-7"] {
            assert_eq!(name(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_wrong_line_is_told_by_its_number_and_without_its_secret() {
        let cases = [
            "a \"0123456789abcdef\"",
            "a = 0123456789abcdef",
            "a = \"0123456789abcdef",
            "a = \"0123456789abcdef\" more",
            "a = [\"0123456789abcdef\"",
            "a = []",
            "a = [\"0123456789abcdef\" \"0123456789abcdeg\"]",
            "a b = \"0123456789abcdef\"",
            " = \"0123456789abcdef\"",
            "a = \"0123456789abcde\"",
            "a = \"0123456789abc def\"",
            "a = \"0123456789abcdé0\"",
            "camera-7 = \"another-secret-for-it\"",
            "other = \"aaaaaaaaaaaaaaaa\"",
        ];
        for line in cases {
            let (number, reason) = reason(&format!("{FILE}{line}\n"));
            assert_eq!(number, 6, "{line}");
            assert!(!reason.contains("0123"), "{reason}");
        }
        let many: String = (0..65).map(|n| format!("n{n} = \"0123456789abcde-{n}\"\n")).collect();
        assert_eq!(reason(&many).0, 65);
    }

    #[test]
    fn secrets_are_not_shown() {
        let tokens = Tokens::parse(FILE).unwrap();
        assert_eq!(
            format!("{tokens:?}"),
            "Tokens { names: [\"camera-7\", \"web.shop\", \"night_job\"], .. }"
        );
    }

    #[test]
    fn a_file_without_tokens_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# none\n").unwrap();
        let error = Tokens::load(file.path()).unwrap_err().to_string();
        assert!(error.starts_with("tokens ") && error.contains("holds no token"), "{error}");
    }
}
