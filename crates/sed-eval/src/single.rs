//! Questions of a single word, with and without contrast words: an arg-max over one category has no choice.

use sed_client::{Contrast, report::Model, v1, v1::vocabulary::Source};
use sed_image::UNLABELLED;
use serde::Serialize;

use crate::{
    ask::{self, Asker, Failed, Failure, Jobs, Step},
    case::{Case, Compared, Meaning, Picture},
    error::{Error, Result},
    plan::{Names, Plan},
    score::{Counts, percent, percent_mean},
};

/// The figures of a condition.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The condition of the scenes.
    pub condition: String,
    /// Number of scenes in the figures.
    pub pictures: u64,
    /// Questions for words that are in the picture; there are as many for words that are not, as far as the
    /// scenes have them.
    pub present: u64,
    /// Questions for words that are not in the picture.
    pub absent: u64,
    /// Without contrast words.
    pub without: Figures,
    /// With contrast words.
    pub with: Figures,
    /// Scenes that could not be scored.
    pub failed: Vec<Failed>,
}

/// Figures in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Mean IoU over the categories that are objects, each question by itself.
    pub object_miou: Option<f64>,
    /// Mean IoU over those that are stuff.
    pub stuff_miou: Option<f64>,
    /// Mean share of the picture that is taken for a word that is not in it.
    pub absent_taken: Option<f64>,
}

/// Counts for one way to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    /// Of words that are in their pictures, by category.
    present: Vec<Counts>,
    /// Pixels of the pictures that were asked for words that are not in them.
    absent_pixels: u64,
    /// Those of them that were taken for the word.
    absent_taken: u64,
}

/// One picture: its questions asked without and with contrast words.
#[derive(Debug, Default)]
struct One {
    model: Option<Model>,
    present: u64,
    absent: u64,
    tallies: [Tally; 2],
}

