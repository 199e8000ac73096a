//! Time that a launch of a stage takes, learned while running: a fixed part and a part for each unit.
//!
//! Units are images for the encoder, [`text_units`] for the text tower, and pairs for all other stages, each
//! of an image with a category or one of its phrases; at the last one a pair counts as often as its output is
//! larger than the network's own map.

use std::time::{Duration, Instant};

use crate::{
    admission::fit::Fit,
    requests::job::SegmentJob,
    stages::{Level, Rejection, phrases::TokenPhrase, stage::Stage},
};

/// Weight of the survivor average so far, when the next survivor count is added to it.
const SURVIVOR_MEMORY: f64 = 0.95;
/// Tokens of a prompt that come after its phrase; those before it are computed when the model is loaded.
const TOKENS_AFTER: usize = 3;
/// A prompt is cut to 77 tokens.
const MOST_TOKENS: usize = 77;

/// The times of all stages.
#[derive(Clone, Debug, Default)]
pub(crate) struct CostModel {
    stages: [Fit; Stage::COUNT],
    /// The same stages in parts: all parts of a request together.
    parts: [Parts; Stage::COUNT],
    /// For each level: pairs that survived, for each one that stays at one position.
    survivors: [Option<f64>; Level::COUNT],
}

/// The times of a stage in parts.
#[derive(Clone, Debug, Default)]
struct Parts {
    fit: Fit,
    /// Pairs of the largest part of late: requests with more go in parts.
    most: Option<usize>,
}

/// The work that a request brings to the stages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Demand {
    /// Sum of the [`text_units`] of the phrases that must be embedded.
    pub(crate) text: f64,
    /// True if its image must be encoded.
    pub(crate) encode: bool,
    /// Pairs of its vocabulary; 0 for a request that only wants the words embedded.
    pub(crate) pairs: usize,
    /// Pairs that rejection leaves at one position of the map; all of them where it leaves out none.
    pub(crate) kept: usize,
    /// Pixels of its output for each pixel of the network's map, at least 1.
    pub(crate) enlargement: f64,
}

impl Demand {
    /// The demand of a job on a network with maps of `map_side`, when phrases of `text` units are unknown.
    pub(crate) fn of_job(job: &SegmentJob, map_side: usize, text: f64, encode: bool) -> Self {
        let pixels = f64::from(job.output.width) * f64::from(job.output.height);
        let pairs = job.vocabulary.pairs();
        // Of a category with several pairs the best one stays at a position.
        let kept = match job.rejection {
            Rejection::Off => pairs,
            rejection => rejection.kept(job.vocabulary.all_categories().len()),
        };
        Self {
            text,
            encode,
            pairs,
            kept,
            enlargement: (pixels / (map_side * map_side).max(1) as f64).max(1.0),
        }
    }

    /// The demand of a request that only embeds phrases of `text` units.
    pub(crate) fn of_words(text: f64) -> Self {
        Self { text, encode: false, pairs: 0, kept: 0, enlargement: 1.0 }
    }
}

/// The tokens that the text tower computes for each prompt of a phrase.
pub(crate) fn text_units(phrase: &TokenPhrase) -> f64 {
    (phrase.ids().len().max(1) + TOKENS_AFTER).min(MOST_TOKENS) as f64
}

impl CostModel {
    /// Learns from a launch of `units` for `requests` requests.
    pub(crate) fn observe(
        &mut self,
        stage: Stage,
        units: f64,
        requests: usize,
        time: Duration,
        ended: Instant,
    ) {
        self.stages[stage.index()].add(units, requests, time, ended);
    }

    /// Learns from a request of `pairs` that went through a stage in parts of at most `most`.
    pub(crate) fn observe_parts(
        &mut self,
        stage: Stage,
        (pairs, most): (usize, usize),
        time: Duration,
        ended: Instant,
    ) {
        let parts = &mut self.parts[stage.index()];
        parts.fit.add(pairs as f64, 1, time, ended);
        parts.most = Some(most);
    }

