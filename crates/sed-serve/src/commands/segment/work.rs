//! The run over all pictures, several requests at a time.

use std::{collections::VecDeque, process::ExitCode, sync::Arc};

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use sed_client::v1;
use tokio::{sync::watch, task::JoinHandle};

use super::{
    one::{Asker, Failure},
    output::{Entries, Output},
};
use crate::{
    coco::Expected,
    output_files::{OutputFolder, write_report},
    pictures::{Picture, Walk},
    print,
    report::{Files, Report},
    signals::Signal,
};

/// Failures one after the other for which the pictures are not to blame, after which the run ends.
const MOST_IN_A_ROW: u32 = 10;

/// A receiver of the signal that ends the run.
type Stop = watch::Receiver<Option<Signal>>;

/// The parts of a request and its files that all pictures share.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) asker: Asker,
    pub(super) folder: Option<Arc<OutputFolder>>,
    /// The categories of existing files, checked before any file of a picture is written.
    pub(super) expected: Vec<Expected>,
    /// True if the contrast words are this program's choice.
    pub(super) usual_contrast: bool,
    /// The bar over the pictures, which also shows the wait for words.
    pub(super) bar: ProgressBar,
}

/// The answer for a picture, its files written.
#[derive(Debug)]
struct Done {
    report: Report,
    warnings: Vec<v1::Warning>,
    entries: Option<Entries>,
}

impl Recipe {
    async fn segment(self: Arc<Self>, picture: Picture) -> Result<Done, Failure> {
        self.bar.set_message(picture.file.display().to_string());
        let answer = self.asker.ask(&picture.file, &self.bar).await?;
        // Masks are decoded and encoded again.
        let written = tokio::task::spawn_blocking(move || self.write(&picture, answer)).await;
        Ok(written.context("the task that writes files broke down")??)
    }

    fn write(&self, picture: &Picture, answer: sed_client::Answer) -> Result<Done> {
        let (files, entries) = match &self.folder {
            Some(folder) => {
                let entries = Entries::of(folder, picture, &answer)?;
                self.expected.iter().try_for_each(|expected| expected.check(entries.categories()))?;
                (folder.write(&picture.name, &answer)?, Some(entries))
            }
            None => (Files::default(), None),
        };
        let report = Report {
            picture: picture.file.display().to_string(),
            answer: answer.report,
            files,
            usual_contrast: self.usual_contrast,
        };
        write_report(&report)?;
        Ok(Done { report, warnings: answer.warnings, entries })
    }
}

/// The run. Answers are taken in the order of the pictures, so that files and output have it, too.
#[derive(Debug)]
pub(super) struct Run {
    recipe: Arc<Recipe>,
    output: Option<Output>,
    as_json: bool,
    running: VecDeque<(Picture, JoinHandle<Result<Done, Failure>>)>,
    /// Number of pictures, those that are skipped included.
    pictures: u64,
    tally: Tally,
    /// True once the server's warnings were printed: they concern the words, which all pictures share.
    warned: bool,
}

/// The pictures by their end.
#[derive(Debug, Default)]
struct Tally {
    done: u64,
    skipped: u64,
    failed: u64,
    /// Failures since the last success for which the pictures are not to blame.
    in_a_row: u32,
}

impl Run {
    pub(super) fn new(recipe: Recipe, output: Option<Output>, pictures: u64, as_json: bool) -> Self {
        let (recipe, running, tally) = (Arc::new(recipe), VecDeque::new(), Tally::default());
        Self { recipe, output, as_json, running, pictures, tally, warned: false }
    }

    /// Segments the pictures of `walk`, `jobs` at a time, until a signal is in `stop`, and finishes the files for
    /// all pictures.
    pub(super) async fn over(mut self, walk: Walk, jobs: usize, stop: Stop) -> Result<ExitCode> {
        let ended = self.all(walk, jobs, stop.clone()).await;
        self.running.iter().for_each(|(_, task)| task.abort());
        self.recipe.bar.finish_and_clear();
        if let Some(output) = self.output.take() {
            output.finish()?.iter().for_each(|file| print::note(&format!("wrote {}", file.display())));
        }
        ended?;
        let signal = *stop.borrow();
        self.exit_code(signal)
    }

