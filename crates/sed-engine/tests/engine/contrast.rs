//! Contrast words and synonym modes with the fake model: each equals the same words written out as
//! categories, merged by hand.

use std::time::Instant;

use sed_engine::{
    Category, Directions, Engine, EngineConfig, EngineError, JobImage, NetworkInput, OutputSpec, Priority,
    Rejection, SegmentJob, SegmentOutcome, Stage, SynonymMode, Thresholds, UNLABELLED, Vocabulary,
    VocabularyLimits,
    fake::{FakeControl, FakeReader, FakeStages, Fault},
};
use sed_telemetry::Telemetry;

const ASKED: usize = 12;
const CONTRAST: usize = 8;

async fn engine(config: EngineConfig) -> (Engine, FakeControl) {
    let (stages, control) = FakeStages::new();
    let engine = Engine::start(stages, &config, &Telemetry::off()).unwrap();
    engine.ready().await.unwrap();
    (engine, control)
}

/// Engines that take a request whole, with others, or in parts.
async fn engines() -> Vec<Engine> {
    let mut engines = Vec::new();
    for batch_pairs in [1000, 7] {
        let config = EngineConfig { batch_pairs: Some(batch_pairs), ..EngineConfig::default() };
        engines.push(engine(config).await.0);
    }
    engines
}

fn things(name: &str, count: usize) -> Vec<Category> {
    (0..count).map(|index| Category::new(format!("{name} {index}"))).collect()
}

fn checked(categories: Vec<Category>) -> Vocabulary {
    Vocabulary::new(categories, &VocabularyLimits::default(), &FakeReader).unwrap()
}

fn with(asked: Vec<Category>, mode: SynonymMode, contrast: Vec<Category>) -> Vocabulary {
    checked(asked).with(mode, contrast, &VocabularyLimits::default(), &FakeReader).unwrap()
}

fn job(vocabulary: Vocabulary, rejection: Rejection, thresholds: Thresholds) -> SegmentJob {
    let data = (0..32 * 32 * 3).map(|index| (index % 97) as f32 / 50.0).collect();
    SegmentJob {
        image: JobImage::Pixels { input: NetworkInput::new(32, data).into(), facts: None },
        vocabulary,
        rejection,
        output: OutputSpec {
            width: 40,
            height: 24,
            crop: None,
            thresholds,
            score_maps: true,
            sureness: false,
        },
        waiting_since: Instant::now(),
        deadline: None,
        priority: Priority::Normal,
    }
}

/// Segments with the vocabulary beside requests with other words.
async fn segment(engine: &Engine, job: SegmentJob) -> SegmentOutcome {
    let other = |words: usize| SegmentJob {
        vocabulary: checked(things("other", words)),
        output: OutputSpec { thresholds: same(0.0), ..job.output.clone() },
        ..job.clone()
    };
    let (first, second) = (engine.segment(other(3)), engine.segment(other(5)));
    let (first, outcome, second) = tokio::join!(first, engine.segment(job.clone()), second);
    assert!(first.is_ok() && second.is_ok());
    outcome.unwrap()
}

fn same(threshold: f32) -> Thresholds {
    Thresholds::Same(threshold)
}

#[tokio::test]
async fn contrast_words_are_categories_whose_pixels_are_taken_out() {
    let written = checked([things("thing", ASKED), things("common", CONTRAST)].concat());
    let words = with(things("thing", ASKED), SynonymMode::Mean, things("common", CONTRAST));
    for engine in engines().await {
        for top_k in [0, 1, 2] {
            let rejection = Rejection::from_top_k(top_k);
            let all = segment(&engine, job(written.clone(), rejection, same(0.0))).await;
            let found = segment(&engine, job(words.clone(), rejection, same(0.0))).await;
            let taken_out = |index: &u16| if usize::from(*index) < ASKED { *index } else { UNLABELLED };
            let indices: Vec<u16> = all.map.indices.iter().map(taken_out).collect();
            assert_eq!(found.map.indices, indices);
            assert_eq!(found.map.pixels, all.map.pixels[..ASKED]);
            assert_eq!(found.map.mean_scores, all.map.mean_scores[..ASKED]);
            let contrast: u64 = all.map.pixels[ASKED..].iter().map(|pixels| u64::from(*pixels)).sum();
            assert_eq!(found.contrast_pixels, contrast);
            assert!(contrast > 0 && contrast < 960, "{contrast}");
            assert_eq!(all.contrast_pixels, 0);

            let scores = (found.map.score_maps.unwrap(), all.map.score_maps.unwrap());
            let asked = scores.1.categories.iter().filter(|category| **category < ASKED as u32).count();
            assert_eq!(scores.0.categories, scores.1.categories[..asked]);
            assert_eq!(scores.0.scores, scores.1.scores[..asked * 64]);

            for (level, all) in found.rejection.levels.iter().zip(&all.rejection.levels) {
                let asked = |list: &[u32]| -> Vec<u32> {
                    list.iter().copied().filter(|category| *category < ASKED as u32).collect()
                };
                assert_eq!(level.survivors, asked(&all.survivors));
                assert_eq!(level.rejected, asked(&all.rejected));
                assert_eq!(level.candidates + level.contrast_candidates, all.candidates);
                assert_eq!(
                    level.survivors.len() as u32 + level.contrast_survivors,
                    all.survivors.len() as u32
                );
            }
            assert_eq!(found.rejection.levels[0].contrast_candidates as usize, CONTRAST);
        }
    }
}

