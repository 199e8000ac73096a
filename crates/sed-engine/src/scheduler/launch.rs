//! One launch of a stage on the device: its requests and its output.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{
    admission::cost_model::text_units,
    metrics::FlushReason,
    requests::vocabulary::Vocabulary,
    scheduler::{
        checks::{check_map, counted},
        images::distinct_images,
        launch_error::LaunchError,
        submission::submit,
        task::{Cut, Described, Encoding, Given, MaskTask, Masks, Sliced, Task, WordTask},
        ticket::Ticket,
    },
    stages::{
        Advanced, DecodeRequest, FinishedMap, Level, OutputSpec, StageError, Stages, Submitted,
        phrases::TokenPhrase, stage::Stage,
    },
};

/// A launch.
pub(crate) struct Launch<S: Stages> {
    pub(crate) work: Work<S>,
    /// Why it goes now; `None` for one that is tried again.
    pub(crate) reason: Option<FlushReason>,
}

/// The work of a launch.
pub(crate) enum Work<S: Stages> {
    Phrases(Phrases<S>),
    Encode(Vec<MaskTask<Encoding<S>>>),
    CostMap(Vec<MaskTask<Described<S>>>),
    Decode(Level, Vec<MaskTask<S::Pairs>>),
    Finish(Vec<MaskTask<S::Pairs>>),
    Part(Part<S>),
    /// All stages behind the words, for tasks of one station.
    Whole(Vec<MaskTask<Given<S>>>),
}

/// Phrases for the text tower.
pub(crate) struct Phrases<S: Stages> {
    pub(crate) phrases: Vec<TokenPhrase>,
    /// All requests that wait for them, while the launch runs.
    pub(crate) tasks: Vec<WordTask<S>>,
}

/// At most so many pairs of one request.
pub(crate) struct Part<S: Stages> {
    pub(crate) task: Box<MaskTask<Sliced<S>>>,
    pub(crate) most: usize,
}

/// The work of a launch that has succeeded, with one result for each phrase or request, or the progress of
/// one part.
pub(crate) enum Done<S: Stages> {
    Phrases((Phrases<S>, Vec<S::PhraseEmbedding>)),
    Encoded((Vec<MaskTask<Encoding<S>>>, Vec<S::ImageFeatures>)),
    /// The cost map or a decoder level, with the new pairs.
    Paired(Vec<MaskTask<S::Pairs>>),
    Finished((Vec<MaskTask<S::Pairs>>, Vec<FinishedMap>)),
    Part((Part<S>, Advanced<S::Pairs>)),
    Whole((Vec<MaskTask<Given<S>>>, Submitted<S::ImageFeatures>)),
}

/// A launch that has run.
pub(crate) struct Ended<S: Stages> {
    pub(crate) size: LaunchSize,
    /// A launch that failed is as it was before, so that it can be tried again.
    pub(crate) result: Result<Done<S>, (Launch<S>, LaunchError)>,
}

/// The size of a launch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaunchSize {
    pub(crate) stage: Stage,
    pub(crate) requests: usize,
    pub(crate) images: usize,
    /// (Image, category) pairs, or phrases; of a part, at most so many until it has run.
    pub(crate) pairs: usize,
    /// Units of the cost model; `None` for a part, since a stage in parts is learned from once it is over,
    /// and for a submission, since each of its stages has units of its own.
    pub(crate) units: Option<f64>,
}

impl<S: Stages> Launch<S> {
    /// Runs the launch.
    pub(crate) fn run(self, stages: &S) -> Ended<S> {
        let Self { work, reason } = self;
        let mut size = work.size();
        let result = work.run(stages).map_err(|(work, error)| (Self { work, reason }, error));
        if let Ok(Done::Part((_, advanced))) = &result {
            size.pairs = advanced.pairs;
        }
        Ended { size, result }
    }
}

impl<S: Stages> Work<S> {
    /// Phrases whose requests are at their station.
    pub(crate) fn phrases(phrases: Vec<TokenPhrase>) -> Self {
        Self::Phrases(Phrases { phrases, tasks: Vec::new() })
    }

    /// At most so many pairs of a request.
    pub(crate) fn part(task: MaskTask<Sliced<S>>, most: usize) -> Self {
        Self::Part(Part { task: Box::new(task), most })
    }

    /// Its stage, of a submission the first one.
    pub(crate) fn stage(&self) -> Stage {
        match self {
            Self::Phrases(_) => Stage::TextEmbedding,
            Self::Encode(_) => Stage::Encode,
            Self::CostMap(_) => Stage::CostMap,
            Self::Decode(level, _) => Stage::Decode(*level),
            Self::Finish(_) => Stage::Finish,
            Self::Part(part) => match part.task.state {
                Sliced::CostMap(_) => Stage::CostMap,
                Sliced::Decode(level, _) => Stage::Decode(level),
            },
            Self::Whole(tasks) => match tasks.first().map(|task| &task.state) {
                Some(Given::Features(_)) => Stage::CostMap,
                Some(Given::Pixels(_)) | None => Stage::Encode,
            },
        }
    }

