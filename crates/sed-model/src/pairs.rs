//! The ragged batch: (image, category) pairs of several images, one image after another.

use candle_core::{DType, Tensor};
use sed_kernels::gather_rows;

use crate::error::{ModelError, Result};
use crate::features::ImageFeatures;
use crate::level::Level;
use crate::rejection::Rejection;
use crate::text_tower::TextEmbedding;

/// One image and the categories that are looked for in it: as this model holds them, or as another that stands
/// in for it does.
#[derive(Debug)]
pub struct DecodeRequest<'a, Features = ImageFeatures, Text = TextEmbedding> {
    /// The image.
    pub features: &'a Features,
    /// Its vocabulary: one entry for each category.
    pub text: &'a [Text],
    /// The rejection before every decoder level.
    pub rejection: Rejection,
}

// Not derived: a derive would ask that `Features` and `Text` can be copied.
impl<Features, Text> Clone for DecodeRequest<'_, Features, Text> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Features, Text> Copy for DecodeRequest<'_, Features, Text> {}

/// Pairs between two stages. Images in a batch may have different vocabularies, a different rejection and
/// different survivors; no operation mixes them.
///
/// Cheap to clone: the tensors are shared.
#[derive(Debug, Clone)]
pub struct PairBatch {
    images: Vec<Image>,
    /// Level features `[pairs, h, w, C]`, until the last level.
    pub(crate) features: Option<Tensor>,
    /// Cost-map guidance `[pairs, h, w, P]` (the cost map itself before level 1), until the last level.
    pub(crate) cost_guidance: Option<Tensor>,
    /// The last level's logits `[pairs, S/4, S/4]`.
    pub(crate) logits: Option<Tensor>,
    /// The decoder level that it stands before; `None` behind the last.
    pub(crate) before: Option<Level>,
}

/// One image's part of a batch.
#[derive(Debug, Clone)]
struct Image {
    features: ImageFeatures,
    rejection: Rejection,
    vocabulary: usize,
    survivors: Vec<u32>,
}

impl Image {
    /// The number of its categories that stay at one position.
    fn top_k(&self) -> usize {
        self.rejection.kept(self.survivors.len())
    }
}

impl PairBatch {
    /// All pairs of some requests, before any rejection.
    pub(crate) fn new(requests: &[DecodeRequest<'_>]) -> Self {
        let image = |request: &DecodeRequest<'_>| Image {
            features: request.features.clone(),
            rejection: request.rejection,
            vocabulary: request.text.len(),
            survivors: (0..request.text.len() as u32).collect(),
        };
        let images = requests.iter().map(image).collect();
        Self { images, features: None, cost_guidance: None, logits: None, before: Some(Level::One) }
    }

    /// One batch of several that stand before the same level.
    ///
    /// # Errors
    /// When there is no batch, they stand before different levels, or a tensor operation fails.
    pub fn join(mut batches: Vec<Self>) -> Result<Self> {
        let Some(before) = batches.first().map(|batch| batch.before) else {
            return Err(ModelError::input("there is no batch to join"));
        };
        if batches.iter().any(|batch| batch.before != before) {
            return Err(ModelError::input("batches before different decoder levels cannot be joined"));
        }
        if batches.len() == 1 {
            return Ok(batches.remove(0));
        }
        let features = join_tensors(batches.iter().map(|batch| &batch.features))?;
        let cost_guidance = join_tensors(batches.iter().map(|batch| &batch.cost_guidance))?;
        let logits = join_tensors(batches.iter().map(|batch| &batch.logits))?;
        let images = batches.into_iter().flat_map(|batch| batch.images).collect();
        Ok(Self { images, features, cost_guidance, logits, before })
    }

