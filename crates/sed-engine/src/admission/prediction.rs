//! Predicted device time of one request, by stage.

use std::time::Duration;

use crate::{
    admission::cost_model::{CostModel, Demand},
    stages::stage::Stage,
};

/// No stage of a request is predicted to take longer, so that sums of predictions never overflow.
const MOST: Duration = Duration::from_secs(24 * 3600);

/// Predicted device time of each stage. Whole nanoseconds, so that pieces that are deducted add up exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prediction([Duration; Stage::COUNT]);

impl Prediction {
    /// The prediction of a model of costs for the work of a request.
    pub(crate) fn new(model: &CostModel, demand: &Demand) -> Self {
        let seconds = |stage: Stage| model.stage_seconds(stage, demand).max(0.0);
        Self(Stage::ALL.map(|stage| Duration::try_from_secs_f64(seconds(stage)).unwrap_or(MOST).min(MOST)))
    }

    /// Scales the prediction to at most `most` in total: a request does not live longer than its deadline.
    pub(crate) fn within(self, most: Duration) -> Self {
        let total = self.total();
        if total <= most {
            return self;
        }
        let share = most.as_secs_f64() / total.as_secs_f64();
        Self(self.0.map(|time| time.mul_f64(share)))
    }

    /// All stages together.
    pub(crate) fn total(&self) -> Duration {
        self.0.iter().sum()
    }

    /// One stage.
    pub(crate) fn of(&self, stage: Stage) -> Duration {
        self.0[stage.index()]
    }

    /// All stages but the words.
    pub(crate) fn behind_words(&self) -> Duration {
        self.total() - self.of(Stage::TextEmbedding)
    }

    /// The prediction for the same request with known words.
    pub(crate) fn without_words(mut self) -> Self {
        self.0[Stage::TextEmbedding.index()] = Duration::ZERO;
        self
    }

    /// Subtracts at most `time` from a stage. Returns the time subtracted.
    pub(crate) fn take(&mut self, stage: Stage, time: Duration) -> Duration {
        let left = &mut self.0[stage.index()];
        let taken = time.min(*left);
        *left -= taken;
        taken
    }
}
