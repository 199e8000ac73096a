//! Sending pictures to the server, a bounded number at a time.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use sed_client::{Client, Contrast, MaskEncoding, Report, SegmentRequest, SynonymMode, causes, report, v1};
use sed_image::IndexMap;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    case::Case,
    error::{Error, Result},
    exif::Exif,
};

/// Largest index map; no server sends a larger one.
const MOST_PIXELS: u64 = 1 << 30;

/// A step of the work on a plan, for a display of its progress.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// The work on this picture begins.
    Begun(&'a str),
    /// A picture failed and is left out of the figures.
    Failed(&'a Error),
    /// A picture is scored.
    Scored {
        /// The mean IoU of the pictures so far, in percent.
        miou: Option<f64>,
    },
    /// A picture is done, or has failed.
    Done,
}

/// The way in which the words of every request compete.
#[derive(Clone, Debug, Default)]
pub struct Competition {
    /// The way in which synonyms count; unspecified is the server's default.
    pub synonym_mode: SynonymMode,
    /// Contrast words; `None` is those of a named vocabulary.
    pub contrast: Option<Contrast>,
}

/// Sends pictures to the server.
#[derive(Clone, Debug)]
pub struct Asker {
    pub(crate) client: Client,
    pub(crate) options: v1::SegmentOptions,
    pub(crate) competition: Competition,
    pub(crate) exif: Exif,
    /// Receives the first warnings of the server: they concern the words, which all pictures share.
    warn: fn(&[v1::Warning]),
    warned: Arc<AtomicBool>,
}

/// The failure of a case.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A failure that concerns this picture or its label alone.
    OfCase(Error),
    /// A failure that every picture would have.
    OfAll(Error),
}

/// A picture without a result.
#[derive(Debug, Serialize)]
pub struct Failed {
    /// Its file.
    pub picture: String,
    /// The error with its causes.
    pub error: String,
}

/// An answer: the word of every pixel, its score if the options ask for it, and the report.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) map: IndexMap,
    pub(crate) scores: Option<Vec<f32>>,
    pub(crate) report: Report,
}

impl Asker {
    /// Makes a sender of requests with these options, which must ask for an index PNG. `warn` receives the
    /// server's warnings on the first answer that has any.
    pub fn new(
        client: Client,
        options: v1::SegmentOptions,
        competition: Competition,
        exif: Exif,
        warn: fn(&[v1::Warning]),
    ) -> Self {
        Self { client, options, competition, exif, warn, warned: Arc::default() }
    }

    /// The same sender, whose answers have the score of every pixel, too.
    pub(crate) fn with_scores(&self) -> Self {
        let mut asker = self.clone();
        asker.options.push_mask_encodings(MaskEncoding::ScoreRaw);
        asker
    }

    /// Segments a picture, with `top_k` instead of that of the options if it is given. Contrast words of the
    /// vocabulary go before those of all requests.
    pub(crate) async fn ask(
        &self,
        picture: Vec<u8>,
        mut vocabulary: v1::Vocabulary,
        top_k: Option<u32>,
    ) -> Result<Answer, Failure> {
        vocabulary.set_synonym_mode(self.competition.synonym_mode);
        let contrast = || self.competition.contrast.clone().map(Into::into);
        vocabulary.contrast = vocabulary.contrast.or_else(contrast);
        let options = v1::SegmentOptions { top_k: top_k.or(self.options.top_k), ..self.options.clone() };
        let request = SegmentRequest::encoded(picture).vocabulary(vocabulary).options(options);
        let answer = self.client.segment(request).await.map_err(|error| {
            let failure = if error.concerns_one_picture() { Failure::OfCase } else { Failure::OfAll };
            failure(error.into())
        })?;
        if !answer.warnings.is_empty() && !self.warned.swap(true, Ordering::Relaxed) {
            (self.warn)(&answer.warnings);
        }
        let png = answer.index_png().map_err(|error| Failure::OfAll(error.into()))?;
        let map =
            sed_image::mask::png::decode(png, MOST_PIXELS).map_err(|error| Failure::OfAll(error.into()))?;
        let scores = answer.sureness().map_err(|error| Failure::OfAll(error.into()))?.scores;
        Ok(Answer { map, scores, report: answer.report })
    }
}

/// The way in which the pictures of a plan are worked on.
#[derive(Clone, Copy, Debug)]
pub struct Jobs {
    /// Pictures at the same time.
    pub most: usize,
    /// True if the first picture that cannot be scored ends the work.
    pub strict: bool,
}

