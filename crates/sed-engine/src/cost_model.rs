//! How long a launch of a stage takes: a fixed part and a part for each unit, learned while running.
//!
//! Units are images for the encoder, phrases for the text tower, and (image, category) pairs for all other
//! stages; at the last one a pair counts as often as its output is larger than the network's own map.

use std::time::Duration;

use crate::{job::SegmentJob, report::Stage};

/// Number of stages.
const STAGES: usize = Stage::ALL.len();
/// What an observation is worth when the next one comes: the last hundred or so decide.
const MEMORY: f64 = 0.98;
/// What a survivor count is worth when the next one comes.
const SURVIVOR_MEMORY: f64 = 0.95;

/// The times of all stages.
#[derive(Clone, Debug, Default)]
pub(crate) struct CostModel {
    stages: [Fit; STAGES],
    /// For each level: categories that survived, for each one that `top_k` asked for.
    survivors: [Option<f64>; 3],
}

/// A line through observations, fitted by least squares that forgets.
#[derive(Clone, Copy, Debug, Default)]
struct Fit {
    weight: f64,
    units: f64,
    units_squared: f64,
    seconds: f64,
    seconds_units: f64,
    /// Requests that shared a launch, summed up.
    requests: f64,
}

/// What a request will ask of the stages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Demand {
    /// Phrases that must be embedded.
    pub(crate) phrases: usize,
    /// Whether its image must be encoded.
    pub(crate) encode: bool,
    /// Categories of its vocabulary; 0 for a request that only wants them embedded.
    pub(crate) categories: usize,
    /// Its `top_k`.
    pub(crate) top_k: Option<usize>,
    /// Pixels of its output for each pixel of the network's map, at least 1.
    pub(crate) enlargement: f64,
}

impl Demand {
    /// What a job asks of a network with maps of `map_side`, when `phrases` of its phrases are unknown.
    pub(crate) fn of_job(job: &SegmentJob, map_side: usize, phrases: usize, encode: bool) -> Self {
        let pixels = f64::from(job.output.width) * f64::from(job.output.height);
        Self {
            phrases,
            encode,
            categories: job.vocabulary.size(),
            top_k: job.top_k,
            enlargement: (pixels / (map_side * map_side).max(1) as f64).max(1.0),
        }
    }

    /// What embedding some words asks for.
    pub(crate) fn of_words(phrases: usize) -> Self {
        Self { phrases, encode: false, categories: 0, top_k: None, enlargement: 1.0 }
    }
}

impl CostModel {
    /// Learns from a launch of `units` for `requests` requests.
    pub(crate) fn observe(&mut self, stage: Stage, units: f64, requests: usize, time: Duration) {
        let fit = &mut self.stages[stage as usize];
        for sum in [
            &mut fit.weight,
            &mut fit.units,
            &mut fit.units_squared,
            &mut fit.seconds,
            &mut fit.seconds_units,
            &mut fit.requests,
        ] {
            *sum *= MEMORY;
        }
        let seconds = time.as_secs_f64();
        fit.weight += 1.0;
        fit.units += units;
        fit.units_squared += units * units;
        fit.seconds += seconds;
        fit.seconds_units += seconds * units;
        fit.requests += requests as f64;
    }

    /// Learns how many of a request's categories survived to a level (1, 2, 3) with a `top_k`.
    pub(crate) fn observe_survivors(&mut self, level: u32, top_k: usize, survivors: usize) {
        let Some(known) = self.survivors.get_mut((level as usize).wrapping_sub(1)) else { return };
        let now = survivors as f64 / top_k.max(1) as f64;
        *known = Some(known.map_or(now, |old| SURVIVOR_MEMORY * old + (1.0 - SURVIVOR_MEMORY) * now));
    }

    /// The seconds of device time that a request's own share of one stage takes.
    pub(crate) fn stage_seconds(&self, stage: Stage, demand: &Demand) -> f64 {
        let units = self.units(stage, demand);
        if units == 0.0 { 0.0 } else { self.stages[stage as usize].share(units) }
    }

    /// The seconds of device time that a request's own share of all stages takes.
    pub(crate) fn seconds(&self, demand: &Demand) -> f64 {
        Stage::ALL.iter().map(|stage| self.stage_seconds(*stage, demand)).sum()
    }

