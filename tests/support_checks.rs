//! The comparisons that the parity checks are made of can fail. (An integration test, for the library is built without
//! tests: tests/gpu/build builds the unit tests of the kernels and of nothing else.)

#![allow(clippy::unwrap_used, missing_docs)]

use candle_core::{Device, Tensor};
use sed_tests::device::Bounds;
use sed_tests::findings::Findings;
use sed_tests::survivors::{Candidates, compare, margin};

#[test]
fn what_is_no_number_is_out_of_bounds() {
    let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
    let mut findings = Findings::default();
    findings.near("equal", &tensor(&[1.0, 2.0]), &tensor(&[1.0, 2.0]), 0.0);
    findings.assert_good();
    findings.near("lost", &tensor(&[f32::NAN, 2.0]), &tensor(&[1.0, 2.0]), 1.0);
    findings.near("far", &tensor(&[1.0, 2.0]), &tensor(&[1.0, 4.0]), 1.0);
    let bad: Vec<&str> = findings.bad().iter().map(|finding| finding.what.as_str()).collect();
    assert_eq!(bad, ["lost", "far"]);
}

#[test]
#[should_panic(expected = "nothing was compared")]
fn nothing_is_not_good() {
    Findings::default().assert_good();
}

const GPU: Bounds = Bounds { slack: 20.0, company: 1e-4, near_ties: true };
const CPU: Bounds = Bounds { near_ties: false, ..GPU };

fn logits() -> Tensor {
    // Best of each position: 0, 1, 1. Category 2 misses position 0 by 1e-6, 3 misses by far.
    let rows = [[1.0f32, 0.0, 0.0], [0.0, 1.0, 1.0], [1.0 - 1e-6, 0.0, 0.0], [-5.0, -5.0, -5.0]];
    Tensor::new(&rows, &Device::Cpu).unwrap()
}

fn bad(bounds: Bounds, logits: Option<&Tensor>, got: &[u32]) -> usize {
    let candidates = [10, 11, 12, 13];
    let before = Candidates { what: "test", top_k: 1, logits, categories: &candidates, error: 1e-5 };
    let mut findings = Findings::default();
    let same = compare(&mut findings, bounds, &before, got, &[10, 11]);
    assert_eq!(same, got == [10, 11]);
    findings.bad().len()
}

#[test]
fn margins_are_of_the_best_position() {
    assert!((margin(&logits(), 0, 1) - 1e-6).abs() < 1e-7);
    assert!((margin(&logits(), 1, 1) - 1.0).abs() < 1e-6);
    assert!((margin(&logits(), 2, 1) + 1e-6).abs() < 1e-7);
    assert!(margin(&logits(), 3, 1) < -5.0);
    assert_eq!(margin(&logits(), 3, 4), f64::INFINITY);
}

#[test]
fn only_near_ties_of_a_gpu_may_go_the_other_way() {
    let logits = logits();
    assert_eq!(bad(CPU, Some(&logits), &[10, 11]), 0);
    assert_eq!(bad(GPU, Some(&logits), &[10, 11, 12]), 0);
    assert_eq!(bad(GPU, Some(&logits), &[11, 12]), 0);
    assert_eq!(bad(CPU, Some(&logits), &[10, 11, 12]), 1);
    assert_eq!(bad(GPU, None, &[10, 11, 12]), 1);
    assert_eq!(bad(GPU, Some(&logits), &[10, 11, 13]), 1);
    assert_eq!(bad(GPU, Some(&logits), &[10]), 1);
}
