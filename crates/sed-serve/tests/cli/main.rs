//! Runs the built command as a person or a script does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // the helpers of tests fail as tests do

#[cfg(feature = "embedded-model")]
mod bench;
mod convert;
#[cfg(feature = "embedded-model")]
mod curves;
#[cfg(feature = "embedded-model")]
mod demo;
mod doctor;
mod environment;
#[cfg(feature = "embedded-model")]
mod eval;
#[cfg(feature = "embedded-model")]
mod eval_files;
#[cfg(feature = "embedded-model")]
mod eval_official;
#[cfg(feature = "embedded-model")]
mod folders;
#[cfg(feature = "embedded-model")]
mod formats;
mod logs;
mod refused_checkpoints;
mod secured;
mod segment;
mod serve;
mod server;
mod support;
#[cfg(feature = "embedded-model")]
mod sure;
mod traces;
mod usage;
mod vocabulary;