    async fn all(&mut self, mut walk: Walk, jobs: usize, mut stop: Stop) -> Result<()> {
        while stop.borrow().is_none() {
            if self.running.len() < jobs
                && let Some(picture) = walk.next()
            {
                self.begin(picture)?;
                continue;
            }
            let Some((_, first)) = self.running.front_mut() else { break };
            let ended = tokio::select! {
                ended = first => ended.context("a picture's task broke down")?,
                _ = stop.changed() => continue,
            };
            let Some((picture, _)) = self.running.pop_front() else { break };
            self.recipe.bar.inc(1);
            match ended {
                Ok(done) => self.take(done)?,
                Err(failure) => self.fail(failure, &picture)?,
            }
        }
        Ok(())
    }

    fn begin(&mut self, picture: Result<Picture>) -> Result<()> {
        let picture = match picture {
            Ok(picture) => picture,
            // A folder that went away since its pictures were counted.
            Err(error) => {
                self.tally.failed += 1;
                self.recipe.bar.suspend(|| print::error(&error));
                return Ok(());
            }
        };
        if self.output.as_ref().is_some_and(|output| output.skips(&picture)) {
            self.tally.skipped += 1;
            self.recipe.bar.dec_length(1);
            return Ok(());
        }
        let task = tokio::spawn(self.recipe.clone().segment(picture.clone()));
        self.running.push_back((picture, task));
        Ok(())
    }

    fn take(&mut self, done: Done) -> Result<()> {
        self.tally.done += 1;
        self.tally.in_a_row = 0;
        let Done { report, warnings, entries } = done;
        if let (Some(output), Some(entries)) = (&mut self.output, entries) {
            output.add(entries)?;
        }
        let first = !std::mem::replace(&mut self.warned, true);
        self.recipe.bar.suspend(|| {
            if first {
                print::warnings(&warnings);
            }
            if self.as_json {
                return print::json_line(&report);
            }
            Ok(print::report(&report, &mut print::stdout())?)
        })
    }

    /// Prints a failure.
    ///
    /// # Errors
    /// Further pictures would fail, too.
    fn fail(&mut self, failure: Failure, picture: &Picture) -> Result<()> {
        self.tally.failed += 1;
        let (error, of_all) = match failure {
            Failure::OfPicture(error) => (error, false),
            Failure::OfAll(error) => (error, true),
        };
        self.tally.in_a_row += u32::from(of_all);
        let error = error.context(picture.file.display().to_string());
        let hopeless = of_all && (self.tally.done == 0 || self.tally.in_a_row == MOST_IN_A_ROW);
        if hopeless && self.pictures > 1 {
            return Err(error.context("the run ends early, as further pictures would fail like this one"));
        }
        self.recipe.bar.suspend(|| print::error(&error));
        Ok(())
    }

    /// The exit code, after a line on what was not done.
    fn exit_code(&self, signal: Option<Signal>) -> Result<ExitCode> {
        let Self { tally: Tally { done, skipped, failed, .. }, pictures, .. } = self;
        if *skipped > 0 {
            print::note(&format!("skipped: {skipped} of {pictures} pictures, whose results are there"));
        }
        if let Some(signal) = signal {
            let name = signal.name;
            print::note(&format!(
                "ended by {name}: {done} of {pictures} pictures done, {failed} failed; --skip-existing goes on"
            ));
            return Ok(ExitCode::from(signal.exit_code() as u8));
        }
        match failed {
            0 => Ok(ExitCode::SUCCESS),
            1 if *pictures == 1 => Ok(ExitCode::FAILURE),
            _ => bail!("{failed} of {pictures} pictures failed"),
        }
    }
}
