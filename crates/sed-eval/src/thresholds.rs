//! Precision and recall of each category over thresholds of its score.

use sed_client::report::Model;
use sed_image::UNLABELLED;
use serde::Serialize;

use crate::{
    ask::{self, Asker, Failed, Jobs, Step},
    case::{Case, Compared},
    error::{Error, Result},
    measure::{One, one},
    plan::{Names, Plan},
};

/// Number of thresholds: from 0 in steps of [`STEP`].
const COUNT: usize = 20;
/// The distance of two thresholds.
const STEP: f32 = 0.05;

/// The curves of a plan.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// The name of the scenes' condition; `None` for other pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Number of categories in a request.
    pub words: usize,
    /// Number of pictures in the figures.
    pub pictures: u64,
    /// Pictures that could not be scored.
    pub failed: Vec<Failed>,
    /// The curve of all categories together: of their pixels, not the mean of theirs.
    pub all: Curve,
    /// The curves of the categories, also of those without pixels.
    pub categories: Vec<Curve>,
}

/// Precision and recall of one category over the thresholds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// Its name.
    pub name: String,
    /// Pixels that have the category in their label.
    pub labelled_pixels: u64,
    /// One point for each threshold, rising.
    pub points: Vec<Point>,
    /// The threshold with the best balance (F1, the harmonic mean) of precision and recall, the lowest of
    /// equals; none where no pixel of the category is right.
    pub best_threshold: Option<f32>,
}

/// One threshold: pixels with a lower score are unlabelled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The threshold, 0 to 1.
    pub threshold: f32,
    /// The share of the pixels with the category in the answer that is right, in percent; none where no pixel
    /// is left.
    pub precision: Option<f64>,
    /// The share of the pixels with the category in the label that is right, in percent; none where no label
    /// has it.
    pub recall: Option<f64>,
}

/// Pixels of one category, by the highest threshold that their scores reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    labelled: u64,
    predicted: [u64; COUNT],
    right: [u64; COUNT],
}

/// The pixels of all categories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tallies(Vec<Tally>);

/// The threshold of a step.
fn threshold(step: usize) -> f32 {
    // Not a sum of steps, whose errors would add up.
    (step as f32 * STEP * 100.0).round() / 100.0
}

/// The highest step whose threshold a score reaches.
fn step_of(score: f32) -> usize {
    (1..COUNT).rev().find(|step| score >= threshold(*step)).unwrap_or(0)
}

impl Tallies {
    /// Adds a picture: category and score of every pixel in the answer, and its category in the label. Pixels
    /// without one in the label are ignored.
    fn add(&mut self, answer: &[u16], scores: &[f32], label: &[u16]) {
        for ((&predicted, &score), &labelled) in answer.iter().zip(scores).zip(label) {
            if labelled == UNLABELLED {
                continue;
            }
            self.of(labelled).labelled += 1;
            if predicted == UNLABELLED {
                continue;
            }
            let step = step_of(score);
            let tally = self.of(predicted);
            tally.predicted[step] += 1;
            tally.right[step] += u64::from(predicted == labelled);
        }
    }

    fn of(&mut self, category: u16) -> &mut Tally {
        let index = usize::from(category);
        self.grow(index + 1);
        &mut self.0[index]
    }

    fn grow(&mut self, categories: usize) {
        self.0.resize(self.0.len().max(categories), Tally::default());
    }

    fn merge(&mut self, other: &Self) {
        self.grow(other.0.len());
        self.0.iter_mut().zip(&other.0).for_each(|(sum, tally)| sum.merge(tally));
    }

    fn sum(&self) -> Tally {
        let mut sum = Tally::default();
        self.0.iter().for_each(|tally| sum.merge(tally));
        sum
    }
}

impl Tally {
    fn merge(&mut self, other: &Self) {
        self.labelled += other.labelled;
        self.predicted.iter_mut().zip(other.predicted).for_each(|(sum, more)| *sum += more);
        self.right.iter_mut().zip(other.right).for_each(|(sum, more)| *sum += more);
    }

    fn curve(&self, name: &str) -> Curve {
        let share = |part: u64, whole: u64| (whole > 0).then(|| 100.0 * part as f64 / whole as f64);
        let points = (0..COUNT).map(|step| {
            let [predicted, right] = [self.predicted, self.right].map(|of| of[step..].iter().sum());
            Point {
                threshold: threshold(step),
                precision: share(right, predicted),
                recall: share(right, self.labelled),
            }
        });
        let points: Vec<Point> = points.collect();
        let best_threshold = best(&points);
        Curve { name: name.to_owned(), labelled_pixels: self.labelled, points, best_threshold }
    }
}

impl Point {
    /// The harmonic mean of precision and recall, in percent; 0 where either is 0 or missing.
    pub fn f1(&self) -> f64 {
        match (self.precision, self.recall) {
            (Some(precision), Some(recall)) if precision + recall > 0.0 => {
                2.0 * precision * recall / (precision + recall)
            }
            _ => 0.0,
        }
    }
}