#[tokio::test]
async fn a_threshold_below_a_contrast_word_changes_nothing_for_it() {
    let written = checked([things("thing", ASKED), things("common", CONTRAST)].concat());
    let words = with(things("thing", ASKED), SynonymMode::Mean, things("common", CONTRAST));
    let (engine, _) = engine(EngineConfig::default()).await;
    let free = segment(&engine, job(words.clone(), Rejection::Off, same(0.0))).await;
    let all = segment(&engine, job(written, Rejection::Off, same(0.97))).await;
    let found = segment(&engine, job(words.clone(), Rejection::Off, same(0.97))).await;
    assert_eq!(found.map.pixels, all.map.pixels[..ASKED]);
    assert_ne!(found.map.pixels, free.map.pixels);
    assert_eq!(found.contrast_pixels, free.contrast_pixels);

    let mut thresholds = [0.0; ASKED];
    let (most, pixels) = free.map.pixels.iter().enumerate().max_by_key(|(_, pixels)| **pixels).unwrap();
    thresholds[most] = 1.0;
    let thresholds = Thresholds::ByCategory(thresholds.into());
    let one = segment(&engine, job(words, Rejection::Off, thresholds)).await;
    assert!(*pixels > 0 && one.map.pixels[most] == 0);
    let others = |pixels: &[u32]| [&pixels[..most], &pixels[most + 1..]].concat();
    assert_eq!(others(&one.map.pixels), others(&free.map.pixels));
    assert_eq!(one.contrast_pixels, free.contrast_pixels);
}

/// Categories of one to three phrases, and the same phrases as categories of their own.
fn synonyms() -> (Vec<Category>, Vec<Category>, Vec<usize>) {
    let category = |index: usize| Category {
        name: format!("thing {index}"),
        synonyms: (0..index % 3).map(|synonym| format!("word {index} {synonym}")).collect(),
    };
    let categories: Vec<Category> = (0..ASKED).map(category).collect();
    let phrases = categories.iter().flat_map(Category::phrases).map(Category::new).collect();
    let category_of = categories.iter().enumerate();
    let category_of = category_of.flat_map(|(index, category)| vec![index; 1 + category.synonyms.len()]);
    let category_of = category_of.collect();
    (categories, phrases, category_of)
}

#[tokio::test]
async fn the_best_phrase_counts_as_if_each_were_a_category() {
    let (categories, phrases, category_of) = synonyms();
    let best = with(categories, SynonymMode::Best, Vec::new());
    assert_eq!(best.pairs(), phrases.len());
    for engine in engines().await {
        let each = segment(&engine, job(checked(phrases.clone()), Rejection::Off, same(0.5))).await;
        let found = segment(&engine, job(best.clone(), Rejection::Off, same(0.5))).await;
        let merged = |index: &u16| match *index {
            UNLABELLED => UNLABELLED,
            phrase => category_of[usize::from(phrase)] as u16,
        };
        assert_eq!(found.map.indices, each.map.indices.iter().map(merged).collect::<Vec<u16>>());
        let mut pixels = vec![0; ASKED];
        category_of.iter().zip(&each.map.pixels).for_each(|(category, phrase)| pixels[*category] += phrase);
        assert_eq!(found.map.pixels, pixels);

        let (scores, each) = (found.map.score_maps.unwrap(), each.map.score_maps.unwrap());
        let mut highest = vec![0.0_f32; ASKED * 64];
        for (phrase, map) in each.scores.chunks(64).enumerate() {
            let category = &mut highest[category_of[phrase] * 64..][..64];
            category.iter_mut().zip(map).for_each(|(highest, score)| *highest = highest.max(*score));
        }
        assert_eq!(scores.categories, (0..ASKED as u32).collect::<Vec<_>>());
        assert_eq!(scores.scores, highest);
        let levels = found.rejection.levels;
        assert!(levels.iter().all(|level| level.survivors.len() == ASKED && level.rejected.is_empty()));
    }
}

