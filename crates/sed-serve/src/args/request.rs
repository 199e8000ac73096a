//! Flags for the options of a segmentation request.

use clap::{Args, ValueEnum};
use sed_client::v1;

/// Options of a request, besides its picture and words.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "How to segment")]
pub(crate) struct RequestArgs {
    /// Rejection: before each decoder level, only categories stay that are among the N best somewhere in the
    /// picture. Smaller is faster; 0 turns it off. [default: the server's, usually 8]
    #[arg(long, value_name = "N")]
    top_k: Option<u32>,

    /// Resizing of the picture to the model's input: in one step, or in two as the official evaluation does.
    #[arg(long, value_name = "HOW", default_value = "direct")]
    resize: Resize,

    /// A pixel whose best score is below this, 0 to 1, belongs to no category.
    #[arg(long, value_name = "SCORE")]
    threshold: Option<f32>,

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

impl RequestArgs {
    /// The options of a request for the index mask, and the overlay if it is wanted.
    pub(crate) fn options(&self, with_overlay: bool) -> v1::SegmentOptions {
        let mut options = v1::SegmentOptions {
            top_k: self.top_k,
            score_threshold: self.threshold,
            min_area: self.min_area,
            overlay: with_overlay.then(v1::Overlay::default),
            list_rejected: true,
            ..v1::SegmentOptions::default()
        };
        options.set_resize_mode(match self.resize {
            Resize::Direct => v1::ResizeMode::Direct,
            Resize::Official => v1::ResizeMode::TwoStep,
        });
        options.push_mask_encodings(v1::MaskEncoding::IndexPng);
        options
    }
}
