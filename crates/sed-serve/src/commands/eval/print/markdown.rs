//! The figures of one dataset as a Markdown table, beside those that SED's authors report.

use std::io::{self, Write};

use sed_client::{report::Model, v1};
use sed_eval::{Measured, paper};

use super::{labelled, percent};

/// Rejection of the authors' fast inference.
const FAST_TOP_K: u32 = 8;

/// The way in which pictures are segmented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::commands::eval) struct Protocol {
    /// True for the two-step resizing of the official evaluation.
    official_resize: bool,
    /// 0 is off, `None` the server's default.
    top_k: Option<u32>,
    /// Flags that change the figures in another way than resizing and rejection.
    flags: Vec<&'static str>,
}

impl Protocol {
    /// The protocol of these options, and of `flags` that change the figures besides.
    pub(in crate::commands::eval) fn of(options: &v1::SegmentOptions, mut flags: Vec<&'static str>) -> Self {
        let official_resize = options.resize_mode() == v1::ResizeMode::TwoStep;
        if options.score_threshold.is_some() || !options.category_thresholds.is_empty() {
            flags.push("--threshold");
        }
        if options.min_area > 0 {
            flags.push("--min-area");
        }
        Self { official_resize, top_k: options.top_k, flags }
    }

    /// The authors' word for it, or the values of its flags.
    fn name(&self) -> String {
        let resize = if self.official_resize { "official" } else { "direct" };
        let name = match (self.official_resize, self.top_k) {
            (true, Some(0)) => "official".to_owned(),
            (true, Some(FAST_TOP_K)) => "fast".to_owned(),
            (_, Some(top_k)) => format!("resize {resize}, top_k {top_k}"),
            (_, None) => format!("resize {resize}, the server's top_k"),
        };
        if self.flags.is_empty() { name } else { format!("{name}, but {}", self.flags.join(", ")) }
    }

    /// Reports whether the authors' figures with rejection are the nearer ones.
    fn is_fast(&self) -> bool {
        self.top_k != Some(0)
    }
}

/// Prints the table: the figures of a run on `dataset`, in percent, and the authors' mean IoU for this model,
/// or if it is none of theirs for each of them.
pub(super) fn print(
    model: &Model,
    dataset: &str,
    protocol: &Protocol,
    run: &Measured,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(
        out,
        "| model | dataset | protocol | pictures | categories | mIoU | mIoU of SED's authors | fwIoU | mACC | pACC |"
    )?;
    writeln!(out, "|---|---|---|---:|---:|---:|---|---:|---:|---:|")?;
    let figures = &run.figures;
    let [model_name, dataset_name] = [&model.name, dataset].map(|name| name.replace('|', "\\|"));
    writeln!(
        out,
        "| {model_name} | {dataset_name} | {} | {} | {} | {} | {} | {} | {} | {} |",
        protocol.name(),
        run.pictures,
        labelled(run),
        percent(figures.miou),
        reported(&model.name, dataset, protocol.is_fast()),
        percent(figures.frequency_weighted_iou),
        percent(figures.mean_accuracy),
        percent(figures.pixel_accuracy),
    )
}

/// The authors' figures for a dataset; those of other models are named.
fn reported(model: &str, dataset: &str, fast: bool) -> String {
    let rows: Vec<_> = paper::rows(dataset).filter(|row| row.fast == fast).collect();
    let way = if fast { "fast" } else { "official" };
    if let Some(own) = rows.iter().find(|row| row.model.eq_ignore_ascii_case(model)) {
        return format!("{:.1} ({way})", own.miou);
    }
    let named: Vec<String> = rows.iter().map(|row| format!("{} {:.1}", row.model, row.miou)).collect();
    if named.is_empty() { "–".to_owned() } else { format!("{} ({way})", named.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authors_models_have_their_own_figure_and_others_both() {
        assert_eq!(reported("sed-b", "ade20k-150", false), "31.8 (official)");
        assert_eq!(reported("SED-L", "ade20k-150", true), "35.2 (fast)");
        assert_eq!(reported("sed-tiny", "pascal-voc-20", true), "SED-B 94.4, SED-L 96.1 (fast)");
        assert_eq!(reported("sed-b", "coco-stuff-171", false), "–");
    }

    #[test]
    fn protocols_have_the_authors_names_where_they_are_theirs() {
        let name = |official_resize, top_k| Protocol { official_resize, top_k, flags: Vec::new() }.name();
        assert_eq!(name(true, Some(0)), "official");
        assert_eq!(name(true, Some(8)), "fast");
        assert_eq!(name(false, Some(8)), "resize direct, top_k 8");
        assert_eq!(name(true, None), "resize official, the server's top_k");
        let mut options =
            v1::SegmentOptions { top_k: Some(0), score_threshold: Some(0.3), ..Default::default() };
        options.set_resize_mode(v1::ResizeMode::TwoStep);
        assert_eq!(Protocol::of(&options, vec!["--limit"]).name(), "official, but --limit, --threshold");
    }
}
