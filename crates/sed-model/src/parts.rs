//! A stage for one image with more pairs than fit the memory at once, in parts of any size.
//!
//! Parts give bit for bit what the stage gives in one go: pairs are independent but for class attention, whose
//! sums go over all parts before any part is finished, and for rejection, which waits for all logits.

use std::collections::VecDeque;

use candle_core::Tensor;
use sed_kernels::{AttentionSums, FusionOutputs, gather_rows};

use crate::cost_map::CostMap;
use crate::decoder::Decoder;
use crate::error::{ModelError, Result};
use crate::features::ImageFeatures;
use crate::level::Level;
use crate::pairs::{DecodeRequest, PairBatch};
use crate::rejection::Rejection;
use crate::text_tower::TextEmbedding;

/// One image on its way through the cost map or a decoder level, part by part.
#[derive(Debug)]
pub struct Parts(Stage);

#[derive(Debug)]
enum Stage {
    CostMap(CostMapParts),
    Level(LevelParts),
}

/// The progress that one part of a stage made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advanced<Pairs = PairBatch> {
    /// Pairs of the part.
    pub pairs: usize,
    /// The stage's result, once its last part is done.
    pub finished: Option<Pairs>,
}

impl Parts {
    /// The cost map of one image.
    pub(crate) fn cost_map(request: &DecodeRequest<'_>) -> Result<Self> {
        request.check()?;
        Ok(Self(Stage::CostMap(CostMapParts {
            batch: PairBatch::new(std::slice::from_ref(request)),
            features: request.features.clone(),
            text: request.text.to_vec(),
            similarities: Vec::new(),
            logits: Vec::new(),
            embedded: None,
        })))
    }

    /// A decoder level of a batch of one image.
    pub(crate) fn level(level: Level, batch: PairBatch) -> Result<Self> {
        if batch.images() != 1 {
            return Err(ModelError::input(format!("{} images in parts; give one", batch.images())));
        }
        let (Some(features), Some(cost)) = (batch.features.clone(), batch.cost_guidance.clone()) else {
            return Err(ModelError::input("the batch has no features; run the cost map first"));
        };
        batch.check_level(level)?;
        let (_, height, width, _) = features.dims4()?;
        let sums = AttentionSums::none(height * width);
        let guide = batch.guides(level, features.dtype())?.remove(0);
        let batch = batch.without_tensors();
        let input = Some(features);
        let (spatial, fused) = (VecDeque::new(), Vec::new());
        Ok(Self(Stage::Level(LevelParts { level, batch, input, cost, guide, sums, spatial, fused })))
    }

    /// Works on the next part of at most `most` pairs (at least 1). After an error nothing has changed: the
    /// same part can be tried again, or a smaller one.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub(crate) fn advance(&mut self, cost_map: &CostMap, decoder: &Decoder, most: usize) -> Result<Advanced> {
        match &mut self.0 {
            Stage::CostMap(parts) => parts.advance(cost_map, most.max(1)),
            Stage::Level(parts) => parts.advance(decoder, most.max(1)),
        }
    }
}

/// First the similarities of all pairs with the logits that reject, then the embeddings of those that stay.
#[derive(Debug)]
struct CostMapParts {
    batch: PairBatch,
    features: ImageFeatures,
    text: Vec<TextEmbedding>,
    /// In the first half those of the pairs that are done; in the second those of the survivors.
    similarities: Vec<Tensor>,
    logits: Vec<Tensor>,
    /// Embeddings of the survivors, in the second half.
    embedded: Option<Vec<Tensor>>,
}

impl CostMapParts {
    fn advance(&mut self, stage: &CostMap, most: usize) -> Result<Advanced> {
        match &self.embedded {
            None => self.compare(stage, most),
            Some(_) => self.embed(stage, most),
        }
    }

    fn compare(&mut self, stage: &CostMap, most: usize) -> Result<Advanced> {
        let first = count(&self.similarities);
        let end = self.text.len().min(first + most);
        let (features, rejection) = (&self.features, Rejection::Off);
        let part = DecodeRequest { features, text: &self.text[first..end], groups: None, rejection };
        let similarities = stage.similarities(&[part])?;
        let logits = self.batch.rejects().then(|| stage.rejection_logits(&similarities)).transpose()?;
        if end == self.text.len() {
            // All of this can fail, so nothing of `self` changes before it is done.
            let mut batch = self.batch.clone();
            let parts: Vec<&Tensor> = self.similarities.iter().chain([&similarities]).collect();
            let logits: Vec<&Tensor> = self.logits.iter().chain(&logits).collect();
            let kept = if logits.is_empty() { None } else { batch.reject(&Tensor::cat(&logits, 0)?)? };
            self.similarities = match kept {
                Some(kept) => gather_parts(&parts, &kept)?,
                None => parts.into_iter().cloned().collect(),
            };
            self.batch = batch;
            self.logits = Vec::new();
            self.embedded = Some(Vec::new());
        } else {
            self.similarities.push(similarities);
            self.logits.extend(logits);
        }
        Ok(Advanced { pairs: end - first, finished: None })
    }

