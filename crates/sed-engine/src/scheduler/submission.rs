//! Requests that go through all stages behind their words in one launch.

use crate::{
    scheduler::{
        checks::{check_survivors, counted},
        images::distinct_images,
        task::{Described, Encoding, Given, MaskTask},
    },
    stages::{Question, Source, StageError, Stages, Submitted},
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