    /// Its name in traces.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Whole(_) => "submission",
            work => work.stage().name(),
        }
    }

    /// The size of its launch, before that has run.
    pub(crate) fn size(&self) -> LaunchSize {
        let whole = |pairs: usize, requests| (requests, requests, pairs, Some(pairs as f64));
        let (requests, images, pairs, units) = match self {
            Self::Phrases(words) => {
                let units = words.phrases.iter().map(text_units).sum();
                (words.tasks.len(), 0, words.phrases.len(), Some(units))
            }
            Self::Encode(tasks) => {
                let images = distinct_images(tasks).1;
                (tasks.len(), images, 0, Some(images as f64))
            }
            Self::CostMap(tasks) => whole(pairs(tasks), tasks.len()),
            Self::Decode(_, tasks) => whole(pairs(tasks), tasks.len()),
            Self::Finish(tasks) => {
                let units = tasks.iter().map(|task| task.ticket.enlarged()).sum();
                (tasks.len(), tasks.len(), pairs(tasks), Some(units))
            }
            Self::Part(part) => (1, 1, part.task.ticket.pairs.min(part.most), None),
            Self::Whole(tasks) => (tasks.len(), distinct_images(tasks).1, pairs(tasks), None),
        };
        LaunchSize { stage: self.stage(), requests, images, pairs, units }
    }

    /// The tickets of the requests in it.
    pub(crate) fn tickets_mut(&mut self) -> Vec<&mut Ticket> {
        fn tickets<R, T>(tasks: &mut [Task<R, T>]) -> Vec<&mut Ticket> {
            tasks.iter_mut().map(|task| &mut *task.ticket).collect()
        }
        match self {
            Self::Phrases(words) => tickets(&mut words.tasks),
            Self::Encode(tasks) => tickets(tasks),
            Self::CostMap(tasks) => tickets(tasks),
            Self::Decode(_, tasks) | Self::Finish(tasks) => tickets(tasks),
            Self::Part(part) => vec![&mut *part.task.ticket],
            Self::Whole(tasks) => tickets(tasks),
        }
    }

    /// Divides the items of the work, requests or phrases: those for which `second` holds are the second
    /// result. The requests that wait for phrases are left out: they are at their station again.
    pub(crate) fn divided(self, second: impl Fn(usize) -> bool) -> (Option<Self>, Option<Self>) {
        match self {
            Self::Phrases(words) => divided(words.phrases, second, Self::phrases),
            Self::Encode(tasks) => divided(tasks, second, Self::Encode),
            Self::CostMap(tasks) => divided(tasks, second, Self::CostMap),
            Self::Decode(level, tasks) => divided(tasks, second, |tasks| Self::Decode(level, tasks)),
            Self::Finish(tasks) => divided(tasks, second, Self::Finish),
            Self::Whole(tasks) => divided(tasks, second, Self::Whole),
            part @ Self::Part(..) if second(0) => (None, Some(part)),
            part @ Self::Part(..) => (Some(part), None),
        }
    }

    /// Runs the work. A panic or an error leaves its requests as they were before.
    fn run(self, stages: &S) -> Result<Done<S>, (Self, LaunchError)> {
        match self {
            Self::Phrases(words) => {
                attempt(words, Self::Phrases, |words| embed(stages, &words.phrases)).map(Done::Phrases)
            }
            Self::Encode(tasks) => {
                attempt(tasks, Self::Encode, |tasks| encode(stages, tasks)).map(Done::Encoded)
            }
            Self::CostMap(tasks) => {
                attempt(tasks, Self::CostMap, |tasks| cost_map(stages, tasks)).map(paired)
            }
            Self::Decode(level, tasks) => {
                let again = |tasks| Self::Decode(level, tasks);
                attempt(tasks, again, |tasks| decode(stages, level, tasks)).map(paired)
            }
            Self::Finish(tasks) => {
                attempt(tasks, Self::Finish, |tasks| finish(stages, tasks)).map(Done::Finished)
            }
            Self::Part(part) => attempt(part, Self::Part, |part| advance(stages, part)).map(Done::Part),
            Self::Whole(tasks) => attempt(tasks, Self::Whole, |tasks| submit(stages, tasks)).map(Done::Whole),
        }
    }
}

/// Runs a stage over tasks. Returns them with the result, or as work with the error.
fn attempt<S: Stages, T, O>(
    mut tasks: T,
    again: impl FnOnce(T) -> Work<S>,
    stage: impl FnOnce(&mut T) -> Result<O, StageError>,
) -> Result<(T, O), (Work<S>, LaunchError)> {
    // The model is only read, and a task is only changed once its stage has succeeded.
    match catch_unwind(AssertUnwindSafe(|| stage(&mut tasks))) {
        Ok(Ok(made)) => Ok((tasks, made)),
        Ok(Err(error)) => Err((again(tasks), LaunchError::Stage(error))),
        Err(payload) => Err((again(tasks), LaunchError::of_panic(&*payload))),
    }
}

