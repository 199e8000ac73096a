//! The stages of a submission on the device's clock.

use std::time::Duration;

use candle_core::Device;
use sed_kernels::device::EventTimer;

use super::StageTimes;
use crate::error::Result;
use crate::level::Level;

/// A part of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Upload,
    Encode,
    CostMap,
    Level(Level),
    Finish,
}

/// Marks the stages in the device's queue.
pub(super) struct Clock<'a> {
    device: &'a Device,
    observe: &'a dyn Fn(&str),
    timer: Option<EventTimer>,
    /// The stages that have begun since the timer was started.
    begun: Vec<Stage>,
    times: StageTimes,
}

impl<'a> Clock<'a> {
    /// A clock at the beginning of a submission; `observe` is told each stage.
    pub(super) fn start(device: &'a Device, observe: &'a dyn Fn(&str)) -> Result<Self> {
        Ok(Self { device, observe, timer: None, begun: Vec::new(), times: StageTimes::default() })
    }

    /// Begins a stage, which ends the one before.
    pub(super) fn begin(&mut self, stage: Stage) -> Result<()> {
        match stage {
            Stage::Upload => (self.observe)("upload"),
            Stage::Encode => (self.observe)("encode"),
            Stage::CostMap => (self.observe)("cost_map"),
            Stage::Level(level) => (self.observe)(&format!("decode_level_{level}")),
            Stage::Finish => (self.observe)("finish"),
        }
        match &mut self.timer {
            Some(timer) => timer.mark()?,
            None => self.timer = EventTimer::start(self.device)?,
        }
        self.begun.push(stage);
        Ok(())
    }

    /// Marks the end of the last stage.
    pub(super) fn end(&mut self) -> Result<()> {
        if let Some(timer) = &mut self.timer {
            timer.mark()?;
        }
        Ok(())
    }

    /// Adds up the stages since the last call, for which the host has waited.
    pub(super) fn add(&mut self) -> Result<()> {
        let begun = std::mem::take(&mut self.begun);
        let Some(timer) = self.timer.take() else { return Ok(()) };
        for (stage, time) in begun.into_iter().zip(timer.passed()?) {
            *self.time(stage) += time;
        }
        Ok(())
    }

    fn time(&mut self, stage: Stage) -> &mut Duration {
        match stage {
            Stage::Upload | Stage::Encode => &mut self.times.encode,
            Stage::CostMap => &mut self.times.cost_map,
            Stage::Level(level) => &mut self.times.levels[level.index()],
            Stage::Finish => &mut self.times.finish,
        }
    }

    /// The times so far.
    pub(super) fn times(&self) -> StageTimes {
        self.times
    }
}
