//! Metrics as typed values. A crate defines the families that it records as one struct, by [`families!`], and
//! their labels as enums, by [`label!`]. The program creates one [`Telemetry`] from the definitions of all its
//! crates and hands it to the parts that record; nothing is global, so two servers in one process count apart.
//!
//! A family holds the handles of all its series: recording neither allocates nor looks anything up. Families
//! with a label whose values only the running program knows make their handles as they record.

#![forbid(unsafe_code)]

pub mod buckets;
mod by_name;
mod definition;
mod document;
mod families;
mod labels;
mod share;
mod telemetry;
#[cfg(test)]
mod tests;

pub use by_name::{CounterByName, GaugeByName, Info};
pub use definition::{Definition, Kind};
pub use document::markdown;
pub use families::{Counter, Gauge, Histogram, SecondsTotal};
pub use labels::{Label, LabelValues, Labels};
pub use metrics::Unit;
pub use metrics_exporter_prometheus::BuildError;
pub use share::GaugeShare;
pub use telemetry::Telemetry;
