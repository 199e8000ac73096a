//! `eval`: a model's answers, through the real interface, scored against labelled pictures.

mod args;
mod print;

use std::{path::Path, process::ExitCode};

use anyhow::{Result, bail};
use indicatif::ProgressBar;
use sed_client::{Client, report::Model};
use sed_eval::{Asker, Exif, Measured, Plan, Step, dataset, measure, rejection, scenes};

pub(crate) use self::args::EvalArgs;
use self::{
    args::ExifChoice,
    print::{Results, Scores},
};
use crate::{pictures, print as output, progress};

/// The work of the command, determined before a model is loaded.
enum Work {
    Scenes(Vec<Plan>),
    Dataset(Plan),
    Rejection { conditions: Vec<Plan>, top_ks: Vec<u32> },
}

pub(crate) fn run(args: &EvalArgs, as_json: bool) -> Result<ExitCode> {
    let work = work(args)?;
    args.target.with_client(async |client| do_work(args, client, work, as_json).await)?;
    Ok(ExitCode::SUCCESS)
}

fn work(args: &EvalArgs) -> Result<Work> {
    if let Some(labels) = &args.labels.labels {
        let vocabulary = args.words.vocabulary()?;
        let mut pictures = pictures::find(std::slice::from_ref(&args.folder))?;
        pictures.truncate(args.what.limit().unwrap_or(usize::MAX));
        return Ok(Work::Dataset(dataset::plan(pictures, labels, &vocabulary, args.labels.first_label)?));
    }
    let conditions = scenes::find(&args.folder, args.what.limit())?;
    if conditions.is_empty() {
        bail!(
            "{} holds no scenes (<condition>/<i>.json beside <i>.png and <i>.label.png); to score other pictures, \
             name the folder of their labels with --labels, and the words",
            args.folder.display()
        );
    }
    if let Some(top_ks) = &args.what.rejection {
        let conditions = conditions.iter().map(scenes::Condition::rejection_plan);
        let conditions: Vec<_> = conditions.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        if conditions.is_empty() {
            return no_many_words(&args.folder);
        }
        return Ok(Work::Rejection { conditions, top_ks: top_ks.clone() });
    }
    let plans = conditions.iter().map(|condition| condition.plans(args.what.words_count));
    let plans: Vec<Vec<Plan>> = plans.collect::<Result<_, _>>()?;
    Ok(Work::Scenes(plans.into_iter().flatten().collect()))
}

fn no_many_words(folder: &Path) -> Result<Work> {
    let (many, folder) = (scenes::MANY, folder.display());
    bail!(
        "no scene in {folder} has a list of \"{many}\" words; write the scenes again with `python \
         models/sed-tiny/train/evaluate.py --write {folder} --draw-only --only trained`"
    )
}

async fn do_work(args: &EvalArgs, client: Client, work: Work, as_json: bool) -> Result<()> {
    let per_category = args.what.per_category;
    let exif = args.labels.exif.map_or(Exif::Apply, Exif::from);
    let asker = Asker::new(client, args.request.options(false), exif, output::warnings);
    let mut left_out = LeftOut::default();
    match work {
        Work::Dataset(plan) => {
            let (model, run) = scored(args, &asker, plan, &mut left_out).await?;
            Scores { model: &model, results: Results::Dataset(&run) }.print(as_json, per_category)?;
        }
        Work::Scenes(plans) => {
            let (mut model, mut runs) = (None, Vec::with_capacity(plans.len()));
            for plan in plans {
                let (answering, run) = scored(args, &asker, plan, &mut left_out).await?;
                model = Some(answering);
                runs.push(run);
            }
            let Some(model) = model else { bail!("there are no scenes") };
            Scores { model: &model, results: Results::Scenes(&runs) }.print(as_json, per_category)?;
        }
        Work::Rejection { conditions, top_ks } => {
            let (mut model, mut rows) = (None, Vec::new());
            for plan in conditions {
                left_out.of += plan.pictures();
                let bar = progress::count(plan.pictures() as u64);
                let shown = |step: Step<'_>| show(&bar, step);
                let measured = rejection::measure(&asker, plan, &top_ks, args.what.jobs(), &shown).await?;
                bar.finish_and_clear();
                left_out.failed += measured.failed.len();
                model = Some(measured.model);
                rows.extend(measured.rows);
            }
            let Some(model) = model else { bail!("there are no scenes") };
            Scores { model: &model, results: Results::Rejection(&rows) }.print(as_json, per_category)?;
        }
    }
    left_out.check()
}

/// Scores a plan, with a bar on the terminal.
async fn scored(
    args: &EvalArgs,
    asker: &Asker,
    plan: Plan,
    left_out: &mut LeftOut,
) -> Result<(Model, Measured)> {
    left_out.of += plan.pictures();
    let bar = progress::count(plan.pictures() as u64);
    let (model, run) = measure(asker, plan, args.what.jobs(), &|step| show(&bar, step)).await?;
    bar.finish_and_clear();
    left_out.failed += run.failed.len();
    warn_of_turned(args.labels.exif, &run.turned);
    Ok((model, run))
}

/// Shows a step on the progress bar; failures stay on the terminal.
fn show(bar: &ProgressBar, step: Step<'_>) {
    match step {
        Step::Begun(picture) => bar.set_message(picture.to_owned()),
        Step::Failed(error) => bar.suspend(|| output::failure(error)),
        Step::Done => bar.inc(1),
    }
}

/// Counts of the pictures that are left out of the figures.
#[derive(Debug, Default)]
struct LeftOut {
    failed: usize,
    of: usize,
}

impl LeftOut {
    /// Fails if pictures were left out; called after the figures of the others are printed.
    fn check(&self) -> Result<()> {
        if self.failed > 0 {
            bail!("{} of {} pictures failed and are left out of the figures", self.failed, self.of);
        }
        Ok(())
    }
}

/// Warns of pictures that were turned upright while their labels were not, unless `--exif` was given.
fn warn_of_turned(asked: Option<ExifChoice>, turned: &[String]) {
    if asked.is_none()
        && let Some(first) = turned.first()
    {
        let count = turned.len();
        tracing::warn!(
            "{count} of the pictures, such as {first}, were turned upright by their EXIF orientation while their labels \
             were taken as stored, as detectron2 does; where the labels are of the pictures as stored, give --exif \
             ignore, and --exif apply where they are not"
        );
    }
}
