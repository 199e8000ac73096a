//! One launch of a stage on the device: its requests and its output.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::{
    error::panic_message,
    feature_cache::ImageKey,
    job::JobImage,
    metrics::FlushReason,
    phrases::TokenPhrase,
    report::Stage,
    stages::{Advanced, DecodeRequest, FinishedMap, Level, OutputSpec, StageError, Stages},
    task::{Pairs, Task, Words},
};

/// A launch.
pub(crate) struct Launch<S: Stages> {
    pub(crate) stage: Stage,
    pub(crate) work: Work<S>,
    /// Why it goes now; `None` for one that is tried again.
    pub(crate) reason: Option<FlushReason>,
}

/// The work of a launch.
pub(crate) enum Work<S: Stages> {
    /// Phrases for the text tower, for all requests that wait for them.
    Phrases(Vec<TokenPhrase>),
    /// Requests, whole.
    Tasks(Vec<Task<S>>),
    /// At most so many pairs of one request.
    Part(Box<Task<S>>, usize),
}

/// The output of a launch: one entry for each phrase or request, or the progress of one part.
pub(crate) enum Output<S: Stages> {
    Phrases(Vec<S::PhraseEmbedding>),
    Features(Vec<S::ImageFeatures>),
    Pairs(Vec<S::Pairs>),
    Maps(Vec<FinishedMap>),
    Part(Advanced<S::Pairs>),
}

/// The error of a launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LaunchError {
    OutOfMemory(String),
    Lost(String),
    NotFinite { found: usize, of: usize },
    Failed(String),
    Panicked(String),
}

impl From<StageError> for LaunchError {
    fn from(error: StageError) -> Self {
        match error {
            StageError::OutOfMemory(message) => Self::OutOfMemory(message),
            StageError::DeviceLost(message) => Self::Lost(message),
            StageError::NotFinite { found, of } => Self::NotFinite { found, of },
            StageError::Failed(message) => Self::Failed(message),
        }
    }
}

impl<S: Stages> Work<S> {
    /// The requests in it. Phrases have none of their own.
    pub(crate) fn into_tasks(self) -> Vec<Task<S>> {
        match self {
            Self::Phrases(_) => Vec::new(),
            Self::Tasks(tasks) => tasks,
            Self::Part(task, _) => vec![*task],
        }
    }
}

impl<S: Stages> Launch<S> {
    /// Images and (image, category) pairs, or phrases, that it works on; of a part, at most so many.
    pub(crate) fn size(&self) -> (usize, usize) {
        match &self.work {
            Work::Phrases(phrases) => (0, phrases.len()),
            Work::Tasks(tasks) if self.stage == Stage::Encode => (distinct_images(tasks).1, 0),
            Work::Tasks(tasks) => (tasks.len(), tasks.iter().map(|task| task.units(self.stage)).sum()),
            Work::Part(task, most) => (1, task.units(self.stage).min(*most)),
        }
    }

    /// The size of a launch that has run: of a part, the pairs that it really had.
    pub(crate) fn worked_on(&self, result: &Result<Output<S>, LaunchError>) -> (usize, usize) {
        match result {
            Ok(Output::Part(advanced)) => (1, advanced.pairs),
            _ => self.size(),
        }
    }

    /// The requests in it. A launch of phrases has none of its own.
    pub(crate) fn tasks(&self) -> &[Task<S>] {
        match &self.work {
            Work::Phrases(_) => &[],
            Work::Tasks(tasks) => tasks,
            Work::Part(task, _) => std::slice::from_ref(task),
        }
    }

    /// The requests in it, to change.
    pub(crate) fn tasks_mut(&mut self) -> &mut [Task<S>] {
        match &mut self.work {
            Work::Phrases(_) => &mut [],
            Work::Tasks(tasks) => tasks,
            Work::Part(task, _) => std::slice::from_mut(task),
        }
    }

    /// Runs the launch. A panic or an error leaves its requests as they were before, so that it can be tried
    /// again.
    pub(crate) fn run(&mut self, stages: &S) -> Result<Output<S>, LaunchError> {
        // The model is only read, and the requests are only changed once their stage has succeeded.
        match catch_unwind(AssertUnwindSafe(|| self.run_unguarded(stages))) {
            Ok(outcome) => Ok(outcome?),
            Err(payload) => {
                Err(LaunchError::Panicked(panic_message(&*payload).unwrap_or("without a message").to_owned()))
            }
        }
    }

    fn run_unguarded(&mut self, stages: &S) -> Result<Output<S>, StageError> {
        let stage = self.stage;
        match &mut self.work {
            Work::Phrases(phrases) => {
                let texts: Vec<&str> = phrases.iter().map(TokenPhrase::text).collect();
                Ok(Output::Phrases(counted(stages.embed_phrases(&texts)?, texts.len())?))
            }
            Work::Tasks(tasks) => match stage {
                Stage::TextEmbedding => {
                    Err(StageError::Failed("requests have no launch for their words".into()))
                }
                Stage::Encode => encode(stages, tasks).map(Output::Features),
                Stage::CostMap => cost_map(stages, tasks).map(Output::Pairs),
                Stage::Decode(level) => decode(stages, level, tasks).map(Output::Pairs),
                Stage::Finish => finish(stages, tasks).map(Output::Maps),
            },
            Work::Part(task, most) => advance(stages, stage, task, *most).map(Output::Part),
        }
    }
}

