//! The ragged batch: (image, category) pairs of several images, one image after another.

use candle_core::{DType, Tensor};

use crate::cost_map::DecodeRequest;
use crate::error::Result;
use crate::features::ImageFeatures;

/// Pairs between two stages. Images in a batch may have different vocabularies, a different `top_k` and
/// different survivors; no operation mixes them.
#[derive(Debug)]
pub struct PairBatch {
    images: Vec<Image>,
    /// Level features `[pairs, h, w, C]`, until the last level.
    pub(crate) features: Option<Tensor>,
    /// Cost-map guidance `[pairs, h, w, P]` (the cost map itself before level 1), until the last level.
    pub(crate) cost_guidance: Option<Tensor>,
    /// The last level's logits `[pairs, S/4, S/4]`.
    pub(crate) logits: Option<Tensor>,
    /// Decoder levels that have run.
    pub(crate) levels_done: usize,
}

/// One image's part of a batch.
#[derive(Debug)]
struct Image {
    features: ImageFeatures,
    top_k: Option<usize>,
    vocabulary: usize,
    survivors: Vec<u32>,
}

impl PairBatch {
    /// All pairs of some requests, before any rejection.
    pub(crate) fn new(requests: &[DecodeRequest<'_>]) -> Self {
        let image = |request: &DecodeRequest<'_>| Image {
            features: request.features.clone(),
            top_k: request.top_k,
            vocabulary: request.text.len(),
            survivors: (0..request.text.len() as u32).collect(),
        };
        let images = requests.iter().map(image).collect();
        Self { images, features: None, cost_guidance: None, logits: None, levels_done: 0 }
    }

    /// Number of images.
    pub fn images(&self) -> usize {
        self.images.len()
    }

    /// Number of pairs that are left, over all images.
    pub fn pairs(&self) -> usize {
        self.images.iter().map(|image| image.survivors.len()).sum()
    }

    /// The categories of an image that are left, as indices into its vocabulary, rising.
    pub fn survivors(&self, image: usize) -> &[u32] {
        &self.images[image].survivors
    }

    /// Number of categories of an image's vocabulary.
    pub fn vocabulary(&self, image: usize) -> usize {
        self.images[image].vocabulary
    }

    /// Which pairs belong to which image: one more than there are images, from 0 to the number of pairs.
    pub(crate) fn offsets(&self) -> Vec<usize> {
        let mut offsets = vec![0];
        let mut end = 0;
        for image in &self.images {
            end += image.survivors.len();
            offsets.push(end);
        }
        offsets
    }

    /// The image of every pair.
    pub(crate) fn image_of_pair(&self) -> Vec<usize> {
        let pairs = |(index, image): (usize, &Image)| std::iter::repeat_n(index, image.survivors.len());
        self.images.iter().enumerate().flat_map(pairs).collect()
    }

    /// Every image's guide for decoder level `level` (0, 1, 2), in f32.
    pub(crate) fn guides(&self, level: usize) -> Result<Vec<Tensor>> {
        let guide = |image: &Image| Ok(image.features.guide(level).to_dtype(DType::F32)?);
        self.images.iter().map(guide).collect()
    }

    /// Whether a rejection could drop a pair.
    pub(crate) fn rejects(&self) -> bool {
        self.images.iter().any(|image| image.top_k.is_some_and(|k| k < image.survivors.len()))
    }

    /// Keeps, image by image, the categories that are among the `top_k` best at some position of
    /// `logits [pairs, h, w]` (SED section 3.4). Gives the rows that stay, or `None` if all do.
    pub(crate) fn reject(&mut self, logits: &Tensor) -> Result<Option<Vec<usize>>> {
        let offsets = self.offsets();
        let top_k: Vec<Option<usize>> = self.images.iter().map(|image| image.top_k).collect();
        let kept = sed_kernels::top_k_union(logits, &offsets, &top_k)?;
        let before = self.pairs();
        for ((image, kept), first) in self.images.iter_mut().zip(&kept).zip(&offsets) {
            image.survivors = kept.iter().map(|pair| image.survivors[pair - first]).collect();
        }
        Ok((self.pairs() < before).then(|| kept.concat()))
    }
}
