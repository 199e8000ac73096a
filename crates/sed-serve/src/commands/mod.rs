//! One file for each command.

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod convert;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod eval;
pub(crate) mod health;
pub(crate) mod segment;
pub(crate) mod serve;
pub(crate) mod vocabulary;
