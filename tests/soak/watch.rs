//! The server's process as the system sees it: memory, descriptors, threads.

use std::{fmt, time::Instant};

use serde::Serialize;

use crate::{child::Server, fit};

const MIB: f64 = 1024.0 * 1024.0;

/// The growth of memory that is accepted, in MiB an hour, by the line through the second half.
const MOST_GROWTH_PER_HOUR: f64 = 16.0;
/// The growth within the second half that is accepted, in MiB: what is allocated swings with the requests that are
/// under way, and an allocator takes memory in pieces of that size.
const MOST_GROWTH: f64 = 4.0;
/// Resident memory is judged where the second half begins later than this, in seconds: the allocator keeps what was
/// freed, and takes more each time that requests happen to need more together than ever before.
const SETTLED: f64 = 600.0;
/// Standard errors that a slope must exceed to be more than noise.
const ERRORS: f64 = 3.0;
/// A thread that comes in place of another is there with it for a moment, and threads for files end after some seconds.
const MOST_THREADS: u64 = 4;

/// One look at a process.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Sample {
    /// Seconds since the load began.
    pub(crate) seconds: f64,
    /// Memory that the program has allocated and not freed, in bytes.
    pub(crate) allocated: u64,
    /// Memory that the system counts, in bytes: also what the allocator keeps.
    pub(crate) resident: u64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
    /// Calls and requests on streams so far.
    pub(crate) requests: u64,
}

impl Sample {
    /// Looks at a process; `None` once it has ended.
    pub(crate) fn take(server: &mut Server, begun: Instant, requests: u64) -> Option<Self> {
        let pid = server.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Some(Self {
            seconds: begun.elapsed().as_secs_f64(),
            allocated: server.allocated()?,
            resident: field("VmRSS:")? << 10,
            descriptors: std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64,
            threads: field("Threads:")?,
            requests,
        })
    }

    pub(crate) fn allocated_mib(&self) -> f64 {
        self.allocated as f64 / MIB
    }

    pub(crate) fn resident_mib(&self) -> f64 {
        self.resident as f64 / MIB
    }
}

/// Growth of one measure of memory, by a line fitted to its samples.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Growth {
    /// In MiB an hour, and its standard error.
    pub(crate) per_hour: f64,
    pub(crate) error_per_hour: f64,
    /// The line's ends in MiB.
    pub(crate) ends: (f64, f64),
}

impl Growth {
    /// Fits times in seconds and memory in MiB; `None` for a few points.
    fn of(points: &[(f64, f64)]) -> Option<Self> {
        let line = fit::line(points)?;
        let ends = (line.at(points.first()?.0), line.at(points.last()?.0));
        Some(Self { per_hour: line.slope * 3600.0, error_per_hour: line.error * 3600.0, ends })
    }

    /// Says what is wrong with it, if anything is.
    fn violation(&self, what: &str) -> Option<String> {
        let &Self { per_hour, error_per_hour, ends } = self;
        let grown = ends.1 - ends.0;
        let is_noise = per_hour <= ERRORS * error_per_hour;
        (!is_noise && per_hour > MOST_GROWTH_PER_HOUR && grown > MOST_GROWTH).then(|| {
            format!(
                "{what} memory grows by {per_hour:.1} ± {error_per_hour:.1} MiB an hour, more than \
                 {MOST_GROWTH_PER_HOUR}, and grew by {grown:.1} MiB in the second half"
            )
        })
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { per_hour, error_per_hour, ends } = self;
        write!(
            f,
            "{:.1} to {:.1} MiB by the fitted line, {per_hour:.1} ± {error_per_hour:.1} an hour",
            ends.0, ends.1
        )
    }
}

/// Trend of memory over the second half of a load, and its range of descriptors and threads.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Trend {
    /// Begin and length of the second half, in seconds.
    pub(crate) begin: f64,
    pub(crate) seconds: f64,
    pub(crate) allocated: Growth,
    pub(crate) resident: Growth,
    /// The fewest and the most.
    pub(crate) descriptors: (u64, u64),
    pub(crate) threads: (u64, u64),
}

