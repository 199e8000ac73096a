//! Figures beside their bounds, collected, so that one that is out of bounds does not hide those behind it.

use candle_core::Tensor;
use serde::Serialize;

use crate::compare::{MapDifference, largest_difference, map_difference};
use crate::golden::IndexMap;
use sed_model::FinishedMap;

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub what: String,
    pub measured: f64,
    /// The largest value that is good.
    pub bound: f64,
    pub good: bool,
}

/// All figures of a check; each is printed as it comes.
#[derive(Debug, Default, Serialize)]
pub struct Findings {
    pub findings: Vec<Finding>,
    /// Observations that are neither good nor bad, such as near ties that went the other way.
    pub notes: Vec<String>,
}

impl Findings {
    /// A figure that must not be larger than `bound`; one that is not a number is.
    pub fn at_most(&mut self, what: impl Into<String>, measured: f64, bound: f64) {
        let finding = Finding { what: what.into(), measured, bound, good: measured <= bound };
        let verdict = if finding.good { "" } else { "  OUT OF BOUNDS" };
        println!("{:45} {:.1e} of {:.1e}{verdict}", finding.what, finding.measured, finding.bound);
        self.findings.push(finding);
    }

    /// The largest difference of two tensors.
    pub fn near(&mut self, what: impl Into<String>, got: &Tensor, want: &Tensor, bound: f64) {
        self.at_most(what, largest_difference(got, want), bound);
    }

    /// The largest gap between the scores of two categories where an index map differs from the reference's.
    pub fn same_map(
        &mut self,
        what: &str,
        (got, survivors): (&FinishedMap, &[u32]),
        crop: (u32, u32),
        want: &IndexMap,
        bound: f64,
    ) {
        let MapDifference { pixels, widest_gap, .. } = map_difference(got, survivors, crop, want);
        self.note(format!("{what}: {pixels} of {} pixels differ", want.2.len()));
        self.at_most(format!("{what} index map, widest gap"), widest_gap, bound);
    }

    pub fn note(&mut self, note: String) {
        println!("{note}");
        self.notes.push(note);
    }

    /// Adds another check's figures, with `of` before their names.
    pub fn append(&mut self, of: &str, other: Self) {
        let named = |mut finding: Finding| {
            finding.what = format!("{of}: {}", finding.what);
            finding
        };
        self.findings.extend(other.findings.into_iter().map(named));
        self.notes.extend(other.notes.into_iter().map(|note| format!("{of}: {note}")));
    }

    /// Those out of bounds.
    pub fn bad(&self) -> Vec<&Finding> {
        self.findings.iter().filter(|finding| !finding.good).collect()
    }

    /// Fails if a figure is out of bounds, or if there is none.
    #[track_caller]
    pub fn assert_good(&self) {
        assert!(!self.findings.is_empty(), "nothing was compared");
        let bad = self.bad();
        assert!(
            bad.is_empty(),
            "{} of {} figures are out of bounds: {bad:#?}",
            bad.len(),
            self.findings.len()
        );
    }
}
