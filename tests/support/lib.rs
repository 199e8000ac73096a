//! Shared code of the whole-system tests: reference outputs, comparisons, synthetic weights.

// Test support: a failure here is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

pub mod beside;
pub mod compare;
pub mod device;
pub mod faulty;
pub mod findings;
pub mod full_parity;
pub mod golden;
pub mod reduced_parity;
pub mod stages;
pub mod submission_parity;
pub mod sureness;
pub mod survivors;
pub mod tiny;

pub use sed_model::synthetic;