/// The end of the work on all cases.
#[derive(Debug)]
pub(crate) struct Done {
    /// From the first request to the last answer.
    pub(crate) seconds: f64,
    /// Cases without a result, in the order of their names.
    pub(crate) failed: Vec<Failed>,
}

/// Runs `work` for every case, as many at a time as `jobs` says, and hands its results to `take` as they
/// come. Cases that fail are collected.
///
/// # Errors
/// The first failure that every case would have, with strict `jobs` the first of any, or that no case has a
/// result.
pub(crate) async fn all<T, F>(
    cases: Vec<Case>,
    jobs: Jobs,
    progress: &dyn Fn(Step<'_>),
    work: impl Fn(Case) -> F,
    mut take: impl FnMut(T),
) -> Result<Done>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let (started, count) = (Instant::now(), cases.len());
    let mut failed = Vec::new();
    let (mut running, mut waiting) = (JoinSet::new(), cases.into_iter());
    loop {
        while running.len() < jobs.most {
            let Some(case) = waiting.next() else { break };
            let name = case.picture.display().to_string();
            progress(Step::Begun(&name));
            let done = work(case);
            running.spawn(async move { (name, done.await) });
        }
        let Some(done) = running.join_next().await else { break };
        match done? {
            (_, Ok(result)) => take(result),
            (picture, Err(Failure::OfCase(error))) if !jobs.strict => {
                let error = Error::Picture { picture: picture.clone(), source: Box::new(error) };
                progress(Step::Failed(&error));
                failed.push(Failed { picture, error: causes(&error) });
            }
            (picture, Err(Failure::OfCase(error) | Failure::OfAll(error))) => {
                return Err(Error::Picture { picture, source: Box::new(error) });
            }
        }
        progress(Step::Done);
    }
    if failed.len() == count && count > 0 {
        return Err(Error::NoneScored(count));
    }
    failed.sort_by(|left, right| left.picture.cmp(&right.picture));
    Ok(Done { seconds: started.elapsed().as_secs_f64(), failed })
}

/// Numbers of categories that went into each decoder level, summed over pictures.
#[derive(Clone, Debug, Default)]
pub(crate) struct Survivors {
    pictures: u64,
    levels: Vec<usize>,
}

impl Survivors {
    /// Adds a picture.
    pub(crate) fn add(&mut self, rejection: &report::Rejection) {
        let levels: Vec<usize> = rejection.levels.iter().map(|level| level.survivors.len()).collect();
        self.merge(&Self { pictures: 1, levels });
    }

    /// Adds a picture with these numbers of categories.
    pub(crate) fn add_levels(&mut self, levels: &[usize]) {
        self.merge(&Self { pictures: 1, levels: levels.to_vec() });
    }

    /// Adds the pictures of another sum.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.pictures += other.pictures;
        self.levels.resize(self.levels.len().max(other.levels.len()), 0);
        self.levels.iter_mut().zip(&other.levels).for_each(|(sum, more)| *sum += more);
    }

    /// The mean of each level.
    pub(crate) fn means(&self) -> Vec<f64> {
        self.levels.iter().map(|sum| *sum as f64 / self.pictures.max(1) as f64).collect()
    }
}

/// Times and survivors of the answers, summed over pictures.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    pub(crate) model: Option<report::Model>,
    pub(crate) survivors: Survivors,
    pub(crate) pictures: u64,
    /// Pictures that needed a request.
    pub(crate) asked: u64,
    pub(crate) total_ms: f64,
    /// From the first request to the last answer.
    pub(crate) seconds: f64,
}

impl Pace {
    /// Adds a picture: the categories that went into each decoder level, and the time on the server.
    pub(crate) fn add(&mut self, levels: &[usize], total_ms: f64) {
        self.survivors.add_levels(levels);
        self.pictures += 1;
        self.total_ms += total_ms;
    }

    /// The means over all pictures.
    pub(crate) fn means(&self) -> PaceMeans {
        PaceMeans {
            survivors: self.survivors.means(),
            images_per_second: self.asked as f64 / self.seconds,
            mean_latency_ms: self.total_ms / self.pictures.max(1) as f64,
        }
    }
}

/// Means of times and survivors over the pictures.
#[derive(Debug, Serialize)]
pub struct PaceMeans {
    /// Categories that went into each decoder level.
    pub survivors: Vec<f64>,
    /// Pictures a second, from the first request to the last answer; those of a file of counts are not among
    /// them.
    pub images_per_second: f64,
    /// From a request's arrival at the server to its finished answer, waiting included.
    pub mean_latency_ms: f64,
}