    fn embed(&mut self, stage: &CostMap, most: usize) -> Result<Advanced> {
        let done = self.embedded.iter().flatten().map(|part| count([part])).sum::<usize>();
        let part = next_part(&self.similarities, done, most)?;
        let pairs = part.dim(0)?;
        let embedded = stage.embed(&part)?;
        let all = self.embedded.get_or_insert_default();
        if done + pairs < self.batch.pairs() {
            all.push(embedded);
            return Ok(Advanced { pairs, finished: None });
        }
        let features: Vec<&Tensor> = all.iter().chain([&embedded]).collect();
        let mut batch = self.batch.clone();
        batch.features = Some(Tensor::cat(&features, 0)?);
        batch.cost_guidance = Some(Tensor::cat(&self.similarities, 0)?);
        Ok(Advanced { pairs, finished: Some(batch) })
    }
}

/// First the aggregation over positions and the attention sums of all pairs, then attention and fusion.
#[derive(Debug)]
struct LevelParts {
    level: Level,
    /// The image without its tensors.
    batch: PairBatch,
    /// Input of the first half; `None` once that is over.
    input: Option<Tensor>,
    cost: Tensor,
    guide: Tensor,
    sums: AttentionSums,
    /// Results of the first half; the second drops what it has worked on.
    spatial: VecDeque<Tensor>,
    /// Results of the second half.
    fused: Vec<FusedPart>,
}

#[derive(Debug, Clone)]
struct FusedPart {
    pairs: usize,
    features: Option<Tensor>,
    cost_guidance: Option<Tensor>,
    logits: Option<Tensor>,
}

impl LevelParts {
    fn advance(&mut self, decoder: &Decoder, most: usize) -> Result<Advanced> {
        match &self.input {
            Some(input) => {
                let level = decoder.level(self.level);
                let done = count(&self.spatial);
                let pairs = most.min(self.batch.pairs() - done);
                let spatial = level.aggregate_positions(&input.narrow(0, done, pairs)?)?;
                self.sums = level.attention().add_sums(&spatial, &self.sums)?;
                self.spatial.push_back(spatial);
                if done + pairs == self.batch.pairs() {
                    self.input = None;
                }
                Ok(Advanced { pairs, finished: None })
            }
            None => self.fuse(decoder, most),
        }
    }

    fn fuse(&mut self, decoder: &Decoder, most: usize) -> Result<Advanced> {
        let level = decoder.level(self.level);
        let last = self.level.is_last();
        let outputs = FusionOutputs { features: !last, logits: last || self.batch.rejects() };
        let done: usize = self.fused.iter().map(|part| part.pairs).sum();
        let Some(front) = self.spatial.front() else { return Err(over()) };
        let (in_front, pairs) = (front.dim(0)?, most.min(front.dim(0)?));
        let spatial = front.narrow(0, 0, pairs)?;
        let rest = (pairs < in_front).then(|| front.narrow(0, pairs, in_front - pairs)).transpose()?;
        let aggregated = level.attention().finish_part(&spatial, &self.sums)?;
        let cost = self.cost.narrow(0, done, pairs)?;
        let fused = level.fuse(&aggregated, &cost, &[&self.guide], &vec![0; pairs], outputs)?;
        let part = FusedPart {
            pairs,
            features: fused.features,
            cost_guidance: fused.cost_guidance,
            logits: fused.logits,
        };
        if done + pairs < self.batch.pairs() {
            self.fused.push(part);
            self.spatial.pop_front();
            rest.into_iter().for_each(|rest| self.spatial.push_front(rest));
            return Ok(Advanced { pairs, finished: None });
        }
        let mut batch = self.batch.clone();
        let parts = || self.fused.iter().chain([&part]);
        let join = |tensors: Vec<&Tensor>| -> Result<Option<Tensor>> {
            Ok(if tensors.is_empty() { None } else { Some(Tensor::cat(&tensors, 0)?) })
        };
        batch.features = join(parts().filter_map(|part| part.features.as_ref()).collect())?;
        batch.cost_guidance = join(parts().filter_map(|part| part.cost_guidance.as_ref()).collect())?;
        let logits = join(parts().filter_map(|part| part.logits.as_ref()).collect())?;
        batch.end_level(self.level, logits)?;
        Ok(Advanced { pairs, finished: Some(batch) })
    }
}

/// Pairs in some parts.
fn count<'a>(parts: impl IntoIterator<Item = &'a Tensor>) -> usize {
    parts.into_iter().map(|part| part.dims().first().copied().unwrap_or(0)).sum()
}

/// At most `most` pairs behind the first `done`, as far as they lie in one part; without copying.
fn next_part(parts: &[Tensor], done: usize, most: usize) -> Result<Tensor> {
    let mut first = done;
    for part in parts {
        let pairs = part.dim(0)?;
        if first < pairs {
            return Ok(part.narrow(0, first, most.min(pairs - first))?);
        }
        first -= pairs;
    }
    Err(over())
}

fn over() -> ModelError {
    ModelError::input("the stage is over; there is no further part")
}

/// Rows `kept` (rising) of what the parts are together, in as many parts.
fn gather_parts(parts: &[&Tensor], kept: &[usize]) -> Result<Vec<Tensor>> {
    let mut gathered = Vec::with_capacity(parts.len());
    let mut first = 0;
    for part in parts {
        let end = first + part.dim(0)?;
        let rows: Vec<usize> =
            kept.iter().filter(|row| (first..end).contains(row)).map(|row| row - first).collect();
        if !rows.is_empty() {
            gathered.push(gather_rows(part, &rows)?);
        }
        first = end;
    }
    Ok(gathered)
}
