//! Survivors of the rejections beside the reference's, and how near to a tie those are that differ.

use candle_core::Tensor;

use crate::device::{Bounds, host};
use crate::findings::Findings;

/// The categories before a rejection as the reference saw it.
#[derive(Debug)]
pub struct Candidates<'a> {
    pub what: &'a str,
    pub top_k: usize,
    /// `[candidates, ..]`, by which categories are rejected, where they are known.
    pub logits: Option<&'a Tensor>,
    /// The categories of the logits' rows.
    pub categories: &'a [u32],
    /// The rounding error that is granted to a logit.
    pub error: f64,
}

/// Compares survivors; returns whether they are the reference's. One that differs is in bounds only where near ties
/// are granted and the reference's logits show that it is one.
pub fn compare(
    findings: &mut Findings,
    bounds: Bounds,
    candidates: &Candidates<'_>,
    got: &[u32],
    want: &[u32],
) -> bool {
    let differing: Vec<u32> = (candidates.categories.iter().copied())
        .filter(|one| got.contains(one) != want.contains(one))
        .collect();
    let mut unexplained = differing.len();
    for category in &differing {
        let margin = candidates.logits.map(|logits| {
            let row = candidates.categories.iter().position(|candidate| candidate == category).unwrap();
            margin(logits, row, candidates.top_k)
        });
        let near = bounds.near_ties && margin.is_some_and(|margin| margin.abs() <= 2.0 * candidates.error);
        unexplained -= usize::from(near);
        let kept = if want.contains(category) { "kept" } else { "rejected" };
        let margin = margin.map_or("unknown".to_owned(), |margin| format!("{margin:.1e}"));
        findings.note(format!(
            "{}: category {category} is {kept} by the reference alone; margin {margin}, near tie below {:.1e}",
            candidates.what,
            2.0 * candidates.error
        ));
    }
    findings.at_most(format!("{}: other survivors", candidates.what), unexplained as f64, 0.0);
    got == want
}

/// Distance of the category of `row` from being rejected (positive) or kept (negative): at its best position,
/// the distance of its logit to the `top_k`-th best of the others'.
pub fn margin(logits: &Tensor, row: usize, top_k: usize) -> f64 {
    let rows = host(logits).flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
    let at = |position: usize| {
        let mut others: Vec<f32> = rows
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != row)
            .map(|(_, row)| row[position])
            .collect();
        others.sort_by(|a, b| b.total_cmp(a));
        let last_in = others.get(top_k - 1).copied().unwrap_or(f32::NEG_INFINITY);
        f64::from(rows[row][position]) - f64::from(last_in)
    };
    (0..rows[row].len()).map(at).fold(f64::NEG_INFINITY, f64::max)
}
