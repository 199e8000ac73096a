//! Carrying out a plan: every picture is segmented, and its answer compared to its label.

use anyhow::{Context, Result, bail};
use sed_client::{Report, report::Model};
use serde::Serialize;

use super::{
    ask::{self, Answer, Asker, Failed, Failure, Pace, PaceMeans},
    case::{Case, Picture},
    plan::{Names, Plan},
    score::{Figures, Score},
};

/// The scores and times of a plan.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    /// The name of the scenes' condition; `None` for other pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) condition: Option<String>,
    /// Number of categories in a request.
    pub(super) words: usize,
    /// Number of pictures in the figures.
    pub(super) pictures: u64,
    /// Pictures that could not be scored.
    pub(super) failed: Vec<Failed>,
    /// Pictures that were turned upright by their EXIF orientation while their labels were not.
    pub(super) turned: Vec<String>,
    #[serde(flatten)]
    pub(super) figures: Figures,
    /// Only for scenes, whose words are marked as objects or stuff.
    #[serde(flatten)]
    pub(super) parts: Option<Parts>,
    /// Pixels whose label is no category.
    pub(super) ignored_pixels: u64,
    pub(super) labelled_pixels: u64,
    #[serde(flatten)]
    pub(super) pace: PaceMeans,
    pub(super) categories: Vec<CategoryScore>,
}

/// Mean IoU over a part of the categories, in percent.
#[derive(Debug, Serialize)]
pub(super) struct Parts {
    pub(super) object_miou: Option<f64>,
    pub(super) stuff_miou: Option<f64>,
}

/// One category.
#[derive(Debug, Serialize)]
pub(super) struct CategoryScore {
    pub(super) name: String,
    /// Only for scenes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stuff: Option<bool>,
    /// In percent; none where no label has the category.
    pub(super) iou: Option<f64>,
    /// The share of its labelled pixels that is right, in percent.
    pub(super) accuracy: Option<f64>,
    pub(super) labelled_pixels: u64,
    pub(super) predicted_pixels: u64,
}

/// One picture.
#[derive(Debug)]
struct One {
    picture: String,
    turned: bool,
    score: Score,
    report: Report,
}

/// Segments all pictures of a plan, and scores the answers.
pub(super) async fn measure(asker: &Asker, plan: Plan, jobs: usize) -> Result<(Model, Measured)> {
    let Plan { condition, words, cases, names } = plan;
    let (mut score, mut pace) = (Score::default(), Pace::default());
    // The names of a vocabulary that the server knows come with its answers.
    let (mut answered, mut turned) = (Vec::new(), Vec::new());
    let work = |case: Case| one(asker.clone(), case);
    let take = |mut one: One| {
        score.merge(&one.score);
        answered = std::mem::take(&mut one.report.categories);
        pace.add(one.report);
        turned.extend(one.turned.then_some(one.picture));
    };
    let done = ask::all(cases, jobs, work, take).await?;
    pace.seconds = done.seconds;
    turned.sort();

    if score.labelled() == 0 {
        bail!("no pixel of any label is in the vocabulary; is it counted from --first-label?");
    }
    let names = names.unwrap_or_else(|| Names::of(answered.iter().map(|category| category.name.clone())));
    // Categories without pixels are listed, too.
    score.merge(&Score::new(names.len()));
    let is_scene = condition.is_some();
    let percent = |share: f64| 100.0 * share;
    let categories = score.categories().iter().enumerate().map(|(index, counts)| CategoryScore {
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
        pictures: pace.pictures,
        failed: done.failed,
        turned,
        figures: score.figures(),
        parts,
        ignored_pixels: score.ignored,
        labelled_pixels: score.labelled(),
        pace: pace.means(),
        categories: categories.collect(),
    };
    Ok((pace.model.context("there are no pictures")?, measured))
}

async fn one(asker: Asker, case: Case) -> Result<One, Failure> {
    let picture = case.picture.display().to_string();
    let Picture { bytes, turned } = case.picture(asker.exif).await.map_err(Failure::OfCase)?;
    let Answer { map, report } = asker.ask(bytes, case.vocabulary.clone(), None).await?;
    let words = report.categories.len();
    let score = tokio::task::spawn_blocking(move || -> Result<Score> {
        let compared = case.compare(map, words)?;
        let mut score = Score::default();
        score.add(&compared.answer, &compared.label);
        Ok(score)
    });
    let score = score.await.map_err(|broken| Failure::OfAll(broken.into()))?;
    Ok(One { picture, turned, score: score.map_err(Failure::OfCase)?, report })
}
