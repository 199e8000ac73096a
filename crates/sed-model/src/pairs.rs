//! The ragged batch: (image, category) pairs of several images, one image after another.

use std::sync::Arc;

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
    /// Its vocabulary: one entry for each pair, which is a category or one of a category's phrases.
    pub text: &'a [Text],
    /// The category of each pair, from 0 and rising without gaps, where a category has several; `None` where
    /// every pair is a category.
    pub groups: Option<&'a [u32]>,
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

impl<Features, Text> DecodeRequest<'_, Features, Text> {
    /// Checks that there are pairs, and that their groups belong to them.
    ///
    /// # Errors
    /// When the vocabulary is empty, there are not as many groups as pairs, or groups do not begin at 0 or
    /// leave a category out.
    pub(crate) fn check(&self) -> Result<()> {
        if self.text.is_empty() {
            return Err(ModelError::input("every image needs at least one category"));
        }
        let Some(groups) = self.groups else { return Ok(()) };
        let in_order = groups.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1);
        if groups.len() == self.text.len() && groups.first() == Some(&0) && in_order {
            return Ok(());
        }
        Err(ModelError::input(format!(
            "{} groups do not divide {} pairs: give each pair its category, from 0 and rising without gaps",
            groups.len(),
            self.text.len()
        )))
    }
}

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
    /// Number of its categories.
    vocabulary: usize,
    /// The category of each pair of its vocabulary; `None` where every pair is one.
    groups: Option<Arc<[u32]>>,
    /// The pairs that are left, as indices into its vocabulary, rising.
    survivors: Vec<u32>,
}

impl Image {
    fn of(request: &DecodeRequest<'_>) -> Self {
        let pairs = request.text.len();
        Self {
            features: request.features.clone(),
            rejection: request.rejection,
            vocabulary: request.groups.and_then(<[u32]>::last).map_or(pairs, |last| *last as usize + 1),
            groups: request.groups.map(Arc::from),
            survivors: (0..pairs as u32).collect(),
        }
    }

    /// The category of a pair of its vocabulary.
    fn category(&self, pair: u32) -> u32 {
        self.groups.as_ref().map_or(pair, |groups| groups[pair as usize])
    }

    /// The competitor in a rejection that a pair belongs to: its category, which counts once by its best
    /// pair. Without a rejection every pair is by itself, since all of them stay.
    fn competitor(&self, pair: u32) -> u32 {
        if self.rejection == Rejection::Off { pair } else { self.category(pair) }
    }

    /// The number of its categories that stay at one position.
    fn top_k(&self) -> usize {
        let mut left: Vec<u32> = self.survivors.iter().map(|&pair| self.competitor(pair)).collect();
        left.dedup();
        self.rejection.kept(left.len())
    }
}

impl PairBatch {
    /// All pairs of some requests, before any rejection.
    pub(crate) fn new(requests: &[DecodeRequest<'_>]) -> Self {
        let images = requests.iter().map(Image::of).collect();
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

    /// The pairs of an image that are left, as indices into its vocabulary, rising: categories, unless it has
    /// groups.
    pub fn survivors(&self, image: usize) -> &[u32] {
        &self.images[image].survivors
    }

    /// The category of each pair of an image's vocabulary; `None` where every pair is one.
    pub fn groups(&self, image: usize) -> Option<&[u32]> {
        self.images[image].groups.as_deref()
    }

    /// The category of each pair of an image that is left, rising.
    pub fn categories(&self, image: usize) -> Vec<u32> {
        let image = &self.images[image];
        image.survivors.iter().map(|&pair| image.category(pair)).collect()
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

    /// The competitor of every pair in a rejection: rising, and of one image alone. `None` where every pair
    /// competes by itself.
    fn competitors(&self) -> Option<Vec<u32>> {
        if self.images.iter().all(|image| image.groups.is_none()) {
            return None;
        }
        let mut competitors = Vec::with_capacity(self.pairs());
        let mut first = 0;
        for image in &self.images {
            competitors.extend(image.survivors.iter().map(|&pair| first + image.competitor(pair)));
            first = competitors.last().map_or(first, |last| last + 1);
        }
        Some(competitors)
    }

    /// Keeps, image by image, the categories that are among the `top_k` best at some position of
    /// `logits [pairs, h, w]` (SED section 3.4), of a category with several pairs those that are its best
    /// where it is among them. Returns the rows that stay, or `None` if all do.
    pub(crate) fn reject(&mut self, logits: &Tensor) -> Result<Option<Vec<usize>>> {
        let offsets = self.offsets();
        let top_k: Vec<usize> = self.images.iter().map(Image::top_k).collect();
        let competitors = self.competitors();
        let kept = sed_kernels::top_k_union(logits, &offsets, &top_k, competitors.as_deref())?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_belong_to_pairs_and_leave_no_category_out() {
        let check = |pairs: usize, groups: Option<&[u32]>| {
            let text = vec![(); pairs];
            DecodeRequest { features: &(), text: &text, groups, rejection: Rejection::Off }.check()
        };
        for groups in [&[0, 0, 0][..], &[0, 1, 2], &[0, 0, 1], &[0, 1, 1]] {
            assert!(check(3, Some(groups)).is_ok() && check(3, None).is_ok(), "{groups:?}");
        }
        for groups in [&[][..], &[0, 0], &[1, 1, 2], &[0, 2, 2], &[0, 1, 0], &[0, 0, 0, 0]] {
            assert!(check(3, Some(groups)).is_err(), "{groups:?}");
        }
        assert!(check(0, None).is_err() && check(0, Some(&[])).is_err());
    }
}
