//! The flags for the files and the form of the results of labelled pictures, and for servers that go away.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use clap::Args;
use sed_client::{Client, Retries};
use sed_eval::Keep;

use crate::{args::seconds_or_none, print};

/// Time between two lines about a wait.
const BETWEEN_NOTES: Duration = Duration::from_secs(60);

/// Files and form of the results.
#[derive(Debug, Args)]
#[command(next_help_heading = "Results")]
pub(super) struct OutputArgs {
    /// Print the figures as a Markdown table beside those that SED's authors report.
    #[arg(long, requires = "Labelled", conflicts_with_all = ["thresholds", "per_category", "json", "table"])]
    pub(super) markdown: bool,

    /// Add the counts of each picture to this file, and ask only for the pictures that it lacks. A run that
    /// was interrupted goes on when it is called again. The file is refused for another model, other words,
    /// options or folders.
    #[arg(long, value_name = "FILE", requires = "Labelled", conflicts_with_all = ["thresholds", "table"])]
    resume: Option<PathBuf>,

    /// Write the index mask of each picture into this folder, under the picture's name with its subfolders: a
    /// PNG of 8 bits, beyond 255 categories of 16. The masks of another run are not replaced.
    #[arg(long, value_name = "FOLDER", requires = "Labelled", conflicts_with_all = ["thresholds", "table"])]
    save_predictions: Option<PathBuf>,

    /// Go on for this long in all with a picture that the server refuses for now, or while the server cannot
    /// be reached, as in a restart; 0 fails at once. Words have a time of their own, --ready-timeout.
    #[arg(long, value_name = "SECONDS", value_parser = seconds_or_none, default_value = "600")]
    #[arg(help_heading = "Server")]
    retry_timeout: Duration,
}

impl OutputArgs {
    /// The files of a run on these folders; `None` without any.
    pub(super) fn keep(&self, pictures: &Path, labels: &Path) -> Option<Keep> {
        let (counts, predictions) = (self.resume.clone(), self.save_predictions.clone());
        let has_files = counts.is_some() || predictions.is_some();
        has_files.then(|| Keep {
            pictures: pictures.to_owned(),
            labels: labels.to_owned(),
            counts,
            predictions,
        })
    }

    /// The same client, patient as the flags say. A wait is printed, at most once a minute.
    pub(super) fn patient(&self, client: Client, ready_timeout: Duration) -> Client {
        let retry_timeout = self.retry_timeout;
        let client = client.with_retries(Retries { ready_timeout, retry_timeout, ..Retries::OFF });
        let last = Mutex::new(None::<Instant>);
        client.with_notice(move |failure, _| {
            let mut last = last.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if last.is_none_or(|last| last.elapsed() >= BETWEEN_NOTES) {
                print::note(&format!("waiting for the server: {failure}"));
                *last = Some(Instant::now());
            }
        })
    }
}
