//! The forms in which a result is written to files.

use clap::ValueEnum;
use sed_client::MaskEncoding;

/// A form of a result. NAME in the descriptions is the picture's name without its ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// NAME.overlay.png: the picture with the categories drawn over it
    Overlay,
    /// NAME.mask.png: for every pixel the index of its category in the words, counted from 0; 255 (in 16 bits
    /// 65535) is no category
    IndexPng,
    /// NAME.categories/CATEGORY.png: one black and white PNG for each category that was found; 255 is the
    /// category, 0 is not
    CategoryPng,
    /// coco-panoptic.json for all pictures, and coco-panoptic/NAME.png: a segment for each category, whose id
    /// is R + 256 G + 256² B; category ids are indices + 1, id 0 is no category
    CocoPanoptic,
    /// coco-instances.json for all pictures: one annotation with run lengths (RLE) for each category of a
    /// picture; category ids are indices + 1
    CocoInstances,
    /// NAME.score.png: the score of the best category of every pixel, grey, 0 to 255 for 0 to 1
    ScorePng,
    /// NAME.score.f16: the same as 16 bit floats, little endian, row by row
    ScoreRaw,
    /// NAME.runner-up.png: the second best category of every pixel, as index-png
    RunnerUpPng,
    /// NAME.margin.png: the score of the best category less that of the second best, as score-png
    MarginPng,
    /// NAME.margin.f16: the same, as score-raw
    MarginRaw,
    /// NAME.sureness.npz: the arrays score and margin (float16) and runner_up (uint32, 65535 is none), all
    /// of shape (height, width)
    SurenessNpz,
    /// NAME.score-maps.npz: the array scores (float32) of shape (categories, height, width) at the size of
    /// the model's own map, and category_indices (uint32) of shape (categories); rejected categories are left
    /// out
    ScoreMapsNpz,
}

impl Format {
    /// The forms that a person wants to see.
    pub(crate) const USUAL: [Self; 2] = [Self::Overlay, Self::IndexPng];

    /// The mask encodings that the form is made of.
    pub(crate) fn encodings(self) -> &'static [MaskEncoding] {
        match self {
            Self::Overlay => &[],
            Self::IndexPng | Self::CategoryPng | Self::CocoPanoptic => &[MaskEncoding::IndexPng],
            Self::CocoInstances => &[MaskEncoding::CocoRle],
            Self::ScorePng => &[MaskEncoding::ScorePng],
            Self::ScoreRaw => &[MaskEncoding::ScoreRaw],
            Self::RunnerUpPng => &[MaskEncoding::RunnerUpPng],
            Self::MarginPng => &[MaskEncoding::MarginPng],
            Self::MarginRaw => &[MaskEncoding::MarginRaw],
            Self::SurenessNpz => {
                &[MaskEncoding::ScoreRaw, MaskEncoding::RunnerUpPng, MaskEncoding::MarginRaw]
            }
            Self::ScoreMapsNpz => &[MaskEncoding::ScoreMaps],
        }
    }
}