    /// A batch for each image; they share the tensors' memory.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn split(self) -> Result<Vec<Self>> {
        if self.images.len() == 1 {
            return Ok(vec![self]);
        }
        let offsets = self.offsets();
        let Self { images, features, cost_guidance, logits, before } = self;
        let of_image = |(index, image): (usize, Image)| {
            let pairs = (offsets[index], image.survivors.len());
            Ok(Self {
                features: rows(features.as_ref(), pairs)?,
                cost_guidance: rows(cost_guidance.as_ref(), pairs)?,
                logits: rows(logits.as_ref(), pairs)?,
                images: vec![image],
                before,
            })
        };
        images.into_iter().enumerate().map(of_image).collect()
    }

    /// The images and survivors alone.
    pub(crate) fn without_tensors(self) -> Self {
        Self { features: None, cost_guidance: None, logits: None, ..self }
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

    /// The logits `[pairs, S/4, S/4]`, once all levels have run.
    pub fn logits(&self) -> Option<&Tensor> {
        self.logits.as_ref()
    }

    /// Number of categories of an image's vocabulary.
    pub fn vocabulary(&self, image: usize) -> usize {
        self.images[image].vocabulary
    }

    /// The pairs of each image, as offsets: one more than there are images, from 0 to the number of pairs.
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

    /// Every image's guide for a decoder level, in the format of the pairs' features.
    pub(crate) fn guides(&self, level: Level, dtype: DType) -> Result<Vec<Tensor>> {
        let guide = |image: &Image| Ok(image.features.guide(level).to_dtype(dtype)?);
        self.images.iter().map(guide).collect()
    }

    /// Reports whether a rejection could drop a pair.
    pub(crate) fn rejects(&self) -> bool {
        self.images.iter().any(|image| image.top_k() < image.survivors.len())
    }

    /// Checks that the batch stands before a decoder level.
    ///
    /// # Errors
    /// When it stands before another one.
    pub(crate) fn check_level(&self, level: Level) -> Result<()> {
        if self.before == Some(level) {
            return Ok(());
        }
        let before = self.before.map_or_else(|| "no level".to_owned(), |level| format!("level {level}"));
        Err(ModelError::input(format!(
            "the batch stands before {before}, not level {level}; run 1, 2, 3 in order"
        )))
    }

    /// Ends a level: the last one leaves its logits, the others reject by them.
    pub(crate) fn end_level(&mut self, level: Level, logits: Option<Tensor>) -> Result<()> {
        self.before = level.next();
        if level.is_last() {
            self.logits = logits;
        } else if let Some(logits) = logits
            && let Some(kept) = self.reject(&logits)?
        {
            let keep = |x: Option<Tensor>| x.map(|x| gather_rows(&x, &kept)).transpose();
            self.features = keep(self.features.take())?;
            self.cost_guidance = keep(self.cost_guidance.take())?;
        }
        Ok(())
    }

    /// Keeps, image by image, the categories that are among the `top_k` best at some position of
    /// `logits [pairs, h, w]` (SED section 3.4). Gives the rows that stay, or `None` if all do.
    pub(crate) fn reject(&mut self, logits: &Tensor) -> Result<Option<Vec<usize>>> {
        let offsets = self.offsets();
        let top_k: Vec<usize> = self.images.iter().map(Image::top_k).collect();
        let kept = sed_kernels::top_k_union(logits, &offsets, &top_k)?;
        let before = self.pairs();
        for ((image, kept), first) in self.images.iter_mut().zip(&kept).zip(&offsets) {
            image.survivors = kept.iter().map(|pair| image.survivors[pair - first]).collect();
        }
        Ok((self.pairs() < before).then(|| kept.concat()))
    }
}

/// One tensor of several along the pairs; `None` where the batches have none.
fn join_tensors<'a>(tensors: impl Iterator<Item = &'a Option<Tensor>>) -> Result<Option<Tensor>> {
    let tensors: Vec<&Tensor> = tensors.flatten().collect();
    Ok(if tensors.is_empty() { None } else { Some(Tensor::cat(&tensors, 0)?) })
}

/// Pairs `first .. first + count` of a tensor, without copying.
pub(crate) fn rows(tensor: Option<&Tensor>, (first, count): (usize, usize)) -> Result<Option<Tensor>> {
    Ok(tensor.map(|tensor| tensor.narrow(0, first, count)).transpose()?)
}
