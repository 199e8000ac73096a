//! Times and work of one batch.

use std::time::Duration;

use sed_model::{Level, operations::BatchWork};

use super::work::Work;

/// Names of the stages, in their order.
pub const STAGES: [&str; 6] =
    ["encode", "cost_map", "decode_level_1", "decode_level_2", "decode_level_3", "finish"];

/// The time of each of [`STAGES`].
pub type StageDurations = [Duration; STAGES.len()];

/// Times and work of one batch.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// The time as the host sees it.
    pub host: HostTimes,
    /// The time of each stage on a GPU's own clock; `None` on the CPU.
    pub on_device: Option<StageDurations>,
    /// The work of all images, by which operations are counted.
    pub work: BatchWork,
}

/// The time of a batch as the host sees it.
#[derive(Clone, Copy, Debug)]
pub enum HostTimes {
    /// The stages ran one after the other.
    Stages(StageDurations),
    /// All stages went as one submission; the host waits once, so it sees no stage.
    Submission {
        /// From pixels in pinned memory to raw results in the host's memory.
        submit: Duration,
        /// One thread's work to make maps of all raw results.
        answers: Duration,
    },
}

impl Taken {
    /// The time of the whole batch.
    pub fn total(&self) -> Duration {
        match self.host {
            HostTimes::Stages(stages) => stages.iter().sum(),
            HostTimes::Submission { submit, answers } => submit + answers,
        }
    }

    /// The time of a stage: the host's, of a submission the GPU's own.
    pub(super) fn stage(&self, index: usize) -> Option<Duration> {
        match self.host {
            HostTimes::Stages(stages) => Some(stages[index]),
            HostTimes::Submission { .. } => Some(self.on_device?[index]),
        }
    }
}

/// Counts the work of a batch; `entered` has the pairs of each image that entered each level. `each_level` says that
/// all rejections are computed where the first one is, as a submission does.
pub(super) fn work(batch: &[Work<'_>], entered: &[[usize; Level::COUNT]], each_level: bool) -> BatchWork {
    let candidates = |image: usize| batch[image].text.len();
    // Nothing is rejected where every image has at most `top_k` categories left.
    let can_reject = |left: &dyn Fn(usize) -> usize| {
        batch.iter().enumerate().any(|(image, work)| work.rejection.kept(left(image)) < left(image))
    };
    BatchWork {
        images: batch.len() as u64,
        candidates: (0..batch.len()).map(|image| candidates(image) as u64).sum(),
        survivors: Level::ALL.map(|level| entered.iter().map(|pairs| pairs[level.index()] as u64).sum()),
        rejects: Level::ALL.map(|level| match level.index().checked_sub(1) {
            Some(before) if !each_level => can_reject(&|image| entered[image][before]),
            _ => can_reject(&candidates),
        }),
    }
}

#[cfg(test)]
mod tests {
    use sed_model::Rejection;

    use super::*;

    #[test]
    fn a_submission_has_no_stages_but_those_of_the_device() {
        let ms = Duration::from_millis;
        let work = BatchWork { images: 1, candidates: 9, survivors: [9; 3], rejects: [false; 3] };
        let host = HostTimes::Submission { submit: ms(20), answers: ms(3) };
        let taken = Taken { host, on_device: Some([ms(2); 6]), work };
        assert_eq!((taken.total(), taken.stage(0)), (ms(23), Some(ms(2))));
        assert_eq!(Taken { on_device: None, ..taken }.stage(0), None);
        let staged = Taken { host: HostTimes::Stages([ms(4); 6]), ..taken };
        assert_eq!((staged.total(), staged.stage(5)), (ms(24), Some(ms(4))));
    }

    #[test]
    fn rejections_are_counted_where_they_are_computed() {
        let rejection = Rejection::from_top_k(4);
        let none = Work { picture: 0, text: &[], rejection };
        // Without words nothing is left to reject, whatever entered.
        let counted = work(&[none, none], &[[5, 3, 2], [7, 2, 1]], true);
        assert_eq!((counted.images, counted.candidates, counted.survivors), (2, 0, [12, 5, 3]));
        assert_eq!(counted.rejects, [false; 3]);
        assert_eq!(work(&[none, none], &[[5, 3, 2], [7, 2, 1]], false).rejects, [false, true, false]);
    }
}
