//! Flags for the pace and the length of a load.

use std::time::Duration;

use clap::Args;
use sed_bench::run::{Bounds, End, Pace};
use serde_json::{Value, json};

use crate::args::seconds;

/// Duration of a run without `--duration` and `--requests`.
const USUAL: Duration = Duration::from_secs(10);
/// Upper bound of `--max-outstanding`.
const MOST_OUTSTANDING: u32 = 65_536;

/// Length of a run, or of a step of a sweep.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct BoundsArgs {
    /// Duration of the measurement. [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "requests")]
    duration: Option<Duration>,

    /// Number of requests to measure, instead of a duration.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    requests: Option<u64>,

    /// Time to send requests before any of them counts.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds_or_none)]
    warm_up: Duration,

    /// Do not embed the vocabularies before the run: the first requests include that work.
    #[arg(long)]
    pub(crate) cold: bool,
}

/// Flags for the pace of requests.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct PaceArgs {
    /// Closed loop: so many clients, each of which sends its next request when its last is answered.
    /// [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    clients: Option<u32>,

    /// Open loop: so many requests a second, at random times, whatever becomes of them. Latency counts from
    /// the time at which a request was due.
    #[arg(long, value_name = "PER_SECOND", value_parser = rate, conflicts_with = "clients")]
    rate: Option<f64>,

    #[command(flatten)]
    outstanding: OutstandingArgs,
}

/// The bound of an open loop.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct OutstandingArgs {
    /// In an open loop, requests that may be outstanding; one that is due beyond them is dropped, and counted
    /// as such.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=MOST_OUTSTANDING as i64))]
    max_outstanding: u32,
}

/// Parses a rate in requests per second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1e6).contains(rate));
    rate.ok_or_else(|| "expected requests a second, 0.001 to 1000000".to_owned())
}

fn seconds_or_none(text: &str) -> Result<Duration, String> {
    if text == "0" {
        Ok(Duration::ZERO)
    } else {
        seconds(text).map_err(|_| "expected seconds, or 0".to_owned())
    }
}

impl BoundsArgs {
    pub(crate) fn bounds(&self) -> Bounds {
        let end = match self.requests {
            Some(requests) => End::Requests(requests),
            None => End::After(self.duration.unwrap_or(USUAL)),
        };
        Bounds { warm_up: self.warm_up, end }
    }

    /// The parameters in the JSON results.
    pub(crate) fn describe(&self) -> Value {
        let Bounds { warm_up, end } = self.bounds();
        let (duration, requests) = match end {
            End::After(time) => (Some(time.as_secs_f64()), None),
            End::Requests(requests) => (None, Some(requests)),
        };
        json!({
            "duration_seconds": duration,
            "requests": requests,
            "warm_up_seconds": warm_up.as_secs_f64(),
            "cold": self.cold,
        })
    }
}

impl OutstandingArgs {
    /// An open loop of a rate.
    pub(crate) fn open(&self, rate: f64) -> Pace {
        Pace::Open { rate, most: self.max_outstanding as usize }
    }
}

impl PaceArgs {
    pub(crate) fn pace(&self) -> Pace {
        match self.rate {
            Some(rate) => self.outstanding.open(rate),
            None => closed(self.clients.unwrap_or(4)),
        }
    }
}

/// A closed loop of some clients.
pub(crate) fn closed(clients: u32) -> Pace {
    Pace::Closed { clients: clients as usize }
}

/// A pace in words.
pub(crate) fn in_words(pace: Pace) -> String {
    match pace {
        Pace::Closed { clients: 1 } => "closed loop, 1 client".to_owned(),
        Pace::Closed { clients } => format!("closed loop, {clients} clients"),
        Pace::Open { rate, .. } => format!("open loop, {} requests/s", figure(rate)),
    }
}

/// A rate with three digits or so.
pub(crate) fn figure(value: f64) -> String {
    match value {
        value if value >= 99.95 => format!("{value:.0}"),
        value if value >= 9.995 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        assert_eq!([0.125, 9.999, 12.34, 99.99, 1234.5].map(figure), ["0.12", "10.0", "12.3", "100", "1234"]);
    }

    #[test]
    fn rates_and_times_are_bounded() {
        assert_eq!(rate("12.5"), Ok(12.5));
        assert!(["0", "-1", "inf", "NaN", "x"].iter().all(|text| rate(text).is_err()));
        assert_eq!(seconds_or_none("0"), Ok(Duration::ZERO));
        assert!(seconds_or_none("-1").is_err());
    }
}
