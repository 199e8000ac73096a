//! Rejection compared with the full path: survivors, changed pixels, and saved time.

use sed_client::{
    Report,
    report::{Latency, Model, Stage},
};
use sed_image::IndexMap;
use serde::Serialize;

use crate::{
    ask::{self, Answer, Asker, Failed, Failure, Jobs, Step, Survivors},
    case::{Case, Compared, Picture},
    error::{Error, Result},
    plan::Plan,
    score::percent,
};

/// The full path, or the path with one `top_k`, over the scenes of a condition.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The condition of the scenes.
    pub condition: String,
    /// 0 is the full path, to which the others are compared.
    pub top_k: u32,
    /// Number of scenes in the figures.
    pub pictures: usize,
    /// Mean number of words.
    pub words: f64,
    /// Mean number of words that went into each decoder level.
    pub survivors: Vec<f64>,
    /// Pixels with the same word as on the full path, in percent.
    pub agreement: Option<f64>,
    /// Pixels with the word of the label, in percent.
    pub pixel_accuracy: Option<f64>,
    /// Words of the label that did not reach the last level; mean over the pictures.
    pub lost_words: f64,
    /// Mean time from cost map to index map.
    pub decoder_ms: f64,
    /// Mean time of everything but text embeddings, which are known after the first request.
    pub whole_ms: f64,
    /// Time of the full path divided by that of this one; 2 is twice as fast.
    pub decoder_speedup: f64,
    /// The same for the whole time.
    pub speedup: f64,
}

/// A condition, measured.
#[derive(Debug)]
pub struct Measured {
    /// The model that answered.
    pub model: Model,
    /// The full path, then every `top_k`.
    pub rows: Vec<Row>,
    /// Scenes that could not be scored.
    pub failed: Vec<Failed>,
}

/// Sums over pictures for one `top_k`.
#[derive(Clone, Debug, Default)]
struct Sums {
    survivors: Survivors,
    words: usize,
    pixels: u64,
    agreeing: u64,
    right: u64,
    lost: usize,
    decoder_ms: f64,
    whole_ms: f64,
}

/// One picture: its answers in the order of the `top_k`s, the full path first.
#[derive(Debug)]
struct One {
    model: Model,
    answers: Vec<Sums>,
}

