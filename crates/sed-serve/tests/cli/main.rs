//! Runs the built command as a person or a script does.

mod convert;
mod demo;
mod doctor;
mod refused_checkpoints;
mod segment;
mod serve;
mod support;
mod usage;
