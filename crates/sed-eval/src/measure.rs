//! Carrying out a plan: every picture is segmented, and its answer compared to its label.

use std::{collections::BTreeMap, sync::Arc};

use sed_client::{Report, report::Model};
use serde::Serialize;

use crate::{
    ask::{self, Answer, Asker, Failed, Failure, Jobs, Pace, PaceMeans, Step},
    case::{Case, Compared, Picture},
    confusion::{self, Confusion},
    error::{Error, Result},
    keep::{Counted, Keep, Keeper, Source},
    plan::{Names, Plan},
    remark::{self, Remark},
    score::{Figures, Score},
};

/// The scores and times of a plan.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// The name of the scenes' condition; `None` for other pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Number of categories in a request.
    pub words: usize,
    /// Number of those that count as one, the background; `None` where each counts by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background_words: Option<usize>,
    /// Number of pictures in the figures.
    pub pictures: u64,
    /// Number of those whose counts are from a file of an earlier run.
    pub resumed: u64,
    /// Pictures that could not be scored.
    pub failed: Vec<Failed>,
    /// Pictures that were turned upright by their EXIF orientation while their labels were not.
    pub turned: Vec<String>,
    /// The figures over all categories.
    #[serde(flatten)]
    pub figures: Figures,
    /// Only for scenes, whose words are marked as objects or stuff.
    #[serde(flatten)]
    pub parts: Option<Parts>,
    /// Pixels whose label is no category.
    pub ignored_pixels: u64,
    /// Pixels whose label is a category.
    pub labelled_pixels: u64,
    /// Times and survivors.
    #[serde(flatten)]
    pub pace: PaceMeans,
    /// All categories, also those without pixels.
    pub categories: Vec<CategoryScore>,
    /// Categories of which more than one percent of the pixels were given to another, the largest share
    /// first.
    pub confusions: Vec<Confusion>,
    /// Signs that labels or answers are not of the kind that is meant.
    pub warnings: Vec<Remark>,
}

/// Mean IoU over a part of the categories, in percent.
#[derive(Debug, Serialize)]
pub struct Parts {
    /// Of the categories that are objects.
    pub object_miou: Option<f64>,
    /// Of those that are stuff.
    pub stuff_miou: Option<f64>,
}

/// One category.
#[derive(Debug, Serialize)]
pub struct CategoryScore {
    /// Its name.
    pub name: String,
    /// True for stuff, false for an object; only for scenes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stuff: Option<bool>,
    /// In percent; none where no label has the category.
    pub iou: Option<f64>,
    /// The share of its labelled pixels that is right, in percent.
    pub accuracy: Option<f64>,
    /// Pixels that have the category in their label.
    pub labelled_pixels: u64,
    /// Pixels that have the category in the answer.
    pub predicted_pixels: u64,
}

/// One picture, with what was counted of its pixels.
#[derive(Debug)]
pub(crate) struct One<T> {
    pub(crate) counted: T,
    pub(crate) report: Report,
}

/// Segments all pictures of a plan, at most `jobs` at a time, and scores the answers. Pictures that cannot be
/// scored are left out. With `keep`, pictures in its file of counts need no request, and new ones are added
/// to its files.
///
/// # Errors
/// A failure that every picture would have, no picture can be scored, or a file of `keep` cannot be used.
pub async fn measure(
    asker: &Asker,
    plan: Plan,
    jobs: Jobs,
    keep: Option<&Keep>,
    progress: &dyn Fn(Step<'_>),
) -> Result<(Model, Measured)> {
    let keeper = Arc::new(Keeper::open(keep, asker, &plan).await?);
    let Plan { condition, words, cases, names, background } = plan;
    let first_label = cases.first().and_then(|case| case.meaning.first_label());
    let (mut score, mut pace) = (Score::default(), Pace { model: keeper.model(), ..Pace::default() });
    // The names of a vocabulary that the server knows come with its answers.
    let (mut answered, mut turned) = (keeper.categories(), Vec::new());
    let mut values = BTreeMap::<u16, u64>::new();
    let work = |case: Case| keeper.clone().count(asker.clone(), case);
    let take = |Counted { picture, record, source }: Counted| {
        score.merge(&record.score());
        pace.add(&record.survivors, record.latency_ms);
        record.label_values.iter().for_each(|(value, pixels)| *values.entry(*value).or_default() += pixels);
        turned.extend(record.turned.then_some(picture));
        if let Source::Answer { model, categories } = source {
            pace.asked += 1;
            (pace.model, answered) = (Some(model), categories);
        }
        progress(Step::Scored { miou: score.miou(|_| true) });
    };
    let done = ask::all(cases, jobs, progress, work, take).await?;
    pace.seconds = done.seconds;
    turned.sort();

    if score.labelled() == 0 {
        return Err(Error::NothingLabelled);
    }
    let asked = || answered.iter().cloned();
    let names = names.unwrap_or_else(|| Names::of_answers(asked(), background));
    // Categories without pixels are listed, too.
    score.merge(&Score::new(names.len()));
    let facts = remark::Facts {
        first_label,
        words: names.len(),
        values: &values,
        score: &score,
        turned: &turned,
        replaced: keeper.replaced(),
        names: &names,
    };
    let warnings = facts.remarks();
    let is_scene = condition.is_some();
    let percent = |share: f64| 100.0 * share;
    let counts = score.categories();
    let categories = counts.iter().enumerate().map(|(index, counts)| CategoryScore {
        name: names.name(index).to_owned(),
        stuff: is_scene.then(|| names.is_stuff(index)),
        iou: counts.iou().map(percent),
        accuracy: counts.accuracy().map(percent),
        labelled_pixels: counts.labelled,
        predicted_pixels: counts.predicted,
    });
    let parts = is_scene.then(|| Parts {
        object_miou: score.miou(|category| !names.is_stuff(category)),
        stuff_miou: score.miou(|category| names.is_stuff(category)),
    });
    let measured = Measured {
        condition,
        words: words.unwrap_or(answered.len()),
        background_words: background.map(|first| answered.len().saturating_sub(usize::from(first))),
        pictures: pace.pictures,
        resumed: pace.pictures - pace.asked,
        failed: done.failed,
        turned,
        figures: score.figures(),
        parts,
        ignored_pixels: score.ignored,
        labelled_pixels: score.labelled(),
        pace: pace.means(),
        categories: categories.collect(),
        confusions: confusion::list(&score, &names),
        warnings,
    };
    Ok((pace.model.ok_or(Error::Nothing("pictures"))?, measured))
}

/// Segments a picture and counts its pixels, of which the scores are there if `asker` asks for them.
pub(crate) async fn one<T: Send + 'static>(
    asker: Asker,
    case: Case,
    count: impl FnOnce(Compared, Option<Vec<f32>>) -> Result<T> + Send + 'static,
) -> Result<One<T>, Failure> {
    let Picture { bytes, .. } = case.picture(asker.exif).await.map_err(Failure::OfCase)?;
    let Answer { map, scores, report } = asker.ask(bytes, case.vocabulary.clone(), None).await?;
    let words = report.categories.len();
    let counted = tokio::task::spawn_blocking(move || count(case.compare(map, words)?, scores));
    let counted = counted.await.map_err(|broken| Failure::OfAll(broken.into()))?;
    Ok(One { counted: counted.map_err(Failure::OfCase)?, report })
}
