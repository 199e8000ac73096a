//! Measurements of a server under load, where it saturates, and of the model by itself.
//!
//! [`run::drive`] sends the requests of a [`mix`] at a pace and counts them in a [`tally`]; [`sweep`] does so
//! at rising load. [`model`] runs the stages without any server, and [`against`] compares the two. Results
//! are plain data; nothing is printed, and progress is reported to closures.

#![forbid(unsafe_code)]

pub mod against;
mod caller;
mod error;
mod knee;
mod machine;
pub mod mix;
pub mod model;
pub mod run;
pub mod sample;
mod stop;
pub mod sweep;
pub mod tally;

pub use caller::Caller;
pub use error::{Error, Result};
pub use knee::Verdict;
pub use machine::Machine;
pub use stop::Stop;
