//! Deadlines of requests: the client's `grpc-timeout`, but never later than the server allows.

use std::{future::pending, time::Duration};

use http::HeaderMap;
use tokio::time::{Instant, sleep_until};

/// The client watches its timeout itself and would not see a later answer, so the server's deadline comes
/// first.
const HEAD_START: Duration = Duration::from_millis(1);

/// The time by which an answer must be sent. Travels in the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline(pub(crate) Instant);

impl Deadline {
    /// The deadline of a request whose headers have just come.
    pub(crate) fn of(headers: &HeaderMap, longest: Duration) -> Self {
        Self::after(wanted_time(headers).map_or(longest, |wanted| wanted.min(longest)))
    }

    /// Returns the deadline that the intake set for a call; without one, the server's own bound.
    pub(crate) fn of_call<T>(request: &tonic::Request<T>, longest: Duration) -> Self {
        request.extensions().get::<Self>().copied().unwrap_or_else(|| Self::after(longest))
    }

    /// A deadline after `time` from now.
    pub(crate) fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }
}

/// When the whole message of a call was there; its wait for a place counts from then. Travels in the request's
/// extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received(pub(crate) std::time::Instant);

impl Received {
    /// Returns the time that the intake set for a call; without one, now.
    pub(crate) fn of<T>(request: &tonic::Request<T>) -> std::time::Instant {
        request.extensions().get::<Self>().map_or_else(std::time::Instant::now, |received| received.0)
    }
}

/// The time by which a stream must end, if its client sets one: a stream may last longer than any of its
/// requests. Travels in the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamDeadline(pub(crate) Option<Instant>);

impl StreamDeadline {
    /// The deadline of a stream whose headers have just come.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self(wanted_time(headers).map(|wanted| Instant::now() + wanted))
    }

    /// Resolves at the deadline; never if there is none.
    pub(crate) async fn expired(self) {
        match self.0 {
            Some(deadline) => sleep_until(deadline).await,
            None => pending().await,
        }
    }

    /// The deadline of one of its requests that came at `received` and may take `time`.
    pub(crate) fn of_request(self, received: Instant, time: Duration) -> Instant {
        let own = received + time;
        self.0.map_or(own, |stream| own.min(stream))
    }
}

/// The time that the client gives the call, as far as the server may use it.
fn wanted_time(headers: &HeaderMap) -> Option<Duration> {
    client_timeout(headers).map(|timeout| timeout.saturating_sub(HEAD_START))
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
    async fn a_streams_requests_end_with_it() {
        let mut headers = HeaderMap::new();
        let now = Instant::now();
        let left = |headers: &HeaderMap, seconds| {
            StreamDeadline::of(headers).of_request(now, Duration::from_secs(seconds)) - now
        };
        assert_eq!(left(&headers, 60), Duration::from_secs(60));
        headers.insert("grpc-timeout", "10S".parse().unwrap());
        assert_eq!(left(&headers, 60), Duration::from_millis(9999));
        assert_eq!(left(&headers, 3), Duration::from_secs(3));
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
