//! `eval`: a model's answers, through the real interface, scored against labelled pictures.

mod args;
mod official;
mod output;
mod print;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use sed_client::{Client, SynonymMode, report::Model, v1::vocabulary::Source};
use sed_eval::{
    Asker, Competition, Exif, Failed, Jobs, Keep, Measured, NameList, Plan, RemarkKind, Step,
    dataset::{self, Layout},
    measure, paper, rejection,
    scenes::{self, Phrases},
    single, thresholds,
};

pub(crate) use self::args::EvalArgs;
use self::{
    official::Planned,
    print::{DatasetRow, Protocol, Results, Scores},
};
use crate::{pictures, print as terminal, progress};

/// The work of the command, determined before a model is loaded.
enum Work {
    Scenes(Vec<Plan>),
    Dataset(Plan),
    Table(Vec<Planned>),
    Rejection { conditions: Vec<Plan>, top_ks: Vec<u32> },
    Thresholds(Vec<Plan>),
    Single(Vec<Plan>),
}

pub(crate) fn run(args: &EvalArgs, as_json: bool) -> Result<ExitCode> {
    let work = work(args)?;
    args.target.with_client(async |client| do_work(args, client, work, as_json).await)?;
    Ok(ExitCode::SUCCESS)
}

fn work(args: &EvalArgs) -> Result<Work> {
    let list = args.labels.list.as_deref().map(NameList::read).transpose()?;
    if let Some(dataset) = args.official.dataset {
        let plan = args.official.plan(dataset, list, args.what.limit())?;
        return Ok(labelled(args, plan));
    }
    if args.official.table {
        return Ok(Work::Table(args.official.all(args.what.limit())?));
    }
    // The command line's parser asks for it.
    let Some(folder) = &args.folder else { bail!("name a folder of pictures or scenes") };
    if let Some(labels) = &args.labels.labels {
        let vocabulary = args.words.vocabulary()?;
        let layout = Layout {
            pictures: folder.clone(),
            labels: labels.clone(),
            picture_suffix: args.labels.picture_suffix.clone(),
            label_suffix: args.labels.label_suffix.clone(),
            list,
            is_picture: pictures::is_picture,
        };
        return Ok(labelled(
            args,
            dataset::plan(&layout, &vocabulary, args.labels.first_label, args.what.limit())?,
        ));
    }
    of_scenes(args, folder)
}

/// The work on pictures with labels.
fn labelled(args: &EvalArgs, plan: Plan) -> Work {
    if args.what.thresholds { Work::Thresholds(vec![plan]) } else { Work::Dataset(plan) }
}

/// The work on scenes.
fn of_scenes(args: &EvalArgs, folder: &Path) -> Result<Work> {
    let conditions = scenes::find(folder, args.what.limit())?;
    if conditions.is_empty() {
        bail!(
            "{} holds no scenes (<condition>/<i>.json beside <i>.png and <i>.label.png); to score other pictures, \
             name the folder of their labels with --labels, and the words",
            folder.display()
        );
    }
    if let Some(top_ks) = &args.what.rejection {
        let conditions = conditions.iter().map(scenes::Condition::rejection_plan);
        let conditions: Vec<_> = conditions.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        if conditions.is_empty() {
            return no_many_words(folder);
        }
        return Ok(Work::Rejection { conditions, top_ks: top_ks.clone() });
    }
    let phrases = match args.competition.synonym_mode() {
        SynonymMode::Unspecified => Phrases::Word,
        _ => Phrases::WordAndCategory,
    };
    let plans = conditions.iter().map(|condition| condition.plans(args.what.words_count, phrases));
    let plans: Vec<Vec<Plan>> = plans.collect::<Result<_, _>>()?;
    if args.what.single {
        // The first list is the shortest; each word is asked alone.
        return Ok(Work::Single(plans.into_iter().filter_map(|plans| plans.into_iter().next()).collect()));
    }
    let plans = plans.into_iter().flatten().collect();
    Ok(if args.what.thresholds { Work::Thresholds(plans) } else { Work::Scenes(plans) })
}

fn no_many_words(folder: &Path) -> Result<Work> {
    let (many, folder) = (scenes::MANY, folder.display());
    bail!(
        "no scene in {folder} has a list of \"{many}\" words; write the scenes again with `python \
         models/sed-tiny/train/evaluate.py --write {folder} --draw-only --only trained`"
    )
}

