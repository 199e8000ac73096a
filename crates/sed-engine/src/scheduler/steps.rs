//! The stages of a submission, whose times are the device's.

use std::time::Duration;

use crate::{
    scheduler::{
        launch::LaunchSize,
        ran::Ran,
        task::{Given, MaskTask},
    },
    stages::{Level, StageTimes, Stages, Submitted, stage::Stage},
};

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
}
