//! Repeated calls: how often, and after which delay.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;
use tonic_types::StatusExt;

use crate::error::{is_outage, reason, was_never_sent};

/// Attempts after the first to send a request whose connection ended before it was sent.
const UNSENT: u32 = 3;
/// The longest delay that is waited for, but for words that are being prepared.
const LONGEST: Duration = Duration::from_secs(60);
/// The shortest delay before words that are being prepared are asked for again.
const SHORTEST: Duration = Duration::from_millis(10);
/// The refusal of a request whose words the server prepares meanwhile.
const NOT_READY: &str = "VOCABULARY_NOT_READY";
/// The first delay before a server that cannot be reached is tried again; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest delay before a server that cannot be reached is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A delay is stretched by up to this share of itself, so that clients that were refused together do not
/// return together.
const JITTER: f64 = 0.25;

/// Repetitions of a call that the server refused with a delay (`google.rpc.RetryInfo`). A call is only
/// repeated where the delay ends before its deadline. `DEADLINE_UNREACHABLE` is never repeated: the next
/// attempt would have the same deadline.
///
/// `VOCABULARY_NOT_READY` with a delay is no failure but a wait: the server embeds the words meanwhile. It
/// does not count as an attempt, each new one has the whole deadline, and `ready_timeout` bounds them all
/// together.
///
/// With a `retry_timeout`, a call outlasts a restart of the server: see there.
///
/// A request whose connection ended before it was sent, for example at its maximum age, is sent again at
/// once, whatever this says: the server has not seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Attempts after the first.
    pub most: u32,
    /// Time for which a call may wait, from the first such refusal, until the server has prepared its words;
    /// zero returns that refusal.
    pub ready_timeout: Duration,
    /// Time for which a call is repeated, from its first failure, in place of `most`: behind every refusal
    /// with a delay, and where the server cannot be reached or the connection breaks. Each new attempt has
    /// the whole deadline. Zero turns it off.
    pub retry_timeout: Duration,
}

impl Retries {
    /// Every refusal is returned as it is, as programs that measure a server need it.
    pub const OFF: Self = Self { most: 0, ready_timeout: Duration::ZERO, retry_timeout: Duration::ZERO };

    /// Time for which a call may usually wait for its words.
    pub const READY_TIMEOUT: Duration = Duration::from_secs(15 * 60);
}

impl Default for Retries {
    /// Four attempts after the first, and a quarter of an hour for words that are being prepared.
    fn default() -> Self {
        Self { most: 4, ready_timeout: Self::READY_TIMEOUT, retry_timeout: Duration::ZERO }
    }
}

/// The attempts of one call.
#[derive(Debug)]
pub(crate) struct Attempts {
    refused: u32,
    unsent: u32,
    /// Time for all attempts between two waits for words.
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    ready_timeout: Duration,
    /// The first refusal until words are ready.
    not_ready_since: Option<Instant>,
    retry_timeout: Duration,
    /// The first failure that is not about words.
    failing_since: Option<Instant>,
    /// Delay before the next attempt where the server says none.
    pause: Duration,
}

impl Attempts {
    /// The attempts of a call that begins now.
    pub(crate) fn new(retries: Retries, timeout: Option<Duration>) -> Self {
        Self {
            refused: retries.most,
            unsent: UNSENT,
            timeout,
            deadline: after(Instant::now(), timeout),
            ready_timeout: retries.ready_timeout,
            not_ready_since: None,
            retry_timeout: retries.retry_timeout,
            failing_since: None,
            pause: FIRST_PAUSE,
        }
    }

    /// The deadline of the next attempt.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns the delay before the next attempt; `None` if there is to be none.
    pub(crate) fn delay_after(&mut self, status: &Status) -> Option<Duration> {
        if was_never_sent(status) && self.unsent > 0 {
            self.unsent -= 1;
            return Some(Duration::ZERO);
        }
        let delay = match status.get_details_retry_info().and_then(|info| info.retry_delay) {
            Some(delay) => delay,
            None if !self.retry_timeout.is_zero() && is_outage(status) => self.next_pause(),
            None => return None,
        };
        let delay = delay.mul_f64(1.0 + JITTER * fastrand::f64());
        let reason = reason(status);
        if reason.as_deref() == Some(NOT_READY) {
            return self.wait_for_words(delay.max(SHORTEST));
        }
        if !self.retry_timeout.is_zero() {
            return self.outlast(delay.max(SHORTEST));
        }
        let late = self.deadline.is_some_and(|deadline| Instant::now() + delay >= deadline);
        if delay > LONGEST || late || reason.is_some_and(|reason| reason == "DEADLINE_UNREACHABLE") {
            return None;
        }
        self.refused = self.refused.checked_sub(1)?;
        Some(delay)
    }

    /// Allows another attempt with a whole deadline, if it begins within the time for words.
    fn wait_for_words(&mut self, delay: Duration) -> Option<Duration> {
        let since = *self.not_ready_since.get_or_insert_with(Instant::now);
        self.renewed(delay, since, self.ready_timeout)
    }

