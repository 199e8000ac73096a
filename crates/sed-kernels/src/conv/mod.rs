//! Convolutions in channels-last layout as matrix products that read their input in place.

mod border;
mod conv2d;
mod patch;
mod scalar;
pub(crate) mod taps;

pub(crate) use border::{clear, run_pad_rows};
pub(crate) use conv2d::Conv2d;
#[cfg(test)]
pub(crate) use conv2d::tests::naive as naive_conv;
pub(crate) use patch::PatchConv;
pub(crate) use scalar::ScalarConv;
pub(crate) use scalar::run_scalar_rows;