fn best(points: &[Point]) -> Option<f32> {
    // The last of equals in reverse is the lowest.
    let best = points.iter().rev().max_by(|one, other| one.f1().total_cmp(&other.f1()))?;
    (best.f1() > 0.0).then_some(best.threshold)
}

/// Segments all pictures of a plan, at most `jobs` at a time, and counts at each threshold the pixels that
/// are right. Pictures that cannot be scored are left out.
///
/// # Errors
/// As [`measure`](crate::measure()), or the server sends no scores.
pub async fn measure(
    asker: &Asker,
    plan: Plan,
    jobs: Jobs,
    progress: &dyn Fn(Step<'_>),
) -> Result<(Model, Measured)> {
    let Plan { condition, words, cases, names, background } = plan;
    let asker = asker.with_scores();
    let (mut tallies, mut pictures) = (Tallies::default(), 0);
    let mut answered = None;
    let count = |compared: Compared, scores: Option<Vec<f32>>| {
        let mut tallies = Tallies::default();
        tallies.add(&compared.answer, &scores.ok_or(Error::NoScores)?, &compared.label);
        Ok(tallies)
    };
    let work = |case: Case| one(asker.clone(), case, count);
    let take = |one: One<Tallies>| {
        tallies.merge(&one.counted);
        pictures += 1;
        answered = Some(one.report);
    };
    let failed = ask::all(cases, jobs, progress, work, take).await?.failed;
    let answered = answered.ok_or(Error::Nothing("pictures"))?;
    let all = tallies.sum().curve("all");
    if all.labelled_pixels == 0 {
        return Err(Error::NothingLabelled);
    }
    let asked = answered.categories.len();
    let answered_names = answered.categories.into_iter().map(|category| category.name);
    let names = names.unwrap_or_else(|| Names::of_answers(answered_names, background));
    tallies.grow(names.len());
    let curve = |(index, tally): (usize, &Tally)| tally.curve(names.name(index));
    let categories = tallies.0.iter().enumerate().map(curve).collect();
    let words = words.unwrap_or(asked);
    Ok((answered.model, Measured { condition, words, pictures, failed, all, categories }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: u16 = UNLABELLED;

    #[test]
    fn thresholds_are_even_and_scores_reach_those_below_them() {
        let all: Vec<f32> = (0..COUNT).map(threshold).collect();
        assert_eq!((all[0], all[1], all[3], all[19]), (0.0, 0.05, 0.15, 0.95));
        for (score, step) in [(0.0, 0), (0.0499, 0), (0.05, 1), (0.3, 6), (0.949, 18), (0.95, 19), (1.0, 19)]
        {
            assert_eq!(step_of(score), step, "{score}");
        }
    }

    #[test]
    fn a_threshold_gives_up_recall_for_precision() {
        let mut tallies = Tallies::default();
        // Of category 0 two pixels are right and sure, one is right and unsure, one is wrong and unsure.
        let (answer, label) = ([0, 0, 0, 0, NONE, 1, 1], [0, 0, 0, 1, 0, 1, NONE]);
        tallies.add(&answer, &[0.9, 0.8, 0.2, 0.1, 0.9, 0.6, 0.9], &label);
        let curve = tallies.0[0].curve("cow");
        assert_eq!((curve.labelled_pixels, curve.points.len()), (4, COUNT));
        let at = |step: usize| (curve.points[step].precision, curve.points[step].recall);
        assert_eq!(at(0), (Some(75.0), Some(75.0)));
        assert_eq!(at(3), (Some(100.0), Some(75.0)), "0.15");
        assert_eq!(at(5), (Some(100.0), Some(50.0)), "0.25");
        assert_eq!(at(18), (Some(100.0), Some(25.0)), "0.9");
        assert_eq!(at(19), (None, Some(0.0)), "0.95");
        assert_eq!(curve.best_threshold, Some(threshold(3)));
        let other = tallies.0[1].curve("pig");
        assert_eq!((other.labelled_pixels, other.points[0].precision), (2, Some(100.0)));
        assert_eq!(Tally::default().curve("none").best_threshold, None);
    }

    #[test]
    fn parts_merged_are_the_whole() {
        let (answer, label) = ([0, 3, 1, NONE, 3], [0, 3, 3, 3, NONE]);
        let scores = [0.5, 0.75, 0.25, 0.125, 1.0];
        let (mut whole, mut parts, mut rest) = (Tallies::default(), Tallies::default(), Tallies::default());
        whole.add(&answer, &scores, &label);
        parts.add(&answer[..1], &scores[..1], &label[..1]);
        rest.add(&answer[1..], &scores[1..], &label[1..]);
        parts.merge(&rest);
        assert_eq!(parts, whole);
        let all = whole.sum().curve("all");
        assert_eq!((all.labelled_pixels, all.points[0].recall), (4, Some(50.0)));
    }
}
