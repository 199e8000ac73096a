//! Vocabularies as one tensor each, kept on the device for the next submission that asks for the same words.

use candle_core::{Tensor, TensorId};
use sed_kernels::submission::arena;

use crate::error::Result;
use crate::text_tower::TextEmbedding;

/// Memory of the vocabularies that are kept, in bytes: eight of a thousand categories of SED-B in bf16. Batches do not
/// get it: [`crate::SedModel::vocabulary_bytes`].
pub(crate) const MOST_BYTES: usize = 1 << 30;

/// The last used vocabularies, the latest at the end.
#[derive(Debug, Default)]
pub(super) struct Vocabularies(Vec<Stacked>);

#[derive(Debug)]
struct Stacked {
    words: Vec<TensorId>,
    /// `[N, P, D]`
    tensor: Tensor,
}

impl Stacked {
    fn bytes(&self) -> usize {
        self.tensor.elem_count() * self.tensor.dtype().size_in_bytes()
    }
}

impl Vocabularies {
    /// The embeddings of a vocabulary as one tensor `[N, P, D]`. The same embeddings in the same order, or clones of
    /// them, are found again.
    ///
    /// # Errors
    /// When there are none, they are of different sizes, or the device has no memory left.
    pub(super) fn stacked(&mut self, text: &[TextEmbedding]) -> Result<Tensor> {
        let words: Vec<TensorId> = text.iter().map(|embedding| embedding.tensor().id()).collect();
        let stacked = match self.0.iter().position(|stacked| stacked.words == words) {
            Some(place) => self.0.remove(place),
            None => {
                let rows: Vec<&Tensor> = text.iter().map(TextEmbedding::tensor).collect();
                Stacked { words, tensor: arena::outside(|| Tensor::stack(&rows, 0))? }
            }
        };
        let tensor = stacked.tensor.clone();
        self.0.push(stacked);
        let mut bytes: usize = self.0.iter().map(Stacked::bytes).sum();
        while bytes > MOST_BYTES && self.0.len() > 1 {
            bytes -= self.0.remove(0).bytes();
        }
        Ok(tensor)
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
