//! The engine with the fake model. One program, because each that starts an engine compiles its scheduler.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests fail their test

mod caches;
mod contrast;
mod devices;
mod preparing;
mod requests;
mod submission;