async fn do_work(args: &EvalArgs, client: Client, work: Work, as_json: bool) -> Result<()> {
    let exif = args.labels.exif.map_or(Exif::Apply, Exif::from);
    let competition =
        Competition { synonym_mode: args.competition.synonym_mode(), contrast: args.competition.contrast() };
    let official = args.official.is_asked().then(|| args.request.official(args.official.top_k()));
    let options = official.as_ref().unwrap_or(&args.request).options(false);
    let protocol = Protocol::of(&options, args.unofficial());
    let client = args.output.patient(client, args.target.ready_timeout());
    let asker = Asker::new(client, options, competition, exif, terminal::warnings);
    let mut work_on = Scoring { args, asker, left_out: LeftOut::default(), model: None, remarks: Vec::new() };
    match work {
        Work::Dataset(plan) => {
            let keep = folders(args)?.and_then(|(pictures, labels)| args.output.keep(&pictures, &labels));
            let run = work_on.scored(plan, keep.as_ref()).await?;
            if args.output.markdown {
                print::markdown(work_on.model()?, &dataset_name(args)?, &protocol, &run)?;
            } else {
                work_on.print(Results::Dataset(&run), as_json)?;
            }
        }
        Work::Table(plans) => {
            let (rows, ended) = work_on.table(plans).await;
            if !rows.is_empty() {
                work_on.print(Results::Table(&rows), as_json)?;
            }
            ended?;
        }
        Work::Scenes(plans) => {
            let mut runs = Vec::with_capacity(plans.len());
            for plan in plans {
                runs.push(work_on.scored(plan, None).await?);
            }
            work_on.print(Results::Scenes(&runs), as_json)?;
        }
        Work::Rejection { conditions, top_ks } => {
            let mut rows = Vec::new();
            for plan in conditions {
                rows.extend(work_on.rejected(plan, &top_ks).await?);
            }
            work_on.print(Results::Rejection(&rows), as_json)?;
        }
        Work::Thresholds(plans) => {
            let mut runs = Vec::with_capacity(plans.len());
            for plan in plans {
                runs.push(work_on.over_thresholds(plan).await?);
            }
            work_on.print(Results::Thresholds(&runs), as_json)?;
        }
        Work::Single(plans) => {
            let mut rows = Vec::with_capacity(plans.len());
            for plan in plans {
                rows.push(work_on.single_words(plan).await?);
            }
            work_on.print(Results::Single(&rows), as_json)?;
        }
    }
    work_on.remarks.iter().for_each(|remark| terminal::warning(remark));
    work_on.left_out.check()
}

/// The folders of pictures and labels; `None` for scenes.
fn folders(args: &EvalArgs) -> Result<Option<(PathBuf, PathBuf)>> {
    if let Some(dataset) = args.official.dataset {
        return Ok(Some(dataset.folders(&args.official.root()?)?));
    }
    Ok(args.folder.clone().zip(args.labels.labels.clone()))
}

/// The name of the dataset or the vocabulary, or the number of words that are written out.
fn dataset_name(args: &EvalArgs) -> Result<String> {
    if let Some(dataset) = args.official.dataset {
        return Ok(dataset.name.to_owned());
    }
    Ok(match args.words.vocabulary()?.source {
        Some(Source::Name(name)) => name,
        Some(Source::Categories(list)) => format!("own, {} words", list.categories.len()),
        None => "own".to_owned(),
    })
}

/// The state that all plans share.
struct Scoring<'a> {
    args: &'a EvalArgs,
    asker: Asker,
    left_out: LeftOut,
    /// The model that answers.
    model: Option<Model>,
    /// Remarks on labels and answers, each once, for the end.
    remarks: Vec<String>,
}