    /// Allows another attempt with a whole deadline, if it begins within the time for failures.
    fn outlast(&mut self, delay: Duration) -> Option<Duration> {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        self.renewed(delay, since, self.retry_timeout)
    }

    fn renewed(&mut self, delay: Duration, since: Instant, most: Duration) -> Option<Duration> {
        let again = Instant::now().checked_add(delay)?;
        if again.duration_since(since) >= most {
            return None;
        }
        self.deadline = after(again, self.timeout);
        Some(delay)
    }

    /// Returns the delay where the server says none, and doubles the next one.
    fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (2 * pause).min(LONGEST_PAUSE);
        pause
    }
}

/// The time after `begin`; a time beyond the clock is none.
fn after(begin: Instant, timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| begin.checked_add(timeout))
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
        let mut attempts = Attempts::new(Retries { most: 2, ..Retries::OFF }, None);
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
        let delay = |status: &Status, timeout| Attempts::new(Retries::default(), timeout).delay_after(status);
        let timeout = Some(Duration::from_secs(5));
        assert!(delay(&refusal("MODEL_NOT_READY", soon), timeout).is_some());
        assert_eq!(delay(&refusal("DEADLINE_UNREACHABLE", soon), None), None);
        assert_eq!(delay(&refusal("DEVICE_OUT_OF_MEMORY", None), None), None);
        assert_eq!(delay(&refusal("QUEUE_FULL", Some(Duration::from_secs(6))), timeout), None);
        assert_eq!(delay(&refusal("QUEUE_FULL", Some(Duration::from_secs(3600))), None), None);
    }

    #[test]
    fn waiting_for_words_costs_no_attempt_and_renews_the_deadline() {
        let timeout = Duration::from_secs(5);
        let minutes = |count: u64| Some(Duration::from_secs(60 * count));
        let not_ready = |delay| refusal("VOCABULARY_NOT_READY", delay);
        let mut attempts = Attempts::new(Retries { most: 1, ..Retries::default() }, Some(timeout));
        for _ in 0..9 {
            // Longer than the deadline, and than any other delay that is waited for.
            let before = Instant::now();
            let delay = attempts.delay_after(&not_ready(minutes(2))).unwrap();
            assert!(delay >= Duration::from_secs(120), "{delay:?}");
            assert!(attempts.deadline().unwrap() >= before + delay + timeout);
        }
        assert!(attempts.delay_after(&refusal("QUEUE_FULL", Some(Duration::ZERO))).is_some());
        assert_eq!(attempts.delay_after(&refusal("QUEUE_FULL", Some(Duration::ZERO))), None);

        // Beyond the time for words, without a delay, and with that time at zero.
        assert_eq!(attempts.delay_after(&not_ready(minutes(15))), None);
        assert_eq!(attempts.delay_after(&not_ready(None)), None);
        let mut off = Attempts::new(Retries { most: 4, ..Retries::OFF }, None);
        assert_eq!(off.delay_after(&not_ready(Some(Duration::ZERO))), None);
        let forever = Retries { ready_timeout: Duration::MAX, ..Retries::OFF };
        assert!(Attempts::new(forever, None).delay_after(&not_ready(minutes(600))).is_some());
    }

    #[test]
    fn a_restart_is_outlasted_within_the_time_for_it() {
        let retries = Retries { retry_timeout: Duration::from_secs(30), ..Retries::OFF };
        let timeout = Duration::from_secs(5);
        let mut attempts = Attempts::new(retries, Some(timeout));
        let gone = || Status::unavailable("no route");
        // Pauses double from a quarter of a second to five seconds, each stretched.
        for pause in [250, 500, 1000, 2000, 4000, 5000, 5000_u64] {
            let delay = attempts.delay_after(&gone()).unwrap();
            let pause = Duration::from_millis(pause);
            assert!((pause..=pause.mul_f64(1.0 + JITTER)).contains(&delay), "{delay:?}");
            assert!(attempts.deadline().unwrap() >= Instant::now() + delay + timeout - SHORTEST);
        }
        let soon = Some(Duration::from_secs(1));
        for reason in ["SHUTTING_DOWN", "DEVICE_LOST", "QUEUE_FULL", "DEADLINE_UNREACHABLE"] {
            assert!(attempts.delay_after(&refusal(reason, soon)).is_some(), "{reason}");
        }
        assert_eq!(attempts.delay_after(&refusal("SHUTTING_DOWN", Some(Duration::from_secs(30)))), None);
        assert_eq!(attempts.delay_after(&refusal("IMAGE_CORRUPT", None)), None);
        assert_eq!(attempts.delay_after(&Status::deadline_exceeded("late")), None);
        assert_eq!(Attempts::new(Retries::default(), None).delay_after(&gone()), None);
        // Words have their own time.
        assert_eq!(attempts.delay_after(&refusal("VOCABULARY_NOT_READY", soon)), None);
    }
}
