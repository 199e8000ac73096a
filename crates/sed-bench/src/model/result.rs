//! The figures of one combination.

use std::time::Duration;

use sed_model::{config::SedConfig, operations::Operations};
use serde::Serialize;

use super::{
    grid::Cell,
    memory::PeakOf,
    taken::{HostTimes, STAGES, Taken},
};

/// One combination, measured; times are medians over the rounds, of a whole batch.
#[derive(Clone, Debug, Serialize)]
pub struct CellResult {
    /// The device.
    pub device: String,
    /// The number format.
    pub dtype: String,
    /// The combination.
    #[serde(flatten)]
    pub cell: Cell,
    /// Number of measured rounds.
    pub rounds: usize,
    /// All stages as the host sees them, one after the other.
    pub batch_ms: f64,
    /// All stages on a GPU's own clock; `None` on the CPU.
    pub device_ms: Option<f64>,
    /// The parts of `batch_ms` where all stages go as one submission, on a GPU; `None` on the CPU.
    pub submission: Option<SubmissionResult>,
    /// Images a second.
    pub images_per_second: f64,
    /// Pairs that went into each decoder level, a mean over images.
    pub survivors: [f64; 3],
    /// The stages in their order.
    pub stages: Vec<StageResult>,
    /// All stages together.
    pub work: Arithmetic,
    /// The peak of this program's memory; `None` where the system does not report it.
    pub peak_memory_bytes: Option<u64>,
    /// The scope of that peak.
    pub peak_memory_of: PeakOf,
}

/// A batch that goes as one submission, as the host sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SubmissionResult {
    /// From pixels in pinned memory to raw results in the host's memory.
    pub submit_ms: f64,
    /// One thread's work to make maps of all raw results. A server does it while the next batch is on the device.
    pub answers_ms: f64,
}

/// One stage of a combination.
#[derive(Clone, Debug, Serialize)]
pub struct StageResult {
    /// Its name, one of [`STAGES`].
    pub stage: &'static str,
    /// As the host sees it; `None` within a submission.
    pub median_ms: Option<f64>,
    /// On a GPU's own clock; `None` on the CPU.
    pub device_ms: Option<f64>,
    /// `None` for the last stage, which resamples and compares. Within a submission by the GPU's own clock.
    pub work: Option<Arithmetic>,
}

impl StageResult {
    /// The time in milliseconds as the host sees it, within a submission on the GPU's own clock.
    pub fn ms(&self) -> f64 {
        self.median_ms.or(self.device_ms).unwrap_or(f64::NAN)
    }
}

/// Arithmetic of a whole batch, and its speed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Arithmetic {
    /// GFLOP of this implementation, a mean over the rounds.
    pub gflop: f64,
    /// GFLOP of the same work in the official order.
    pub reference_gflop: f64,
    /// `gflop` per second.
    pub gflops: f64,
    /// Share of the machine's peak in the number format of the weights; `None` where that was not measured.
    pub share_of_peak: Option<f64>,
}

impl Arithmetic {
    /// Work of `macs` multiply-accumulates (`reference` in the official order) in `ms`, at a peak in GFLOP/s.
    pub(super) fn new(macs: f64, reference: f64, ms: f64, peak: Option<f64>) -> Self {
        let gflop = 2.0 * macs / 1e9;
        let gflops = gflop / (ms / 1e3).max(1e-12);
        let share_of_peak = peak.map(|peak| gflops / peak);
        Self { gflop, reference_gflop: 2.0 * reference / 1e9, gflops, share_of_peak }
    }
}

/// The facts that all results of a model share.
#[derive(Clone, Debug)]
pub(super) struct Subject<'a> {
    pub(super) device: &'a str,
    pub(super) dtype: &'a str,
    pub(super) config: &'a SedConfig,
    /// In GFLOP/s.
    pub(super) peak: Option<f64>,
}

impl CellResult {
    /// Sums up the rounds of a combination; `None` if no round was measured.
    pub(super) fn of(
        subject: &Subject<'_>,
        cell: Cell,
        taken: &[Taken],
        memory: (Option<u64>, PeakOf),
    ) -> Option<Self> {
        let batch_ms = median_ms(taken.iter().map(Taken::total))?;
        let rounds = taken.len() as f64;
        let macs = |operations: Operations, stage: usize| {
            let counted = taken.iter().filter_map(|taken| operations.stages(&taken.work).get(stage).copied());
            counted.map(|macs| macs as f64).sum::<f64>() / rounds
        };
        let (ours, reference) =
            (Operations::rearranged(subject.config), Operations::reference(subject.config));
        let counted = ours.stages(&taken.first()?.work).len();
        let device = |of: &dyn Fn(&[Duration]) -> Duration| {
            median_ms(taken.iter().filter_map(|taken| Some(of(&taken.on_device?))))
        };
        let submission = |part: fn(HostTimes) -> Option<Duration>| {
            median_ms(taken.iter().filter_map(|taken| part(taken.host)))
        };
        let submit = submission(|host| match host {
            HostTimes::Submission { submit, .. } => Some(submit),
            HostTimes::Stages(_) => None,
        });
        let answers = submission(|host| match host {
            HostTimes::Submission { answers, .. } => Some(answers),
            HostTimes::Stages(_) => None,
        });
        let submission = submit.zip(answers);
        let stage = |(index, stage): (usize, &&'static str)| {
            let ms = median_ms(taken.iter().filter_map(|taken| taken.stage(index)))?;
            let work = (index < counted)
                .then(|| Arithmetic::new(macs(ours, index), macs(reference, index), ms, subject.peak));
            let (median_ms, device_ms) = (submission.is_none().then_some(ms), device(&|times| times[index]));
            Some(StageResult { stage, median_ms, device_ms, work })
        };
        let all = |operations: Operations| (0..counted).map(|stage| macs(operations, stage)).sum();
        let survivors = |level: usize| {
            let pairs: u64 = taken.iter().map(|taken| taken.work.survivors[level]).sum();
            pairs as f64 / (cell.batch as f64 * rounds)
        };
        Some(Self {
            device: subject.device.to_owned(),
            dtype: subject.dtype.to_owned(),
            cell,
            rounds: taken.len(),
            batch_ms,
            device_ms: device(&|times| times.iter().sum()),
            submission: submission.map(|(submit_ms, answers_ms)| SubmissionResult { submit_ms, answers_ms }),
            images_per_second: cell.batch as f64 / (batch_ms / 1e3),
            survivors: [0, 1, 2].map(survivors),
            stages: STAGES.iter().enumerate().filter_map(stage).collect(),
            work: Arithmetic::new(all(ours), all(reference), batch_ms, subject.peak),
            peak_memory_bytes: memory.0,
            peak_memory_of: memory.1,
        })
    }