impl Trend {
    /// The trend of a load; `None` for one of a few seconds.
    pub(crate) fn of(samples: &[Sample]) -> Option<Self> {
        let half = samples.last()?.seconds / 2.0;
        let second: Vec<&Sample> = samples.iter().filter(|sample| sample.seconds >= half).collect();
        let growth = |pick: fn(&Sample) -> f64| {
            let points: Vec<_> = second.iter().map(|sample| (sample.seconds, pick(sample))).collect();
            Growth::of(&points)
        };
        let range = |pick: fn(&Sample) -> u64| {
            let values = second.iter().map(|sample| pick(sample));
            (values.clone().min().unwrap_or(0), values.max().unwrap_or(0))
        };
        let begin = second.first()?.seconds;
        Some(Self {
            begin,
            seconds: second.last()?.seconds - begin,
            allocated: growth(Sample::allocated_mib)?,
            resident: growth(Sample::resident_mib)?,
            descriptors: range(|sample| sample.descriptors),
            threads: range(|sample| sample.threads),
        })
    }

    /// Lists faults in the trend of a server with so many clients.
    pub(crate) fn violations(&self, clients: usize) -> Vec<String> {
        let mut found = Vec::from_iter(self.allocated.violation("allocated"));
        if self.begin >= SETTLED {
            found.extend(self.resident.violation("resident"));
        }
        // A client has a line, opens another when it is told to, and may break a third one.
        let most = 3 * clients as u64;
        if self.descriptors.1 - self.descriptors.0 > most {
            found.push(format!("descriptors vary from {:?}, by more than {most}", self.descriptors));
        }
        if self.threads.1 - self.threads.0 > MOST_THREADS {
            found.push(format!("threads vary from {:?}, by more than {MOST_THREADS}", self.threads));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples of a server that has `mebibytes` allocated and keeps nothing.
    fn samples(seconds: u32, mebibytes: impl Fn(f64) -> f64) -> Vec<Sample> {
        let at = |second: u32| {
            let seconds = f64::from(second);
            let wobble = f64::from(second * 7 % 5) / 100.0;
            let resident = ((mebibytes(seconds) + wobble) * MIB) as u64;
            let descriptors = 40 + u64::from(second % 3);
            Sample { seconds, allocated: resident, resident, descriptors, threads: 12, requests: 0 }
        };
        (0..seconds).map(at).collect()
    }

    fn violations(samples: &[Sample]) -> Vec<String> {
        Trend::of(samples).unwrap().violations(16)
    }

    #[test]
    fn memory_that_has_settled_is_sound_and_a_leak_is_found() {
        let settled = |time: f64| if time < 600.0 { 100.0 + time / 10.0 } else { 160.0 };
        assert!(violations(&samples(3600, settled)).is_empty());
        // 210 bytes for each of 100,000 requests in an hour, seen in both; in two minutes only a coarse leak is.
        let slow = |time: f64| 100.0 + time * 20.0 / 3600.0;
        let found = violations(&samples(3600, slow));
        assert!(
            found.iter().all(|fault| fault.contains(" memory grows by 20.0 ")) && found.len() == 2,
            "{found:?}"
        );
        assert!(violations(&samples(120, slow)).is_empty());
        assert_eq!(violations(&samples(120, |time| 100.0 + time)).len(), 1);
        assert!(violations(&samples(3600, |time| 200.0 - time / 60.0)).is_empty());
    }

    #[test]
    fn memory_that_the_allocator_keeps_is_judged_once_it_has_settled() {
        let kept = |seconds| {
            let mut samples = samples(seconds, |time| 100.0 + time);
            samples.iter_mut().for_each(|sample| sample.allocated = 50 << 20);
            violations(&samples)
        };
        assert_eq!((kept(120).len(), kept(3600).len()), (0, 1));
    }

    #[test]
    fn threads_and_descriptors_that_pile_up_are_found() {
        let mut many = samples(100, |_| 100.0);
        for (index, sample) in many.iter_mut().enumerate() {
            sample.threads += index as u64 / 5;
            sample.descriptors += index as u64;
        }
        let found = violations(&many);
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
