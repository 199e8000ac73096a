//! Repeated calls: how often, and after which delay.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;
use tonic_types::StatusExt;

use crate::error::{reason, was_never_sent};

/// Attempts after the first to send a request whose connection ended before it was sent.
const UNSENT: u32 = 3;
/// The longest delay that is waited for.
const LONGEST: Duration = Duration::from_secs(60);
/// A delay is stretched by up to this share of itself, so that clients that were refused together do not
/// return together.
const JITTER: f64 = 0.25;

/// Repetitions of a call that the server refused with a delay (`google.rpc.RetryInfo`). A call is only
/// repeated where the delay ends before its deadline. `DEADLINE_UNREACHABLE` is never repeated: the next
/// attempt would have the same deadline.
///
/// A request whose connection ended before it was sent, for example at its maximum age, is sent again at
/// once, whatever this says: the server has not seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Attempts after the first.
    pub most: u32,
}

impl Retries {
    /// Every refusal is returned as it is, as programs that measure a server need it.
    pub const OFF: Self = Self { most: 0 };
}

impl Default for Retries {
    /// Four attempts after the first.
    fn default() -> Self {
        Self { most: 4 }
    }
}

/// The attempts of one call.
#[derive(Debug)]
pub(crate) struct Attempts {
    refused: u32,
    unsent: u32,
    deadline: Option<Instant>,
}

impl Attempts {
    pub(crate) fn new(retries: Retries, deadline: Option<Instant>) -> Self {
        Self { refused: retries.most, unsent: UNSENT, deadline }
    }

    /// Returns the delay before the next attempt; `None` if there is to be none.
    pub(crate) fn delay_after(&mut self, status: &Status) -> Option<Duration> {
        if was_never_sent(status) {
            self.unsent = self.unsent.checked_sub(1)?;
            return Some(Duration::ZERO);
        }
        let delay = status.get_details_retry_info()?.retry_delay?;
        let delay = delay.mul_f64(1.0 + JITTER * fastrand::f64());
        let late = self.deadline.is_some_and(|deadline| Instant::now() + delay >= deadline);
        if delay > LONGEST || late || reason(status).is_some_and(|reason| reason == "DEADLINE_UNREACHABLE") {
            return None;
        }
        self.refused = self.refused.checked_sub(1)?;
        Some(delay)
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::ErrorDetails;

    use super::*;

    fn refusal(reason: &str, delay: Option<Duration>) -> Status {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, "sed-serve", []);
        if delay.is_some() {
            details.set_retry_info(delay);
        }
        Status::with_error_details(Code::ResourceExhausted, "refused", details)
    }

    #[test]
    fn delays_are_the_servers_stretched_and_bounded_in_number() {
        let mut attempts = Attempts::new(Retries { most: 2 }, None);
        let refused = refusal("QUEUE_FULL", Some(Duration::from_secs(2)));
        for _ in 0..2 {
            let delay = attempts.delay_after(&refused).unwrap();
            assert!((Duration::from_secs(2)..=Duration::from_millis(2500)).contains(&delay), "{delay:?}");
        }
        assert_eq!(attempts.delay_after(&refused), None);
        assert_eq!(Attempts::new(Retries::OFF, None).delay_after(&refused), None);
    }

    #[test]
    fn what_cannot_succeed_is_not_repeated() {
        let soon = Some(Duration::from_millis(10));
        let delay =
            |status: &Status, deadline| Attempts::new(Retries::default(), deadline).delay_after(status);
        let deadline = Some(Instant::now() + Duration::from_secs(5));
        assert!(delay(&refusal("MODEL_NOT_READY", soon), deadline).is_some());
        assert_eq!(delay(&refusal("DEADLINE_UNREACHABLE", soon), None), None);
        assert_eq!(delay(&refusal("DEVICE_OUT_OF_MEMORY", None), None), None);
        assert_eq!(delay(&refusal("QUEUE_FULL", Some(Duration::from_secs(6))), deadline), None);
        assert_eq!(delay(&refusal("QUEUE_FULL", Some(Duration::from_secs(3600))), None), None);
    }
}