    /// Learns how many pairs of a request survived to a level. Where all survived, more of a larger
    /// vocabulary would have, so that says nothing.
    pub(crate) fn observe_survivors(&mut self, level: Level, demand: &Demand, survivors: usize) {
        if survivors >= demand.pairs {
            return;
        }
        let now = survivors as f64 / demand.kept as f64;
        let known = &mut self.survivors[level.index()];
        *known = Some(known.map_or(now, |old| SURVIVOR_MEMORY * old + (1.0 - SURVIVOR_MEMORY) * now));
    }

    /// The seconds of device time that a request's own share of one stage takes.
    pub(crate) fn stage_seconds(&self, stage: Stage, demand: &Demand) -> f64 {
        let units = self.units(stage, demand);
        if units == 0.0 {
            return 0.0;
        }
        let parts = &self.parts[stage.index()];
        if parts.most.is_some_and(|most| units > most as f64) {
            return parts.fit.line().fixed + parts.fit.line().each * units;
        }
        let fit = &self.stages[stage.index()];
        // Only words are never launched all at once.
        let launches = match (stage, fit.largest()) {
            (Stage::TextEmbedding, Some(largest)) => (units / largest).ceil().max(1.0),
            _ => 1.0,
        };
        launches * fit.line().fixed / fit.shared_by() + fit.line().each * units
    }

    /// The seconds of device time that a request's own share of all stages takes.
    pub(crate) fn seconds(&self, demand: &Demand) -> f64 {
        Stage::ALL.iter().map(|stage| self.stage_seconds(*stage, demand)).sum()
    }

    /// Units of a launch of the text tower that takes this long; infinite while nothing is known.
    pub(crate) fn text_units_within(&self, time: Duration) -> f64 {
        let line = self.stages[Stage::TextEmbedding.index()].line();
        if line.each > 0.0 { (time.as_secs_f64() - line.fixed).max(0.0) / line.each } else { f64::INFINITY }
    }

    /// Seconds that the text tower takes for a unit in launches of so many; `None` while nothing is known.
    pub(crate) fn text_pace(&self, launch: f64) -> Option<f64> {
        let fit = &self.stages[Stage::TextEmbedding.index()];
        fit.largest()?;
        Some(fit.line().fixed / launch.max(1.0) + fit.line().each)
    }

    /// Maps that the last stage probably enlarges for a request, each counted as often as its output is
    /// larger than the map.
    pub(crate) fn maps(&self, demand: &Demand) -> f64 {
        self.units(Stage::Finish, demand)
    }

    /// The work that a request brings to one stage, in the stage's units.
    fn units(&self, stage: Stage, demand: &Demand) -> f64 {
        let pairs = demand.pairs as f64;
        match stage {
            Stage::TextEmbedding => demand.text,
            Stage::Encode => f64::from(u8::from(demand.encode && demand.pairs > 0)),
            Stage::CostMap => pairs,
            Stage::Decode(level) => self.survivors(level, demand),
            Stage::Finish => self.survivors(Level::Three, demand) * demand.enlargement.max(1.0),
        }
    }

