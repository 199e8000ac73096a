//! What the whole-system tests share: reference outputs, comparisons, synthetic weights.

// Test support: a failure here is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

pub mod compare;
pub mod faulty;
pub mod golden;
pub mod stages;

pub use sed_model::synthetic;
