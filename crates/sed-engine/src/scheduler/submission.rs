//! Requests that go through all stages behind their words in one launch.

use std::time::Duration;

use crate::{
    scheduler::{
        aftermath::Ran,
        launch::{LaunchSize, counted, distinct_images},
        task::{Described, Encoding, Given, MaskTask},
    },
    stages::{Level, Question, Source, StageError, StageTimes, Stages, Submitted, stage::Stage},
};

/// Runs all stages for tasks. An image that several of them ask about is encoded once.
pub(super) fn submit<S: Stages>(
    stages: &S,
    tasks: &[MaskTask<Given<S>>],
) -> Result<Submitted<S::ImageFeatures>, StageError> {
    let (mut inputs, mut keep, mut questions) = (Vec::new(), Vec::new(), Vec::with_capacity(tasks.len()));
    for (task, number) in tasks.iter().zip(distinct_images(tasks).0) {
        let (text, image) = match &task.state {
            Given::Pixels(Encoding { text, pixels }) => {
                if number == inputs.len() {
                    inputs.push(&**pixels);
                    keep.push(task.request.facts.is_some());
                }
                (text, Source::Input(number))
            }
            Given::Features(Described { text, features }) => (text, Source::Features(features)),
        };
        let (groups, rejection) = (task.ticket.vocabulary.groups(), task.request.rejection);
        questions.push(Question { image, text, groups, rejection, output: &task.request.output });
    }
    let mut submitted = stages.submit(&inputs, &keep, &questions)?;
    submitted.features = counted(submitted.features, inputs.len())?;
    submitted.answers = counted(submitted.answers, tasks.len())?;
    for (task, answer) in tasks.iter().zip(&submitted.answers) {
        check_survivors(&answer.survivors, task.ticket.pairs)?;
    }
    Ok(submitted)
}

/// Checks the pairs that entered the levels, of so many in all, since later code indexes by them.
fn check_survivors(survivors: &[Vec<u32>; Level::COUNT], all: usize) -> Result<(), StageError> {
    let are_rising = survivors.iter().all(|level| level.is_sorted_by(|a, b| a < b));
    let are_pairs = survivors.iter().filter_map(|level| level.last()).all(|last| (*last as usize) < all);
    if are_rising && are_pairs {
        Ok(())
    } else {
        Err(StageError::Failed(format!("gave survivors that are not among {all} pairs, rising")))
    }
}

/// A stage of a submission: its size, and when it ran.
pub(super) type Step = (LaunchSize, Ran);

/// The stages of a submission that ran, in order. They follow each other without a gap: what the host adds to
/// the device's times belongs to the last.
pub(super) fn steps<S: Stages>(
    tasks: &[MaskTask<Given<S>>],
    submitted: &Submitted<S::ImageFeatures>,
    ran: Ran,
) -> Vec<Step> {
    let (requests, images) = (tasks.len(), submitted.features.len());
    let all = tasks.iter().map(|task| task.ticket.pairs).sum();
    let left = |level: Level| {
        let answers = submitted.answers.iter();
        answers.map(|answer| answer.survivors[level.index()].len()).sum::<usize>()
    };
    let enlarged = tasks.iter().zip(&submitted.answers).map(|(task, answer)| {
        answer.survivors[Level::Three.index()].len() as f64 * task.ticket.demand.enlargement
    });
    let enlarged = enlarged.sum();
    let with_encoder = images > 0;
    spans(&submitted.times, with_encoder, ran)
        .into_iter()
        .map(|(stage, ran)| {
            let (images, pairs, units) = match stage {
                Stage::TextEmbedding | Stage::Encode => (images, 0, images as f64),
                Stage::CostMap => (requests, all, all as f64),
                Stage::Decode(level) => (requests, left(level), left(level) as f64),
                Stage::Finish => (requests, left(Level::Three), enlarged),
            };
            (LaunchSize { stage, requests, images, pairs, units: Some(units) }, ran)
        })
        .collect()
}

/// When each stage ran. Without an encoder all time before the levels is the cost map's.
fn spans(times: &StageTimes, with_encoder: bool, ran: Ran) -> Vec<(Stage, Ran)> {
    let cost_map = if with_encoder { times.cost_map } else { times.encode + times.cost_map };
    let mut spans = Vec::with_capacity(Stage::COUNT);
    let mut begun = ran.begun;
    let mut add = |stage: Stage, time: Option<Duration>| {
        let ended = time.map_or(ran.ended, |time| (begun + time).min(ran.ended)).max(begun);
        spans.push((stage, Ran { begun, ended }));
        begun = ended;
    };
    if with_encoder {
        add(Stage::Encode, Some(times.encode));
    }
    add(Stage::CostMap, Some(cost_map));
    Level::ALL.into_iter().for_each(|level| add(Stage::Decode(level), Some(times.levels[level.index()])));
    add(Stage::Finish, None);
    spans
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn milliseconds(with_encoder: bool, host: u32) -> Vec<u128> {
        let levels = [MS * 3, MS * 4, MS * 5];
        let times = StageTimes { encode: MS, cost_map: MS * 2, levels, finish: MS * 6 };
        let begun = Instant::now();
        let ran = Ran { begun, ended: begun + MS * host };
        let spans = spans(&times, with_encoder, ran);
        assert!(spans.windows(2).all(|pair| pair[0].1.ended == pair[1].1.begun));
        assert_eq!((spans[0].1.begun, spans[spans.len() - 1].1.ended), (begun, ran.ended));
        spans.iter().map(|(_, ran)| ran.time().as_millis()).collect()
    }

    #[test]
    fn stages_follow_each_other_and_add_up_to_the_hosts_time() {
        assert_eq!(milliseconds(true, 30), [1, 2, 3, 4, 5, 15]);
        assert_eq!(milliseconds(false, 30), [3, 3, 4, 5, 15]);
        // A device's clock that is ahead of the host's.
        assert_eq!(milliseconds(true, 8), [1, 2, 3, 2, 0, 0]);
    }

    #[test]
    fn survivors_rise_and_are_pairs() {
        let check = |level: &[u32]| check_survivors(&[vec![0, 1, 3], level.to_vec(), Vec::new()], 4).is_ok();
        assert!(check(&[1, 3]) && check(&[]));
        assert!(!check(&[1, 4]) && !check(&[1, 1]) && !check(&[3, 1]));
    }
}