#[tokio::test]
async fn rejection_counts_a_category_once_and_keeps_its_best_phrases() {
    let (categories, phrases, category_of) = synonyms();
    let contrast = vec![Category { name: "common".into(), synonyms: vec!["usual".into(), "plain".into()] }];
    let words = with(categories, SynonymMode::Best, contrast);
    let whole = EngineConfig { batch_pairs: Some(1000), ..EngineConfig::default() };
    let (engine, _) = engine(whole).await;
    // Every category is among the best of so many: only phrases that are nowhere the best of their category
    // go.
    let all = engine.segment(job(words.clone(), Rejection::from_top_k(100), same(0.0))).await.unwrap();
    assert!(all.rejection.levels.iter().all(|level| level.rejected.is_empty()));
    let few = engine.segment(job(words, Rejection::from_top_k(1), same(0.0))).await.unwrap();
    let levels = &few.rejection.levels;
    assert_eq!((levels[0].candidates as usize, levels[0].contrast_candidates), (ASKED, 1));
    for (level, timing) in levels.iter().zip(&few.timings[3..]) {
        assert!(level.survivors.is_sorted_by(|one, other| one < other));
        assert_eq!(level.survivors.len() + level.rejected.len(), level.candidates as usize);
        let categories = level.survivors.len() as u32 + level.contrast_survivors;
        assert!(timing.batches[0].pairs >= categories, "{timing:?} for {categories}");
    }
    assert_eq!(few.timings[2].batches[0].pairs as usize, phrases.len() + 3);
    assert_eq!(category_of.len(), phrases.len());
}

#[tokio::test]
async fn thresholds_are_of_the_categories_asked_for() {
    let (engine, _) = engine(EngineConfig::default()).await;
    let words = with(things("thing", 2), SynonymMode::Mean, things("common", 3));
    for wrong in [&[0.5; 5][..], &[0.5], &[0.5, f32::NAN], &[0.5, f32::INFINITY]] {
        let thresholds = Thresholds::ByCategory(wrong.into());
        let refused = engine.segment(job(words.clone(), Rejection::Off, thresholds)).await.unwrap_err();
        assert!(matches!(refused, EngineError::InvalidJob { field: "thresholds", .. }), "{refused}");
    }
}

fn length(directions: &Directions, category: usize) -> f32 {
    directions.row(category).iter().map(|value| value * value).sum()
}

#[tokio::test]
async fn directions_are_unit_vectors_of_categories_and_are_computed_once() {
    let (engine, control) = engine(EngineConfig::default()).await;
    let contrast = vec![Category::new("wall")];
    let category = |name: &str| Category { name: name.into(), synonyms: vec!["puss".into()] };
    let before = control.embedded();
    for mode in [SynonymMode::Mean, SynonymMode::Best] {
        let words = with(vec![category("cat"), Category::new("sky")], mode, contrast.clone());
        let directions = engine.directions(&words, None).await.unwrap();
        assert_eq!(directions.asked(), 2);
        assert!((0..3).all(|category| (length(&directions, category) - 1.0).abs() < 1e-5));
        assert!(directions.row(3).is_empty());
        assert!(directions.similarity(0, 1).get() < 0.9);
        assert_eq!(*directions, *engine.directions(&words, None).await.unwrap());
        let alone = engine.directions(&checked(vec![Category::new("sky")]), None).await.unwrap();
        assert_eq!(alone.row(0), directions.row(1));
    }
    assert_eq!(control.embedded() - before, 4);
    // A failure of the text tower is the caller's.
    control.inject(Stage::TextEmbedding, Fault::Panic);
    let refused = engine.directions(&checked(vec![Category::new("unknown")]), None).await.unwrap_err();
    assert!(matches!(refused, EngineError::StageFailed { stage: Stage::TextEmbedding, .. }), "{refused}");
}