/// Segments every scene with rejection off and with each `top_k`. Scenes that cannot be scored are left out.
///
/// # Errors
/// A failure that every scene would have, or no scene can be scored.
pub async fn measure(
    asker: &Asker,
    plan: Plan,
    top_ks: &[u32],
    jobs: Jobs,
    progress: &dyn Fn(Step<'_>),
) -> Result<Measured> {
    let Plan { condition, cases, .. } = plan;
    let (condition, count) = (condition.unwrap_or_default(), cases.len());
    let top_ks: Vec<u32> = std::iter::once(0).chain(top_ks.iter().copied()).collect();
    let mut sums = vec![Sums::default(); top_ks.len()];
    let mut model = None;
    let work = |case: Case| one(asker.clone(), case, top_ks.clone());
    let take = |one: One| {
        sums.iter_mut().zip(&one.answers).for_each(|(sum, more)| sum.merge(more));
        model = Some(one.model);
    };
    let failed = ask::all(cases, jobs, progress, work, take).await?.failed;
    let pictures = count - failed.len();
    let full = sums[0].clone();
    let rows = top_ks.iter().zip(&sums).map(|(top_k, sum)| sum.row(&condition, *top_k, pictures, &full));
    Ok(Measured { model: model.ok_or(Error::Nothing("scenes"))?, rows: rows.collect(), failed })
}

async fn one(asker: Asker, case: Case, top_ks: Vec<u32>) -> Result<One, Failure> {
    let Picture { bytes, .. } = case.picture(asker.exif).await.map_err(Failure::OfCase)?;
    let mut answers = Vec::with_capacity(top_ks.len());
    for top_k in &top_ks {
        answers.push(asker.ask(bytes.clone(), case.vocabulary.clone(), Some(*top_k)).await?);
    }
    let compared = tokio::task::spawn_blocking(move || compare(&case, answers)).await;
    compared.map_err(|broken| Failure::OfAll(broken.into()))?.map_err(Failure::OfCase)
}

fn compare(case: &Case, answers: Vec<Answer>) -> Result<One> {
    let Some(first) = answers.first() else { return Err(Error::Nothing("answers")) };
    let full = Full {
        map: first.map.clone(),
        around_decoder_ms: around_decoder(&first.report.latency),
        model: first.report.model.clone(),
    };
    let sums = answers.into_iter().map(|answer| full.compare(case, answer));
    Ok(One { answers: sums.collect::<Result<_>>()?, model: full.model })
}

/// The answer of the full path, to which the others are compared.
struct Full {
    map: IndexMap,
    /// Time before the cost map and after the index map. It is the same for every `top_k`; a server that
    /// remembers a picture's features spends it only once.
    around_decoder_ms: f64,
    model: Model,
}

impl Full {
    fn compare(&self, case: &Case, Answer { map, report, .. }: Answer) -> Result<Sums> {
        let agreeing = equal(map.indices(), self.map.indices());
        let Compared { answer, label } = case.compare(map, report.categories.len())?;
        let decoder_ms = report.latency.decoder_ms();
        let mut survivors = Survivors::default();
        survivors.add(&report.rejection);
        Ok(Sums {
            survivors,
            words: report.categories.len(),
            pixels: label.len() as u64,
            agreeing,
            right: equal(&answer, &label),
            lost: lost(&label, &report),
            decoder_ms,
            whole_ms: self.around_decoder_ms + decoder_ms,
        })
    }
}

impl Sums {
    fn merge(&mut self, other: &Self) {
        self.survivors.merge(&other.survivors);
        self.words += other.words;
        self.pixels += other.pixels;
        self.agreeing += other.agreeing;
        self.right += other.right;
        self.lost += other.lost;
        self.decoder_ms += other.decoder_ms;
        self.whole_ms += other.whole_ms;
    }

    fn row(&self, condition: &str, top_k: u32, pictures: usize, full: &Self) -> Row {
        let mean = |sum: f64| sum / pictures as f64;
        Row {
            condition: condition.to_owned(),
            top_k,
            pictures,
            words: mean(self.words as f64),
            survivors: self.survivors.means(),
            agreement: percent(self.agreeing, self.pixels),
            pixel_accuracy: percent(self.right, self.pixels),
            lost_words: mean(self.lost as f64),
            decoder_ms: mean(self.decoder_ms),
            whole_ms: mean(self.whole_ms),
            decoder_speedup: full.decoder_ms / self.decoder_ms,
            speedup: full.whole_ms / self.whole_ms,
        }
    }
}

fn equal(left: &[u16], right: &[u16]) -> u64 {
    left.iter().zip(right).filter(|(left, right)| left == right).count() as u64
}

/// Number of words of a label that did not reach the last level.
fn lost(label: &[u16], report: &Report) -> usize {
    let Some(last) = report.rejection.levels.last() else { return 0 };
    let mut present: Vec<u16> = label.to_vec();
    present.sort_unstable();
    present.dedup();
    present.iter().filter(|word| !last.survivors.contains(&u32::from(**word))).count()
}

/// The time of the other stages but text embedding.
fn around_decoder(latency: &Latency) -> f64 {
    let counts = |stage: &&Stage| stage.stage != "text_embedding";
    let all: f64 = latency.stages.iter().filter(counts).map(|stage| stage.duration_ms).sum();
    all - latency.decoder_ms()
}

#[cfg(test)]
mod tests {
    use sed_client::report::{Level, Rejection};

    use super::*;

    fn latency(stages: &[(&str, f64)]) -> Latency {
        let stage = |(stage, duration_ms): &(&str, f64)| Stage {
            stage: (*stage).to_owned(),
            wait_ms: 1000.0,
            duration_ms: *duration_ms,
        };
        let stages = stages.iter().map(stage).collect();
        Latency {
            total_ms: 0.0,
            stages,
            text_cache_hits: 0,
            text_cache_misses: 0,
            vocabulary_cache_hit: false,
            image_cache_hit: false,
        }
    }

    #[test]
    fn every_stage_is_on_one_side_and_known_words_on_none() {
        let stages = [
            ("image_decode", 1.0),
            ("text_embedding", 2.0),
            ("encode", 4.0),
            ("cost_map", 8.0),
            ("decode_level_1", 16.0),
            ("decode_level_2", 32.0),
            ("decode_level_3", 64.0),
            ("finish", 128.0),
            ("mask_encoding", 256.0),
        ];
        assert_eq!(latency(&stages).decoder_ms(), 248.0);
        assert_eq!(around_decoder(&latency(&stages)), 261.0);
    }

    #[test]
    fn rows_are_means_and_ratios_of_sums() {
        let survivors = |counts: [u32; 2]| {
            let level = |(level, count): (u32, u32)| Level {
                level,
                candidates: 9,
                survivors: (0..count).collect(),
                rejected: Vec::new(),
                contrast_candidates: 0,
                contrast_survivors: 0,
            };
            let mut sum = Survivors::default();
            sum.add(&Rejection { top_k: 1, levels: [(1, counts[0]), (2, counts[1])].map(level).into() });
            sum
        };
        let sums = |counts, agreeing, decoder_ms| Sums {
            survivors: survivors(counts),
            words: 9,
            pixels: 10,
            agreeing,
            right: 5,
            lost: 1,
            decoder_ms,
            whole_ms: decoder_ms + 10.0,
        };
        let mut some = sums([8, 4], 10, 10.0);
        some.merge(&sums([5, 3], 7, 30.0));
        let mut full = sums([9, 9], 10, 100.0);
        full.merge(&sums([9, 9], 10, 100.0));
        let row = some.row("trained", 1, 2, &full);
        assert_eq!((row.survivors, row.words, row.lost_words), (vec![6.5, 3.5], 9.0, 1.0));
        assert_eq!((row.agreement, row.pixel_accuracy), (Some(85.0), Some(50.0)));
        assert_eq!((row.decoder_ms, row.decoder_speedup), (20.0, 5.0));
        assert_eq!((row.whole_ms, row.speedup), (30.0, 220.0 / 60.0));
    }
}
