//! Scores a model's answers, through the real interface, against labelled pictures.
//!
//! A [`Plan`] is a set of pictures whose pixels are counted together: those of a [`dataset`], of one of the
//! [`official`] evaluation, or [`scenes`] that bring their words along. [`measure()`] segments and scores
//! them; [`rejection::measure`] compares rejection with the full path, [`thresholds::measure`] thresholds of
//! scores with each other, and [`single::measure`] questions of one word with and without contrast words.
//! Results are plain data; nothing is printed. [`paper`] holds the figures that SED's authors report.

#![forbid(unsafe_code)]

mod ask;
mod background;
mod case;
mod confusion;
pub mod dataset;
mod error;
mod exif;
mod find;
mod keep;
mod label;
mod measure;
mod names;
pub mod official;
pub mod paper;
mod plan;
mod predictions;
pub mod rejection;
mod remark;
mod run;
mod saved;
pub mod scenes;
mod score;
pub mod single;
pub mod thresholds;

pub use ask::{Asker, Competition, Failed, Jobs, PaceMeans, Step};
pub use confusion::Confusion;
pub use error::{Error, Result};
pub use exif::Exif;
pub use keep::Keep;
pub use measure::{CategoryScore, Measured, Parts, measure};
pub use names::NameList;
pub use plan::Plan;
pub use remark::{Remark, RemarkKind};
pub use score::Figures;
