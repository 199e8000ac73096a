//! Pictures to the server, a bounded number at a time.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, Result};
use sed_image::IndexMap;
use sed_proto::v1;
use serde::Serialize;
use tokio::task::JoinSet;

use super::case::Case;
use crate::{
    args::RequestArgs,
    client::Client,
    output_files::index_png,
    print, progress,
    report::{Files, Model, Rejection, Report},
};

/// No server sends a larger map.
const MOST_PIXELS: u64 = 1 << 30;

/// Who asks the server.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    client: Client,
    request: RequestArgs,
    /// The warnings of the server were printed once.
    warned: Arc<AtomicBool>,
}

/// An answer: the word of every pixel, and what was reported.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) map: IndexMap,
    pub(super) report: Report,
}

impl Asker {
    pub(super) fn new(client: Client, request: RequestArgs) -> Self {
        Self { client, request, warned: Arc::default() }
    }

    /// Asks about a picture; with `top_k` instead of that of the request if it is given.
    pub(super) async fn ask(
        &mut self,
        picture: Vec<u8>,
        vocabulary: v1::Vocabulary,
        top_k: Option<u32>,
    ) -> Result<Answer> {
        let request = match top_k {
            Some(top_k) => self.request.with_top_k(top_k).request(picture, vocabulary, false),
            None => self.request.request(picture, vocabulary, false),
        };
        let answer = self.client.segment(request).await?;
        if !answer.warnings.is_empty() && !self.warned.swap(true, Ordering::Relaxed) {
            print::warnings(&answer.warnings);
        }
        let map = sed_image::mask::png::decode(index_png(&answer)?, MOST_PIXELS)?;
        // The picture is named where an error is told.
        Ok(Answer { map, report: Report::new(String::new(), answer, Files::default()) })
    }
}

/// Does `work` for every case, at most `jobs` at a time, and hands its results to `take` as they come. The first
/// failure ends everything: a score without some of its pictures would be another score. Gives the seconds that
/// all took.
pub(super) async fn all<T, F>(
    cases: Vec<Case>,
    jobs: usize,
    work: impl Fn(Case) -> F,
    mut take: impl FnMut(T),
) -> Result<f64>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let (started, bar) = (Instant::now(), progress::count(cases.len() as u64));
    let (mut running, mut waiting) = (JoinSet::new(), cases.into_iter());
    loop {
        while running.len() < jobs {
            let Some(case) = waiting.next() else { break };
            let name = case.picture.display().to_string();
            bar.set_message(name.clone());
            let done = work(case);
            running.spawn(async move { done.await.context(name) });
        }
        let Some(done) = running.join_next().await else { break };
        let done = done.context("the work on a picture broke down").flatten();
        // The error is told where the bar was.
        take(done.inspect_err(|_| bar.finish_and_clear())?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(started.elapsed().as_secs_f64())
}

/// How many categories went into each decoder level, added up over pictures.
#[derive(Clone, Debug, Default)]
pub(super) struct Survivors {
    pictures: u64,
    levels: Vec<usize>,
}

impl Survivors {
    /// Adds a picture.
    pub(super) fn add(&mut self, rejection: &Rejection) {
        self.pictures += 1;
        self.levels.resize(self.levels.len().max(rejection.levels.len()), 0);
        for (sum, level) in self.levels.iter_mut().zip(&rejection.levels) {
            *sum += level.survivors.len();
        }
    }

    /// Adds other pictures.
    pub(super) fn merge(&mut self, other: &Self) {
        self.pictures += other.pictures;
        self.levels.resize(self.levels.len().max(other.levels.len()), 0);
        self.levels.iter_mut().zip(&other.levels).for_each(|(sum, more)| *sum += more);
    }

    /// The mean of each level.
    pub(super) fn means(&self) -> Vec<f64> {
        self.levels.iter().map(|sum| *sum as f64 / self.pictures.max(1) as f64).collect()
    }
}

/// What answering took.
#[derive(Debug, Default)]
pub(super) struct Pace {
    pub(super) model: Option<Model>,
    pub(super) survivors: Survivors,
    pub(super) pictures: u64,
    pub(super) total_ms: f64,
    /// From the first request to the last answer.
    pub(super) seconds: f64,
}

impl Pace {
    /// Adds a picture.
    pub(super) fn add(&mut self, report: Report) {
        self.survivors.add(&report.rejection);
        self.pictures += 1;
        self.total_ms += report.latency.total_ms;
        self.model = Some(report.model);
    }

    /// The means over all pictures.
    pub(super) fn means(&self) -> PaceMeans {
        PaceMeans {
            survivors: self.survivors.means(),
            images_per_second: self.pictures as f64 / self.seconds,
            mean_latency_ms: self.total_ms / self.pictures.max(1) as f64,
        }
    }
}

/// What answering took, in the mean.
#[derive(Debug, Serialize)]
pub(super) struct PaceMeans {
    /// Categories that went into each decoder level.
    pub(super) survivors: Vec<f64>,
    pub(super) images_per_second: f64,
    /// From a request's arrival at the server to its finished answer, waiting included.
    pub(super) mean_latency_ms: f64,
}
