//! Full-size SED-B and SED-L with weights made by rule equal the reference, on the CPU or on the device that
//! `SED_TEST_DEVICE` names (`cuda:0`).
//!
//! These take minutes and gigabytes, so they run only when asked for:
//! `cargo test --release --workspace --test full_parity -- --ignored --nocapture`

#![allow(missing_docs)]

use sed_tests::device;
use sed_tests::full_parity::{Variant, check};

#[test]
#[ignore = "full size: minutes, 4 GB"]
fn full_size_sed_b() {
    check(Variant::SedB, &device::under_test(), &["img1", "img2"]).assert_good();
}

#[test]
#[ignore = "full size: minutes, 6 GB"]
fn full_size_sed_l() {
    check(Variant::SedL, &device::under_test(), &["img1"]).assert_good();
}
