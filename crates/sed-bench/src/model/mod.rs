//! The model by itself, stage by stage, without any server.

mod bare;
mod fit;
mod grid;
mod memory;
mod peaks;
mod result;
mod run;

pub use bare::{BareModel, STAGES, Taken, Work};
pub use fit::{Cost, Line, Over, costs};
pub use grid::{Axes, Cell, cells};
pub use memory::PeakOf;
pub use peaks::Peaks;
pub use result::{Arithmetic, CellResult, StageResult};
pub use run::{ModelRun, Skipped, TextResult};
