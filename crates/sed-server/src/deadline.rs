//! When a request must be answered: the client's `grpc-timeout`, but never later than the server allows.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

/// The transport also watches the client's timeout, and would answer CANCELLED; so ours comes first.
const HEAD_START: Duration = Duration::from_millis(1);

/// When a request's answer must go. Travels in the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline(pub(crate) Instant);

impl Deadline {
    /// The deadline of a request whose headers have just come.
    pub(crate) fn of(headers: &HeaderMap, longest: Duration) -> Self {
        let wanted = client_timeout(headers).map(|timeout| timeout.saturating_sub(HEAD_START));
        Self::after(wanted.map_or(longest, |wanted| wanted.min(longest)))
    }

    /// So much time from now.
    pub(crate) fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }
}

/// The `grpc-timeout` header: at most eight digits and a unit. Anything else counts as absent, as it does for
/// the transport.
fn client_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 60 * 60)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeout(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", text.parse().unwrap());
        client_timeout(&headers)
    }

    #[test]
    fn every_unit_is_understood() {
        assert_eq!(timeout("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(timeout("3M"), Some(Duration::from_secs(180)));
        assert_eq!(timeout("82S"), Some(Duration::from_secs(82)));
        assert_eq!(timeout("99999999m"), Some(Duration::from_millis(99_999_999)));
        assert_eq!(timeout("7u"), Some(Duration::from_micros(7)));
        assert_eq!(timeout("0n"), Some(Duration::ZERO));
    }

    #[test]
    fn anything_else_counts_as_absent() {
        for text in ["", "S", "1", "1x", "-1S", "+1S", "100000000S", "1 S", "1.5S"] {
            assert_eq!(timeout(text), None, "{text:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_shortens_what_is_longer() {
        let longest = Duration::from_secs(10);
        let left = |timeout: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(timeout) = timeout {
                headers.insert("grpc-timeout", timeout.parse().unwrap());
            }
            Deadline::of(&headers, longest).0 - Instant::now()
        };
        assert_eq!(left(None), longest);
        assert_eq!(left(Some("11S")), longest);
        assert_eq!(left(Some("40m")), Duration::from_millis(39));
        assert_eq!(left(Some("0n")), Duration::ZERO);
    }
}
