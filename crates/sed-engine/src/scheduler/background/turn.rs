//! The times at which the device may work in the background of its requests.
//!
//! A request that arrives during a background launch waits for its end, which may be as long as a request on
//! a slow device. So a device without requests counts as busy until it was quiet for [`QUIET`], and a busy
//! one works in the background for one part in [`SHARE`] of its time, and in launches that are long beside
//! its requests for one request in [`MANY`].

use std::time::{Duration, Instant};

use crate::scheduler::Ran;

/// A device that worked for a request so lately is busy: a client that sends one request after the other is
/// back sooner.
pub(super) const QUIET: Duration = Duration::from_secs(1);
/// The part of a busy device: one in so many.
pub(super) const SHARE: u32 = 20;
/// A launch is short if a request takes so many times as long.
const SHORT: u32 = 10;
/// The requests that are answered for one launch that is not short.
pub(super) const MANY: u32 = 25;

/// The work for requests since the last background launch.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// End of the last launch for requests.
    last_request: Option<Instant>,
    /// Time of the last background launch.
    launch: Duration,
    /// Time of the launches for requests since then.
    worked: Duration,
    /// Requests answered since then.
    answered: u32,
}

impl Turn {
    /// Notes a launch for requests.
    pub(super) fn note_requests(&mut self, ran: Ran) {
        self.last_request = Some(ran.ended);
        self.worked += ran.time();
    }

    /// Notes an answer to a request.
    pub(super) fn note_answer(&mut self) {
        self.answered = self.answered.saturating_add(1);
    }

    /// Notes a background launch.
    pub(super) fn note_background(&mut self, ran: Ran) {
        *self = Self { last_request: self.last_request, launch: ran.time(), ..Self::default() };
    }

    /// Reports whether background work goes next on a busy device.
    pub(super) fn is_due(&self) -> bool {
        let is_short = self.launch * SHORT * self.answered.min(MANY) <= self.worked;
        self.worked >= self.launch * (SHARE - 1) && (is_short || self.answered >= MANY)
    }

    /// The time until the device counts as quiet, if no request comes.
    pub(super) fn quiet_in(&self, now: Instant) -> Duration {
        self.last_request.map_or(Duration::ZERO, |last| (last + QUIET).saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn ran(begun: Instant, milliseconds: u32) -> Ran {
        Ran { begun, ended: begun + MS * milliseconds }
    }

    /// Milliseconds of background launches of `launch` among requests of `request` milliseconds, in 1000
    /// requests.
    fn background(launch: u32, request: u32) -> u32 {
        let (mut turn, mut now, mut spent) = (Turn::default(), Instant::now(), 0);
        for _ in 0..1000 {
            for _ in 0..10 {
                while turn.is_due() {
                    turn.note_background(ran(now, launch));
                    spent += launch;
                    now += MS * launch;
                }
                turn.note_requests(ran(now, request / 10));
                now += MS * (request / 10);
            }
            turn.note_answer();
        }
        spent
    }

    #[test]
    fn a_busy_device_has_one_part_in_twenty_for_short_launches() {
        let spent = background(20, 1000);
        let share = f64::from(spent) / f64::from(spent + 1_000_000);
        assert!((0.03..=0.05).contains(&share), "{share}");
    }

    #[test]
    fn long_launches_are_met_by_one_request_in_many() {
        for (launch, request) in [(100, 100), (30, 100), (90, 100)] {
            let launches = background(launch, request) / launch;
            assert!((20..=1000 / MANY + 1).contains(&launches), "{launches} launches of {launch} ms");
        }
        // A launch that takes as long as a hundred requests waits for more of them.
        assert!(background(10_000, 100) <= 2 * 10_000);
    }

    #[test]
    fn a_device_is_quiet_some_time_after_its_last_request() {
        let (mut turn, now) = (Turn::default(), Instant::now());
        assert_eq!(turn.quiet_in(now), Duration::ZERO);
        turn.note_requests(ran(now, 100));
        assert_eq!(turn.quiet_in(now + MS * 100), QUIET);
        turn.note_background(ran(now + MS * 200, 50));
        assert_eq!(turn.quiet_in(now + MS * 600), QUIET / 2);
        assert_eq!(turn.quiet_in(now + QUIET * 2), Duration::ZERO);
    }
}
