//! Specs and results of the step from score maps to the category of every output pixel.

use candle_core::Tensor;

/// Marks pixels whose best score is below the threshold.
pub const UNLABELLED: u16 = u16::MAX;

/// Size of the output, crop of the maps, and threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArgmaxSpec {
    /// Width of the output in pixels.
    pub width: usize,
    /// Height of the output in pixels.
    pub height: usize,
    /// Only the first so many columns and rows of the maps, `(width, height)`, are used.
    pub crop: Option<(usize, usize)>,
    /// Pixels whose best score is lower become [`UNLABELLED`].
    pub threshold: f32,
}

/// The winner of every pixel.
#[derive(Debug, Clone, PartialEq)]
pub struct ArgmaxMap {
    /// `[height, width]`: index of the best map, the lowest where several are equal, or [`UNLABELLED`].
    pub indices: Vec<u16>,
    /// Pixels that each map has won.
    pub pixels: Vec<u32>,
    /// Mean score of each map over the pixels that it has won; 0 where it has none.
    pub mean_scores: Vec<f32>,
}

/// Scores and winners made of the logits of an image.
#[derive(Debug, Clone)]
pub struct ScoredMap {
    /// `[n, h, w]`: the logistic function of the logits.
    pub scores: Tensor,
    /// The winner of every pixel; meaningless unless all logits are finite.
    pub map: ArgmaxMap,
    /// Logits that are NaN or infinite.
    pub not_finite: usize,
}