impl Scoring<'_> {
    /// Scores a plan.
    async fn scored(&mut self, plan: Plan, keep: Option<&Keep>) -> Result<Measured> {
        let bar = self.begin(&plan);
        let shown = |step: Step<'_>| show(&bar, step);
        let (model, mut run) = measure(&self.asker, plan, self.jobs(), keep, &shown).await?;
        self.end(&bar, model, &run.failed);
        if self.args.labels.exif.is_some() {
            run.warnings.retain(|remark| remark.kind != RemarkKind::Turned);
        }
        for remark in &run.warnings {
            if !self.remarks.contains(&remark.message) {
                self.remarks.push(remark.message.clone());
            }
        }
        Ok(run)
    }

    /// Scores datasets up to the first that cannot be scored, and returns why it cannot.
    async fn table(&mut self, plans: Vec<Planned>) -> (Vec<DatasetRow>, Result<()>) {
        let fast = self.args.official.fast;
        let mut rows = Vec::with_capacity(plans.len());
        for (dataset, plan) in plans {
            let run = match self.scored(plan, None).await {
                Ok(run) => run,
                Err(error) => return (rows, Err(error.context(format!("cannot score {}", dataset.name)))),
            };
            let paper = paper::rows(dataset.name).filter(|row| row.fast == fast).collect();
            rows.push(DatasetRow { dataset, run, paper });
        }
        (rows, Ok(()))
    }

    /// Compares rejection with the full path.
    async fn rejected(&mut self, plan: Plan, top_ks: &[u32]) -> Result<Vec<rejection::Row>> {
        let bar = self.begin(&plan);
        let shown = |step: Step<'_>| show(&bar, step);
        let measured = rejection::measure(&self.asker, plan, top_ks, self.jobs(), &shown).await?;
        self.end(&bar, measured.model, &measured.failed);
        Ok(measured.rows)
    }

    /// Counts what is right at each threshold.
    async fn over_thresholds(&mut self, plan: Plan) -> Result<thresholds::Measured> {
        let bar = self.begin(&plan);
        let shown = |step: Step<'_>| show(&bar, step);
        let (model, run) = thresholds::measure(&self.asker, plan, self.jobs(), &shown).await?;
        self.end(&bar, model, &run.failed);
        Ok(run)
    }

    /// Asks for one word at a time.
    async fn single_words(&mut self, plan: Plan) -> Result<single::Row> {
        let bar = self.begin(&plan);
        let shown = |step: Step<'_>| show(&bar, step);
        let (model, row) = single::measure(&self.asker, plan, self.jobs(), &shown).await?;
        self.end(&bar, model, &row.failed);
        Ok(row)
    }

    fn jobs(&self) -> Jobs {
        Jobs { most: self.args.what.jobs(), strict: self.args.what.strict }
    }

    /// Counts the pictures of a plan, and returns a bar for them.
    fn begin(&mut self, plan: &Plan) -> ProgressBar {
        self.left_out.of += plan.pictures();
        progress::count(plan.pictures() as u64)
    }

    fn end(&mut self, bar: &ProgressBar, model: Model, failed: &[Failed]) {
        bar.finish_and_clear();
        self.left_out.failed.extend(failed.iter().map(|one| one.picture.clone()));
        self.model = Some(model);
    }

    fn print(&self, results: Results<'_>, as_json: bool) -> Result<()> {
        Scores { model: self.model()?, results }.print(as_json, self.args.what.per_category)
    }

    fn model(&self) -> Result<&Model> {
        self.model.as_ref().context("there are no scenes")
    }
}

/// Shows a step on the progress bar; failures stay on the terminal.
fn show(bar: &ProgressBar, step: Step<'_>) {
    match step {
        Step::Begun(picture) => bar.set_message(picture.to_owned()),
        Step::Failed(error) => bar.suspend(|| terminal::failure(error)),
        Step::Scored { miou } => {
            bar.set_prefix(miou.map_or_else(String::new, |miou| format!("mIoU {miou:.1}  ")));
        }
        Step::Done => bar.inc(1),
    }
}

/// Number of failed pictures that are named at the end.
const MOST_NAMED: usize = 10;

/// The pictures that are left out of the figures.
#[derive(Debug, Default)]
struct LeftOut {
    failed: Vec<String>,
    of: usize,
}

impl LeftOut {
    /// Fails if pictures were left out; called after the figures of the others are printed.
    fn check(&self) -> Result<()> {
        let count = self.failed.len();
        if count == 0 {
            return Ok(());
        }
        let names = self.failed.iter().map(|picture| {
            Path::new(picture).file_name().map_or(picture.into(), |name| name.to_string_lossy())
        });
        let mut names: Vec<_> = names.take(MOST_NAMED).collect();
        if count > MOST_NAMED {
            names.push(format!("and {} more", count - MOST_NAMED).into());
        }
        bail!(
            "{count} of {} pictures failed and are left out of the figures: {}; why is said above",
            self.of,
            names.join(", ")
        );
    }
}