    /// The largest mean number of pairs of an image at any level.
    pub(super) fn most_survivors(&self) -> f64 {
        self.survivors.iter().copied().fold(0.0, f64::max)
    }
}

/// The median in milliseconds; `None` without times.
pub(super) fn median_ms(times: impl Iterator<Item = Duration>) -> Option<f64> {
    let mut times: Vec<f64> = times.map(|time| time.as_secs_f64() * 1e3).collect();
    times.sort_by(f64::total_cmp);
    let (low, high) = (times.len().checked_sub(1)? / 2, times.len() / 2);
    Some(f64::midpoint(times[low], times[high]))
}

#[cfg(test)]
mod tests {
    use sed_model::{Rejection, operations::BatchWork};

    use super::*;

    #[test]
    fn medians_lie_in_the_middle() {
        let median = |times: &[u64]| median_ms(times.iter().map(|&time| Duration::from_millis(time)));
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[7]), Some(7.0));
        assert_eq!(median(&[9, 1, 5]), Some(5.0));
        assert_eq!(median(&[9, 1, 5, 6]), Some(5.5));
    }

    #[test]
    fn work_is_counted_by_stage_and_held_against_the_peak() {
        let config = SedConfig::sed_b();
        let subject = Subject { device: "cpu", dtype: "f32", config: &config, peak: Some(200.0) };
        let taken = |survivors: u64| Taken {
            host: HostTimes::Stages([2000, 50, 100, 100, 100, 10].map(Duration::from_millis)),
            on_device: None,
            work: BatchWork { images: 1, candidates: 150, survivors: [survivors; 3], rejects: [true; 3] },
        };
        let cell = Cell { categories: 150, rejection: Rejection::from_top_k(8), batch: 1 };
        let memory = (Some(1 << 30), PeakOf::Combination);
        let result = CellResult::of(&subject, cell, &[taken(10), taken(20)], memory).unwrap();
        assert_eq!((result.survivors, result.most_survivors()), ([15.0; 3], 15.0));
        assert_eq!(result.batch_ms, 2360.0);
        let encode = result.stages[0].work.unwrap();
        // 180.9 GMAC, the guidance and its part of the first convolutions, in two seconds.
        assert!((encode.gflop - 364.0).abs() < 0.5, "{encode:?}");
        assert!((encode.gflops - encode.gflop / 2.0).abs() < 1e-9);
        assert!((encode.share_of_peak.unwrap() - encode.gflops / 200.0).abs() < 1e-12);
        assert!(result.stages[5].work.is_none());
        let sum: f64 = result.stages.iter().filter_map(|stage| Some(stage.work?.gflop)).sum();
        assert!((sum - result.work.gflop).abs() < 1e-9);
        assert!(result.work.reference_gflop > result.work.gflop);
        assert!(CellResult::of(&subject, cell, &[], memory).is_none());
        assert_eq!((result.device_ms, result.stages[0].device_ms, result.submission), (None, None, None));
        assert_eq!((result.stages[0].median_ms, result.stages[5].ms()), (Some(2000.0), 10.0));
    }

    #[test]
    fn the_stages_of_a_submission_have_the_devices_times() {
        let config = SedConfig::sed_b();
        let subject = Subject { device: "cuda:0", dtype: "bf16", config: &config, peak: None };
        let taken = |encode: u64| Taken {
            host: HostTimes::Submission {
                submit: Duration::from_millis(encode + 12),
                answers: Duration::from_millis(3),
            },
            on_device: Some([encode, 1, 1, 1, 1, 1].map(Duration::from_millis)),
            work: BatchWork { images: 1, candidates: 9, survivors: [9; 3], rejects: [false; 3] },
        };
        let cell = Cell { categories: 9, rejection: Rejection::Off, batch: 1 };
        let rounds = [taken(30), taken(10), taken(20)];
        let result = CellResult::of(&subject, cell, &rounds, (None, PeakOf::Program)).unwrap();
        assert_eq!((result.batch_ms, result.device_ms), (35.0, Some(25.0)));
        assert_eq!(result.submission, Some(SubmissionResult { submit_ms: 32.0, answers_ms: 3.0 }));
        let [encode, .., finish] = result.stages.as_slice() else { panic!("{result:?}") };
        assert_eq!((encode.median_ms, encode.device_ms, encode.ms()), (None, Some(20.0), 20.0));
        assert_eq!((finish.median_ms, finish.device_ms), (None, Some(1.0)));
        let work = encode.work.unwrap();
        assert!((work.gflops - work.gflop / 0.02).abs() < 1e-6 * work.gflops, "{work:?}");
    }
}
