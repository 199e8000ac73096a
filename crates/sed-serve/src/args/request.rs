//! Flags for the options of a segmentation request.

use clap::{Args, ValueEnum};
use sed_client::{CategoryKey, v1};

/// Options of a request, besides its picture and words.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "How to segment")]
pub(crate) struct RequestArgs {
    /// Rejection: before each decoder level, only categories stay that are among the N best somewhere in the
    /// picture. Smaller is faster; 0 turns it off. [default: the server's, usually 8]
    #[arg(long, value_name = "N")]
    top_k: Option<u32>,

    /// Resizing of the picture to the model's input: in one step, or in two as the official evaluation does.
    /// [default: direct; for `eval --dataset` and `--table` official]
    #[arg(long, value_name = "HOW")]
    resize: Option<Resize>,

    /// A pixel whose best score is below this, 0 to 1, belongs to no category. NAME=SCORE is the threshold of
    /// one category alone. May be given several times; `sed-serve eval --thresholds` helps to choose.
    #[arg(long, value_name = "SCORE|NAME=SCORE", value_parser = threshold)]
    threshold: Vec<Threshold>,

    /// Regions of fewer pixels are removed.
    #[arg(long, value_name = "PIXELS", default_value_t = 0, hide_default_value = true)]
    min_area: u32,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Resize {
    #[default]
    Direct,
    Official,
}

/// The threshold of a category, or of those without one of their own.
#[derive(Clone, Debug, PartialEq)]
struct Threshold {
    category: Option<String>,
    score: f32,
}

/// Parses `0.3` or `sofa=0.4`.
fn threshold(text: &str) -> Result<Threshold, String> {
    let (category, score) = match text.rsplit_once('=') {
        Some((name, score)) => (Some(name.trim().to_owned()), score),
        None => (None, text),
    };
    let score = score.trim().parse().ok().filter(|score| (0.0..=1.0).contains(score));
    let named = category.as_ref().is_none_or(|name| !name.is_empty());
    score.filter(|_| named).map(|score| Threshold { category, score }).ok_or_else(|| {
        "expected a score of 0 to 1, or a category's name, `=` and a score, such as sofa=0.4".to_owned()
    })
}

impl RequestArgs {
    /// The same flags, of which those that were not given are those of the official evaluation, with
    /// rejection at `top_k`; 0 is off.
    pub(crate) fn official(&self, top_k: u32) -> Self {
        Self {
            top_k: self.top_k.or(Some(top_k)),
            resize: self.resize.or(Some(Resize::Official)),
            ..self.clone()
        }
    }

    /// The options of a request for the index mask, and the overlay if it is wanted.
    pub(crate) fn options(&self, with_overlay: bool) -> v1::SegmentOptions {
        let general = self.threshold.iter().rfind(|threshold| threshold.category.is_none());
        let of_category = |Threshold { category, score }: &Threshold| {
            category.clone().map(|name| CategoryKey::Name(name).threshold(*score))
        };
        let mut options = v1::SegmentOptions {
            top_k: self.top_k,
            score_threshold: general.map(|threshold| threshold.score),
            category_thresholds: self.threshold.iter().filter_map(of_category).collect(),
            min_area: self.min_area,
            overlay: with_overlay.then(v1::Overlay::default),
            list_rejected: true,
            ..v1::SegmentOptions::default()
        };
        options.set_resize_mode(match self.resize.unwrap_or_default() {
            Resize::Direct => v1::ResizeMode::Direct,
            Resize::Official => v1::ResizeMode::TwoStep,
        });
        options.push_mask_encodings(v1::MaskEncoding::IndexPng);
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_general_or_of_a_category() {
        let parsed = |text: &str| threshold(text).map(|Threshold { category, score }| (category, score));
        assert_eq!(parsed("0.3"), Ok((None, 0.3)));
        assert_eq!(parsed(" sofa = 1"), Ok((Some("sofa".into()), 1.0)));
        assert_eq!(parsed("a=b=0"), Ok((Some("a=b".into()), 0.0)));
        for wrong in ["", "sofa", "sofa=", "=0.3", "1.5", "sofa=-1", "NaN"] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }

        let threshold = ["0.3", "sofa=0.5", "0.25"].map(|text| threshold(text).unwrap()).into();
        let options = RequestArgs { threshold, ..RequestArgs::default() }.options(false);
        assert_eq!(options.score_threshold, Some(0.25));
        assert_eq!(options.category_thresholds, [CategoryKey::from("sofa").threshold(0.5)]);
    }
}
