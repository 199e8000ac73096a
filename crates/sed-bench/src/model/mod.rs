//! The model by itself, without any server.

mod bare;
mod fit;
mod grid;
mod memory;
mod peaks;
mod result;
mod run;
mod staged;
mod taken;
mod work;

pub use bare::BareModel;
pub use fit::{Cost, Line, Over, costs};
pub use grid::{Axes, Cell, cells};
pub use memory::PeakOf;
pub use peaks::Peaks;
pub use result::{Arithmetic, CellResult, StageResult, SubmissionResult};
pub use run::{ModelRun, Skipped, TextResult};
pub use taken::{HostTimes, STAGES, StageDurations, Taken};
pub use work::Work;
