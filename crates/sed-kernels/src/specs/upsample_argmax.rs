//! Specs and results of the step from score maps to the category of every output pixel.

use candle_core::{Result, Tensor, bail};
use half::f16;

/// Marks pixels whose best score is below the threshold, and those without a runner-up.
pub const UNLABELLED: u16 = u16::MAX;

/// Size of the output, crop of the maps, and the maps' labels and thresholds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArgmaxSpec<'a> {
    /// Width of the output in pixels.
    pub width: usize,
    /// Height of the output in pixels.
    pub height: usize,
    /// Only the first so many columns and rows of the maps, `(width, height)`, are used.
    pub crop: Option<(usize, usize)>,
    /// `[maps]`, rising: the category of each map. Maps of one label do not compete for second place.
    pub labels: &'a [u16],
    /// `[maps]`: pixels that a map wins with a lower score become [`UNLABELLED`]. Infinity marks the map of a
    /// contrast word: it competes, all of its pixels become [`UNLABELLED`], and it is no runner-up.
    pub thresholds: &'a [f32],
    /// True to return [`Sureness`] too.
    pub sureness: bool,
}

impl ArgmaxSpec<'_> {
    /// Returns the columns and rows of the maps `[n, h, w]` that count, `(width, height)`.
    ///
    /// # Errors
    /// When the crop is empty or larger than the maps, there are too many maps for an index, or labels and
    /// thresholds are not one for each map, labels rising.
    pub(crate) fn used(&self, maps: &Tensor) -> Result<(usize, usize)> {
        let (n, rows, columns) = maps.dims3()?;
        let (wide, high) = self.crop.unwrap_or((columns, rows));
        if n >= usize::from(UNLABELLED) || high == 0 || wide == 0 || high > rows || wide > columns {
            bail!("upsample argmax: cannot crop {:?} to width {wide} and height {high}", maps.shape());
        }
        if (self.labels.len(), self.thresholds.len()) != (n, n) {
            let (labels, thresholds) = (self.labels.len(), self.thresholds.len());
            bail!("upsample argmax: {labels} labels and {thresholds} thresholds for {n} maps");
        }
        if let Some(map) = self.labels.windows(2).position(|labels| labels[0] > labels[1]) {
            bail!(
                "upsample argmax: label {} of map {map} is above the next map's; sort them",
                self.labels[map]
            );
        }
        Ok((wide, high))
    }
}

/// Mean score over some pixels from its sum in units of 2⁻³²; 0 of no pixel.
pub(crate) fn mean_score(sum: i64, pixels: u32) -> f32 {
    if pixels > 0 { (sum as f64 / f64::from(pixels) / (1u64 << 32) as f64) as f32 } else { 0.0 }
}

/// The winner of every pixel.
#[derive(Debug, Clone, PartialEq)]
pub struct ArgmaxMap {
    /// `[height, width]`: index of the best map, the lowest where several are equal, or [`UNLABELLED`].
    pub indices: Vec<u16>,
    /// Pixels that each map has won and kept; of contrast words all that they have won.
    pub pixels: Vec<u32>,
    /// Mean score of each map over these pixels; 0 where it has none.
    pub mean_scores: Vec<f32>,
    /// The scores behind the winners, if they were asked for.
    pub sureness: Option<Sureness>,
}

/// The best and the second best score of every pixel, each plane `[height, width]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sureness {
    /// Score of the winner, before its threshold; 0 where there is no map.
    pub scores: Vec<f16>,
    /// The best of the maps with another label than the winner's, the lowest where several are equal.
    /// [`UNLABELLED`] where there is none or it is a contrast word's.
    pub runner_up: Vec<u16>,
    /// Score of the winner less that of the runner-up; the winner's score where there is no runner-up.
    pub margins: Vec<f16>,
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