/// Asks for each word of a scene that is in its picture, and for as many that are not, alone: without
/// contrast words, and with those of `asker`, or of the server's choice where it has none. Scenes that cannot
/// be scored are left out.
///
/// # Errors
/// A failure that every scene would have, or no scene can be scored.
pub async fn measure(
    asker: &Asker,
    plan: Plan,
    jobs: Jobs,
    progress: &dyn Fn(Step<'_>),
) -> Result<(Model, Row)> {
    let Plan { condition, cases, names, .. } = plan;
    let names = names.unwrap_or_default();
    let contrast = match &asker.competition.contrast {
        None | Some(Contrast::Off) => Contrast::Auto,
        Some(contrast) => contrast.clone(),
    };
    let (mut sum, mut pictures) = (One::default(), 0);
    let work = |case: Case| one(asker.clone(), case, contrast.clone());
    let take = |one: One| {
        pictures += 1;
        sum.add(one);
    };
    let failed = ask::all(cases, jobs, progress, work, take).await?.failed;
    let [without, with] = sum.tallies.map(|tally| tally.figures(&names));
    let (present, absent) = (sum.present, sum.absent);
    let condition = condition.unwrap_or_default();
    let row = Row { condition, pictures, present, absent, without, with, failed };
    Ok((sum.model.ok_or(Error::Nothing("questions"))?, row))
}

async fn one(asker: Asker, case: Case, contrast: Contrast) -> Result<One, Failure> {
    let Picture { bytes, .. } = case.picture(asker.exif).await.map_err(Failure::OfCase)?;
    let questions = questions(&case).map_err(Failure::OfCase)?;
    let mut one = One::default();
    for Question { word, category, is_present } in questions {
        *(if is_present { &mut one.present } else { &mut one.absent }) += 1;
        for (tally, contrast) in one.tallies.iter_mut().zip([Contrast::Off, contrast.clone()]) {
            let list = v1::CategoryList { categories: vec![word.clone()] };
            let vocabulary = v1::Vocabulary {
                source: Some(Source::Categories(list)),
                contrast: Some(contrast.into()),
                ..v1::Vocabulary::default()
            };
            let answer = asker.ask(bytes.clone(), vocabulary, None).await?;
            one.model = Some(answer.report.model);
            let compared = case.compare(answer.map, 1).map_err(Failure::OfCase)?;
            tally.count(&compared, category, is_present);
        }
    }
    Ok(one)
}

/// A word to ask for.
#[derive(Debug, PartialEq)]
struct Question {
    word: v1::Category,
    /// The category that its pixels have in the label.
    category: u16,
    is_present: bool,
}

/// The words of a scene that are in its picture, and as many of the others.
fn questions(case: &Case) -> Result<Vec<Question>> {
    let (Some(Source::Categories(list)), Meaning::Words { categories }) =
        (&case.vocabulary.source, &case.meaning)
    else {
        return Err(Error::Nothing("words of the scene"));
    };
    let present = case.values_of_label()?;
    let (there, absent): (Vec<usize>, Vec<usize>) =
        (0..list.categories.len()).partition(|word| present.binary_search(&(*word as u16)).is_ok());
    let count = there.len();
    let question = |word: usize, is_present| {
        let (word, category) = (list.categories.get(word)?.clone(), *categories.get(word)?);
        Some(Question { word, category, is_present })
    };
    let there = there.into_iter().filter_map(|word| question(word, true));
    let absent = absent.into_iter().take(count).filter_map(|word| question(word, false));
    Ok(there.chain(absent).collect())
}

impl One {
    fn add(&mut self, other: Self) {
        self.model = other.model.or(self.model.take());
        self.present += other.present;
        self.absent += other.absent;
        self.tallies.iter_mut().zip(&other.tallies).for_each(|(sum, tally)| sum.merge(tally));
    }
}

impl Tally {
    /// Counts an answer to one word, in which every labelled pixel is taken for it.
    fn count(&mut self, Compared { answer, label }: &Compared, category: u16, is_present: bool) {
        let taken = answer.iter().filter(|index| **index != UNLABELLED).count() as u64;
        if !is_present {
            self.absent_pixels += answer.len() as u64;
            self.absent_taken += taken;
            return;
        }
        let is_right = |(index, labelled): &(&u16, &u16)| **index != UNLABELLED && **labelled == category;
        let counts = Counts {
            labelled: label.iter().filter(|labelled| **labelled == category).count() as u64,
            predicted: taken,
            right: answer.iter().zip(label).filter(is_right).count() as u64,
        };
        self.add(usize::from(category), counts);
    }

    fn add(&mut self, category: usize, counts: Counts) {
        self.present.resize(self.present.len().max(category + 1), Counts::default());
        self.present[category] = self.present[category].plus(counts);
    }

    fn merge(&mut self, other: &Self) {
        other.present.iter().enumerate().for_each(|(category, counts)| self.add(category, *counts));
        self.absent_pixels += other.absent_pixels;
        self.absent_taken += other.absent_taken;
    }

    fn figures(&self, names: &Names) -> Figures {
        let miou = |stuff: bool| {
            let of_kind =
                self.present.iter().enumerate().filter(|(index, _)| names.is_stuff(*index) == stuff);
            percent_mean(of_kind.filter_map(|(_, counts)| counts.iou()))
        };
        Figures {
            object_miou: miou(false),
            stuff_miou: miou(true),
            absent_taken: percent(self.absent_taken, self.absent_pixels),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(folder: &std::path::Path, label: &[u8], words: &[&str], categories: &[u16]) -> Case {
        let path = folder.join("0.label.png");
        image::GrayImage::from_raw(label.len() as u32, 1, label.to_vec()).unwrap().save(&path).unwrap();
        Case {
            picture: folder.join("0.png"),
            label: path,
            vocabulary: sed_client::words(words.iter().copied()),
            meaning: Meaning::Words { categories: categories.to_vec() },
        }
    }

    #[test]
    fn every_present_word_is_asked_and_as_many_absent_ones() {
        let folder = tempfile::tempdir().unwrap();
        let case = case(folder.path(), &[0, 2, 2, 0], &["cow", "pig", "sky", "cat", "dog"], &[7, 1, 0, 3, 4]);
        let asked: Vec<(String, u16, bool)> =
            questions(&case).unwrap().into_iter().map(|q| (q.word.name, q.category, q.is_present)).collect();
        let want = [("cow", 7, true), ("sky", 0, true), ("pig", 1, false), ("cat", 3, false)];
        assert_eq!(asked, want.map(|(word, category, is_present)| (word.to_owned(), category, is_present)));
    }

    #[test]
    fn a_word_that_claims_all_has_its_share_as_iou() {
        let label = [5, 5, 5, 9];
        let mut names = Names::default();
        (0..6).for_each(|id| assert_eq!(names.id(&format!("{id}"), id == 5).unwrap(), id));
        let figures = |answer: [u16; 4]| {
            let compared = Compared { answer: answer.into(), label: label.into() };
            let (mut sum, mut tally) = (Tally::default(), Tally::default());
            tally.count(&compared, 5, true);
            tally.count(&compared, 2, false);
            sum.merge(&tally);
            sum.merge(&tally);
            sum.figures(&names)
        };
        let all = figures([5; 4]);
        assert_eq!((all.object_miou, all.stuff_miou, all.absent_taken), (None, Some(75.0), Some(100.0)));
        let some = figures([5, 5, UNLABELLED, UNLABELLED]);
        assert_eq!((some.stuff_miou.map(f64::round), some.absent_taken), (Some(67.0), Some(50.0)));
    }
}
