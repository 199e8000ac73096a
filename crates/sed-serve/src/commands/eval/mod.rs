//! `eval`: a model's answers, through the real interface, scored against labelled pictures.

mod args;
mod ask;
mod case;
mod dataset;
mod exif;
mod label;
mod measure;
mod plan;
mod print;
mod rejection;
mod scenes;
mod score;

use std::{path::Path, process::ExitCode};

use anyhow::{Result, bail};
use sed_client::Client;

pub(crate) use self::args::EvalArgs;
use self::{
    ask::Asker,
    case::Case,
    exif::Exif,
    plan::Plan,
    print::{Results, Scores},
};

/// The work of the command, determined before a model is loaded.
enum Work {
    Scenes(Vec<Plan>),
    Dataset(Plan),
    Rejection { conditions: Vec<(String, Vec<Case>)>, top_ks: Vec<u32> },
}

pub(crate) fn run(args: &EvalArgs, as_json: bool) -> Result<ExitCode> {
    let work = work(args)?;
    args.target.with_client(async |client| do_work(args, client, work, as_json).await)?;
    Ok(ExitCode::SUCCESS)
}

fn work(args: &EvalArgs) -> Result<Work> {
    if let Some(labels) = &args.labels.labels {
        let vocabulary = args.words.vocabulary()?;
        let (first, limit) = (args.labels.first_label, args.what.limit());
        let cases = dataset::find(&args.folder, labels, &vocabulary, first, limit)?;
        return Ok(Work::Dataset(Plan { condition: None, words: None, cases, names: None }));
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
        let conditions = conditions.iter().map(scenes::Condition::rejection_cases);
        let conditions: Vec<_> = conditions.filter_map(Result::transpose).collect::<Result<_>>()?;
        if conditions.is_empty() {
            return no_many_words(&args.folder);
        }
        return Ok(Work::Rejection { conditions, top_ks: top_ks.clone() });
    }
    let plans = conditions.iter().map(|condition| condition.plans(args.what.words_count));
    let plans: Vec<Vec<Plan>> = plans.collect::<Result<_>>()?;
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
    let (jobs, per_category) = (args.what.jobs(), args.what.per_category);
    let exif = args.labels.exif.unwrap_or(Exif::Apply);
    let asker = Asker::new(client, args.request.options(false), exif);
    let mut left_out = LeftOut::default();
    match work {
        Work::Dataset(plan) => {
            left_out.of += plan.cases.len();
            let (model, run) = measure::measure(&asker, plan, jobs).await?;
            left_out.failed += run.failed.len();
            warn_of_turned(args.labels.exif, &run.turned);
            Scores { model: &model, results: Results::Dataset(&run) }.print(as_json, per_category)?;
        }
        Work::Scenes(plans) => {
            let (mut model, mut runs) = (None, Vec::with_capacity(plans.len()));
            for plan in plans {
                left_out.of += plan.cases.len();
                let (answering, run) = measure::measure(&asker, plan, jobs).await?;
                left_out.failed += run.failed.len();
                warn_of_turned(args.labels.exif, &run.turned);
                model = Some(answering);
                runs.push(run);
            }
            let Some(model) = model else { bail!("there are no scenes") };
            Scores { model: &model, results: Results::Scenes(&runs) }.print(as_json, per_category)?;
        }
        Work::Rejection { conditions, top_ks } => {
            let (mut model, mut rows) = (None, Vec::new());
            for condition in conditions {
                left_out.of += condition.1.len();
                let measured = rejection::measure(&asker, condition, &top_ks, jobs).await?;
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
fn warn_of_turned(asked: Option<Exif>, turned: &[String]) {
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