    /// What a request asks of a stage, in the stage's units.
    fn units(&self, stage: Stage, demand: &Demand) -> f64 {
        let pairs = demand.categories as f64;
        let survivors = |level: usize| match (demand.top_k, self.survivors[level]) {
            (Some(top_k), Some(each)) => pairs.min(each * top_k as f64),
            _ => pairs,
        };
        match stage {
            Stage::TextEmbedding => demand.phrases as f64,
            Stage::Encode => f64::from(u8::from(demand.encode && demand.categories > 0)),
            Stage::CostMap => pairs,
            Stage::DecodeLevel1 => survivors(0),
            Stage::DecodeLevel2 => survivors(1),
            Stage::DecodeLevel3 => survivors(2),
            Stage::Finish => survivors(2) * demand.enlargement.max(1.0),
        }
    }
}

impl Fit {
    /// Seconds of a launch: fixed part, part for each unit. Neither is negative.
    fn line(&self) -> (f64, f64) {
        if self.weight == 0.0 {
            return (0.0, 0.0);
        }
        let proportional = (0.0, self.seconds_units / self.units_squared.max(f64::MIN_POSITIVE));
        let spread = self.weight * self.units_squared - self.units * self.units;
        // All launches of one size say nothing of the fixed part.
        if spread <= 1e-9 * self.weight * self.units_squared {
            return proportional;
        }
        let slope = (self.weight * self.seconds_units - self.units * self.seconds) / spread;
        let fixed = (self.seconds - slope * self.units) / self.weight;
        match (fixed >= 0.0, slope >= 0.0) {
            (true, true) => (fixed, slope),
            (true, false) => (self.seconds / self.weight, 0.0),
            (false, _) => proportional,
        }
    }

    /// Seconds of one request's `units` in a launch that it shares as usual.
    fn share(&self, units: f64) -> f64 {
        let (fixed, each) = self.line();
        let shared_by = if self.weight == 0.0 { 1.0 } else { (self.requests / self.weight).max(1.0) };
        fixed / shared_by + each * units
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn demand(categories: usize, top_k: Option<usize>) -> Demand {
        Demand { phrases: 0, encode: true, categories, top_k, enlargement: 1.0 }
    }

    proptest! {
        #[test]
        fn a_line_is_found_from_its_points(
            fixed in 0.0..0.1_f64,
            each in 0.0..0.01_f64,
            sizes in prop::collection::vec(1_usize..200, 2..50),
        ) {
            prop_assume!(sizes.iter().any(|size| *size != sizes[0]));
            let mut model = CostModel::default();
            for &size in &sizes {
                let time = Duration::from_secs_f64(fixed + each * size as f64);
                model.observe(Stage::CostMap, size as f64, 1, time);
            }
            let found = model.stage_seconds(Stage::CostMap, &demand(77, None));
            prop_assert!((found - (fixed + each * 77.0)).abs() < 1e-5, "{} {} {}", found, fixed, each);
        }

        #[test]
        fn no_time_is_negative(points in prop::collection::vec((1_usize..50, 0.0..1.0_f64), 1..20)) {
            let mut model = CostModel::default();
            for (size, seconds) in points {
                model.observe(Stage::Encode, size as f64, 1, Duration::from_secs_f64(seconds));
            }
            prop_assert!(model.seconds(&demand(1, None)) >= 0.0);
        }
    }

    #[test]
    fn the_newest_launches_decide() {
        let mut model = CostModel::default();
        for seconds in [0.1, 2.0] {
            for size in 1..400 {
                model.observe(Stage::Encode, f64::from(size % 4 + 1), 1, Duration::from_secs_f64(seconds));
            }
        }
        let found = model.stage_seconds(Stage::Encode, &demand(1, None));
        assert!((found - 2.0).abs() < 0.01, "{found}");
    }

    #[test]
    fn a_shared_launch_costs_each_request_its_part() {
        let mut model = CostModel::default();
        for size in [4.0, 8.0] {
            model.observe(Stage::Encode, size, 4, Duration::from_secs_f64(0.4 + 0.1 * size));
        }
        assert!((model.stage_seconds(Stage::Encode, &demand(1, None)) - 0.2).abs() < 1e-9);
    }

    #[test]
    fn rejection_makes_the_levels_cheaper() {
        let mut model = CostModel::default();
        for stage in Stage::ALL {
            model.observe(stage, 100.0, 1, Duration::from_secs(1));
        }
        (1..=3).for_each(|level| model.observe_survivors(level, 8, 40));
        let level = |top_k| model.stage_seconds(Stage::DecodeLevel2, &demand(200, top_k));
        assert!((level(None) - 2.0).abs() < 1e-9);
        assert!((level(Some(8)) - 0.4).abs() < 1e-9);
        assert!((level(Some(80)) - 2.0).abs() < 1e-9); // never more than there are
    }
}