    /// Pairs that probably survive to a level: no more than to the levels before it, and no fewer than
    /// stay at one position.
    fn survivors(&self, level: Level, demand: &Demand) -> f64 {
        let known = self.survivors[..=level.index()].iter().flatten();
        known.map(|each| each.max(1.0) * demand.kept as f64).fold(demand.pairs as f64, f64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request of which `kept` categories stay at one position.
    fn demand(pairs: usize, kept: usize) -> Demand {
        Demand { text: 0.0, encode: true, pairs, kept, enlargement: 1.0 }
    }

    fn observe(model: &mut CostModel, stage: Stage, units: f64, requests: usize, seconds: f64) {
        model.observe(stage, units, requests, Duration::from_secs_f64(seconds), Instant::now());
    }

    #[test]
    fn a_shared_launch_costs_each_request_its_part() {
        let mut model = CostModel::default();
        for size in [4.0, 8.0] {
            observe(&mut model, Stage::Encode, size, 4, 0.4 + 0.1 * size);
        }
        assert!((model.stage_seconds(Stage::Encode, &demand(1, 1)) - 0.2).abs() < 1e-9);
    }

    #[test]
    fn rejection_makes_the_levels_cheaper() {
        let mut model = CostModel::default();
        for stage in Stage::ALL {
            observe(&mut model, stage, 100.0, 1, 1.0);
        }
        Level::ALL.into_iter().for_each(|level| model.observe_survivors(level, &demand(200, 8), 40));
        let level = |kept| model.stage_seconds(Stage::Decode(Level::Two), &demand(200, kept));
        assert!((level(200) - 2.0).abs() < 1e-9);
        assert!((level(8) - 0.4).abs() < 1e-9);
        assert!((level(80) - 2.0).abs() < 1e-9); // never more than there are
    }

    #[test]
    fn survivors_of_a_vocabulary_that_lost_none_say_nothing() {
        let mut model = CostModel::default();
        observe(&mut model, Stage::Decode(Level::Three), 100.0, 1, 1.0);
        let level_3 = |model: &CostModel| model.stage_seconds(Stage::Decode(Level::Three), &demand(800, 8));
        Level::ALL.into_iter().for_each(|level| model.observe_survivors(level, &demand(21, 8), 21));
        assert!((level_3(&model) - 8.0).abs() < 1e-9);
        // Categories that were rejected before level 1 do not come back.
        model.observe_survivors(Level::One, &demand(847, 8), 400);
        assert!((level_3(&model) - 4.0).abs() < 1e-9);
        model.observe_survivors(Level::Three, &demand(847, 8), 80);
        assert!((level_3(&model) - 0.8).abs() < 1e-9);
    }

    #[test]
    fn long_phrases_teach_what_short_ones_cost() {
        let mut model = CostModel::default();
        let phrase = |tokens| TokenPhrase::new("words", vec![0; tokens]);
        let (long, short) = (phrase(40), phrase(1));
        let seconds = |phrase: &TokenPhrase| 0.01 * (3.0 + phrase.ids().len() as f64);
        for phrases in [32, 32, 32, 7] {
            let units = text_units(&long) * f64::from(phrases);
            observe(&mut model, Stage::TextEmbedding, units, 1, seconds(&long) * f64::from(phrases));
        }
        let predicted = model.seconds(&Demand::of_words(text_units(&short) * 20.0));
        let right = seconds(&short) * 20.0;
        assert!((right / 2.0..right * 2.0).contains(&predicted), "{predicted} instead of {right}");
    }

    #[test]
    fn stages_in_parts_have_a_line_of_their_own() {
        let mut model = CostModel::default();
        (1..20).for_each(|size| observe(&mut model, Stage::CostMap, f64::from(size), 1, 0.1));
        model.observe_parts(Stage::CostMap, (300, 50), Duration::from_secs(3), Instant::now());
        let seconds = |pairs| model.stage_seconds(Stage::CostMap, &demand(pairs, pairs));
        assert!((seconds(50) - 0.1).abs() < 1e-9 && (seconds(600) - 6.0).abs() < 1e-9);
    }

    #[test]
    fn words_in_several_launches_pay_the_fixed_part_of_each() {
        let mut model = CostModel::default();
        for units in [10.0, 100.0] {
            observe(&mut model, Stage::TextEmbedding, units, 1, 0.5 + 0.01 * units);
        }
        assert!((model.seconds(&Demand::of_words(1000.0)) - 15.0).abs() < 1e-6);
        assert!((model.text_units_within(Duration::from_secs(1)) - 50.0).abs() < 1e-6);
        assert_eq!(model.text_units_within(Duration::ZERO), 0.0);
        assert!(model.text_pace(10.0).is_some_and(|pace| (pace - 0.06).abs() < 1e-6));
        assert_eq!(CostModel::default().text_pace(10.0), None);
    }
}
