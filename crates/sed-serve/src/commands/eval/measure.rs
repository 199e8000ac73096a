//! A plan carried out: every picture asked about, its answer put beside its label.

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::{
    ask::{self, Answer, Asker, Pace, PaceMeans},
    case::Case,
    plan::{Names, Plan},
    score::{Figures, Score},
};
use crate::{
    pictures,
    report::{Model, Report},
};

/// What was found out about a plan.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    /// What the scenes have in common; none for other pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) condition: Option<String>,
    /// How many categories were asked about.
    pub(super) words: usize,
    pub(super) pictures: u64,
    #[serde(flatten)]
    pub(super) figures: Figures,
    /// Only for scenes, which know what is stuff.
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
    score: Score,
    report: Report,
}

/// Asks about all pictures of a plan, and scores the answers.
pub(super) async fn measure(asker: &Asker, plan: Plan, jobs: usize) -> Result<(Model, Measured)> {
    let Plan { condition, words, cases, names } = plan;
    let (mut score, mut pace) = (Score::default(), Pace::default());
    // The names of a vocabulary that the server knows come with its answers.
    let mut answered = Vec::new();
    let work = |case: Case| one(asker.clone(), case);
    let take = |One { score: more, mut report }: One| {
        score.merge(&more);
        answered = std::mem::take(&mut report.categories);
        pace.add(report);
    };
    pace.seconds = ask::all(cases, jobs, work, take).await?;

    if score.labelled() == 0 {
        bail!("no pixel of any label is in the vocabulary; is it counted from --first-label?");
    }
    let names = names.unwrap_or_else(|| Names::of(answered.iter().map(|category| category.name.clone())));
    // Categories that no pixel has are told, too.
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
        figures: score.figures(),
        parts,
        ignored_pixels: score.ignored,
        labelled_pixels: score.labelled(),
        pace: pace.means(),
        categories: categories.collect(),
    };
    Ok((pace.model.context("there are no pictures")?, measured))
}

async fn one(mut asker: Asker, case: Case) -> Result<One> {
    let picture = pictures::read(&case.picture).await?;
    let Answer { map, report } = asker.ask(picture, case.vocabulary.clone(), None).await?;
    let words = report.categories.len();
    let score = tokio::task::spawn_blocking(move || -> Result<Score> {
        let compared = case.compare(map, words)?;
        let mut score = Score::default();
        score.add(&compared.answer, &compared.label);
        Ok(score)
    });
    Ok(One { score: score.await??, report })
}