/// For each task the number of its image among the different images, and the number of these.
fn distinct_images<S: Stages>(tasks: &[Task<S>]) -> (Vec<usize>, usize) {
    let mut numbers: HashMap<ImageKey, usize> = HashMap::new();
    let mut count = 0;
    let of_task = tasks.iter().map(|task| {
        let fresh = count;
        let number = match image_key(task) {
            Some(key) => *numbers.entry(key).or_insert(fresh),
            None => fresh,
        };
        count = count.max(number + 1);
        number
    });
    (of_task.collect(), count)
}

/// For each task whether no task before it has the same image.
pub(crate) fn first_of_its_image<S: Stages>(tasks: &[Task<S>]) -> Vec<bool> {
    let mut known = 0;
    let first = |number: usize| {
        let is_first = number == known;
        known += usize::from(is_first);
        is_first
    };
    distinct_images(tasks).0.into_iter().map(first).collect()
}

/// The cache key of a task's image.
pub(crate) fn image_key<S: Stages>(task: &Task<S>) -> Option<ImageKey> {
    match &task.job()?.image {
        JobImage::Pixels { facts, .. } => facts.map(|facts| facts.key),
        JobImage::Cached(image) => Some(image.facts().key),
    }
}

fn encode<S: Stages>(stages: &S, tasks: &[Task<S>]) -> Result<Vec<S::ImageFeatures>, StageError> {
    let (numbers, count) = distinct_images(tasks);
    let mut inputs = Vec::with_capacity(count);
    for (task, &number) in tasks.iter().zip(&numbers) {
        if number == inputs.len() {
            let pixels = task.encoding.as_deref();
            inputs.push(pixels.ok_or_else(|| StageError::Failed("an image has no pixels".into()))?);
        }
    }
    let features = counted(stages.encode(&inputs)?, count)?;
    Ok(numbers.into_iter().map(|number| features[number].clone()).collect())
}

fn cost_map<S: Stages>(stages: &S, tasks: &[Task<S>]) -> Result<Vec<S::Pairs>, StageError> {
    let requests = tasks.iter().map(decode_request).collect::<Result<Vec<_>, _>>()?;
    counted(stages.cost_map(&requests)?, tasks.len())
}

fn decode_request<S: Stages>(
    task: &Task<S>,
) -> Result<DecodeRequest<'_, S::ImageFeatures, S::TextEmbedding>, StageError> {
    match (&task.features, &task.words, task.job()) {
        (Some(features), Words::Ready(text), Some(job)) => {
            Ok(DecodeRequest { features, text, rejection: job.rejection })
        }
        _ => Err(StageError::Failed("a request has no features or no words yet".into())),
    }
}

fn decode<S: Stages>(stages: &S, level: Level, tasks: &[Task<S>]) -> Result<Vec<S::Pairs>, StageError> {
    let batch = tasks.iter().map(whole).collect::<Result<_, _>>()?;
    counted(stages.decode(level, batch)?, tasks.len())
}

fn whole<S: Stages>(task: &Task<S>) -> Result<S::Pairs, StageError> {
    match &task.pairs {
        Pairs::Whole(pairs) => Ok(pairs.clone()),
        Pairs::None | Pairs::Parts(_) => Err(StageError::Failed("a request has no pairs yet".into())),
    }
}

fn finish<S: Stages>(stages: &S, tasks: &[Task<S>]) -> Result<Vec<FinishedMap>, StageError> {
    let batch = tasks.iter().map(whole).collect::<Result<_, _>>()?;
    let outputs: Vec<OutputSpec> = tasks.iter().filter_map(|task| Some(task.job()?.output)).collect();
    let maps = counted(stages.finish(batch, &outputs)?, tasks.len())?;
    for ((map, output), task) in maps.iter().zip(&outputs).zip(tasks) {
        check_map(map, output, task.ticket.vocabulary().size())?;
    }
    Ok(maps)
}

/// Checks the sizes of the model's map and counts, since later code indexes by them.
fn check_map(map: &FinishedMap, output: &OutputSpec, categories: usize) -> Result<(), StageError> {
    let area = map.width as usize * map.height as usize;
    let sizes_fit = (map.width, map.height) == (output.width, output.height)
        && map.indices.len() == area
        && map.pixels.len() == categories
        && map.mean_scores.len() == categories;
    if sizes_fit {
        Ok(())
    } else {
        Err(StageError::Failed("gave a map of another size than asked for".into()))
    }
}

fn advance<S: Stages>(
    stages: &S,
    stage: Stage,
    task: &mut Task<S>,
    most: usize,
) -> Result<Advanced<S::Pairs>, StageError> {
    if !matches!(task.pairs, Pairs::Parts(_)) {
        let parts = match stage {
            Stage::Decode(level) => stages.decode_parts(level, whole(task)?)?,
            _ => stages.cost_map_parts(&decode_request(task)?)?,
        };
        task.pairs = Pairs::Parts(parts);
    }
    match &mut task.pairs {
        Pairs::Parts(parts) => stages.advance(parts, most),
        Pairs::None | Pairs::Whole(_) => Err(StageError::Failed("a request is not in parts".into())),
    }
}

fn counted<T>(results: Vec<T>, expected: usize) -> Result<Vec<T>, StageError> {
    if results.len() == expected {
        Ok(results)
    } else {
        Err(StageError::Failed(format!("gave {} results for {expected} inputs", results.len())))
    }
}