fn embed<S: Stages>(stages: &S, phrases: &[TokenPhrase]) -> Result<Vec<S::PhraseEmbedding>, StageError> {
    let texts: Vec<&str> = phrases.iter().map(TokenPhrase::text).collect();
    counted(stages.embed_phrases(&texts)?, texts.len())
}

fn encode<S: Stages>(
    stages: &S,
    tasks: &[MaskTask<Encoding<S>>],
) -> Result<Vec<S::ImageFeatures>, StageError> {
    let (numbers, count) = distinct_images(tasks);
    let mut inputs = Vec::with_capacity(count);
    for (task, &number) in tasks.iter().zip(&numbers) {
        if number == inputs.len() {
            inputs.push(task.state.pixels.values());
        }
    }
    let features = counted(stages.encode(&inputs)?, count)?;
    Ok(numbers.into_iter().map(|number| features[number].clone()).collect())
}

fn cost_map<'a, S: Stages>(
    stages: &S,
    tasks: &'a [MaskTask<Described<S>>],
) -> Result<Vec<S::Pairs>, StageError> {
    let request = |task: &'a MaskTask<Described<S>>| {
        decode_request((&task.ticket.vocabulary, &task.request), &task.state)
    };
    counted(stages.cost_map(&tasks.iter().map(request).collect::<Vec<_>>())?, tasks.len())
}

fn decode_request<'a, S: Stages>(
    (vocabulary, request): (&'a Vocabulary, &Masks),
    image: &'a Described<S>,
) -> DecodeRequest<'a, S::ImageFeatures, S::TextEmbedding> {
    DecodeRequest {
        features: &image.features,
        text: &image.text,
        groups: vocabulary.groups(),
        rejection: request.rejection,
    }
}

fn decode<S: Stages>(
    stages: &S,
    level: Level,
    tasks: &[MaskTask<S::Pairs>],
) -> Result<Vec<S::Pairs>, StageError> {
    let batch = tasks.iter().map(|task| task.state.clone()).collect();
    counted(stages.decode(level, batch)?, tasks.len())
}

fn finish<S: Stages>(stages: &S, tasks: &[MaskTask<S::Pairs>]) -> Result<Vec<FinishedMap>, StageError> {
    let batch = tasks.iter().map(|task| task.state.clone()).collect();
    let outputs: Vec<OutputSpec> = tasks.iter().map(|task| task.request.output.clone()).collect();
    let maps = counted(stages.finish(batch, &outputs)?, tasks.len())?;
    for ((map, output), task) in maps.iter().zip(&outputs).zip(tasks) {
        check_map(map, output, task.ticket.vocabulary.all_categories().len())?;
    }
    Ok(maps)
}

fn advance<S: Stages>(stages: &S, part: &mut Part<S>) -> Result<Advanced<S::Pairs>, StageError> {
    let (task, most) = (&mut *part.task, part.most);
    let asked = (&task.ticket.vocabulary, &*task.request);
    match &mut task.state {
        Sliced::CostMap(cut) => {
            next_part(stages, cut, most, |image| stages.cost_map_parts(&decode_request(asked, image)))
        }
        Sliced::Decode(level, cut) => {
            next_part(stages, cut, most, |pairs| stages.decode_parts(*level, pairs.clone()))
        }
    }
}

/// Works on the next part of a task, and before the first one begins its parts.
fn next_part<S: Stages, T>(
    stages: &S,
    cut: &mut Cut<T, S::Parts>,
    most: usize,
    begin: impl Fn(&T) -> Result<S::Parts, StageError>,
) -> Result<Advanced<S::Pairs>, StageError> {
    loop {
        match cut {
            Cut::Parts(parts) => return stages.advance(parts, most),
            Cut::Whole(whole) => *cut = Cut::Parts(begin(whole)?),
        }
    }
}

fn paired<S: Stages, T>((tasks, pairs): (Vec<MaskTask<T>>, Vec<S::Pairs>)) -> Done<S> {
    Done::Paired(tasks.into_iter().zip(pairs).map(|(task, pairs)| task.map(|_| pairs)).collect())
}

fn pairs<T>(tasks: &[MaskTask<T>]) -> usize {
    tasks.iter().map(|task| task.ticket.pairs).sum()
}

fn divided<T, W>(
    all: Vec<T>,
    second: impl Fn(usize) -> bool,
    work: impl Fn(Vec<T>) -> W,
) -> (Option<W>, Option<W>) {
    let (out, rest): (Vec<_>, Vec<_>) = all.into_iter().enumerate().partition(|(index, _)| second(*index));
    let [rest, out] = [rest, out].map(|items| items.into_iter().map(|(_, item)| item).collect::<Vec<T>>());
    ((!rest.is_empty()).then(|| work(rest)), (!out.is_empty()).then(|| work(out)))
}
