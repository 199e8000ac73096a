//! One pre-norm transformer block.

use candle_core::Tensor;
use sed_kernels::{Activation, LayerNorm, Linear, PrefixChains, prefix_attention};

use super::load_norm;
use crate::checkpoint::Weights;
use crate::config::TextConfig;
use crate::error::Result;

/// Attention and perceptron, each after a layer norm and added to its input.
#[derive(Debug)]
pub(super) struct Block {
    heads: usize,
    ln_1: LayerNorm,
    query: Linear,
    key_value: Linear,
    out: Linear,
    ln_2: LayerNorm,
    expand: Linear,
    contract: Linear,
}

impl Block {
    pub(super) fn load(weights: &Weights<'_>, config: &TextConfig) -> Result<Self> {
        let width = config.width;
        // The projections of query, key and value come stacked. They are split because the last block needs
        // keys and values of every row, but queries only of the rows that are read.
        let weight = weights.matrix("attn.in_proj_weight", &[3 * width, width])?;
        let bias = weights.tensor("attn.in_proj_bias", &[3 * width])?;
        let part = |start: usize, rows: usize| -> Result<Linear> {
            Ok(Linear::new(&weight.narrow(0, start, rows)?, Some(&bias.narrow(0, start, rows)?))?)
        };
        let linear = |name: &str, inputs: usize, outputs: usize| -> Result<Linear> {
            let weights = weights.at(name);
            let bias = weights.tensor("bias", &[outputs])?;
            Ok(Linear::new(&weights.matrix("weight", &[outputs, inputs])?, Some(&bias))?)
        };
        Ok(Self {
            heads: config.heads,
            ln_1: load_norm(&weights.at("ln_1"), width)?,
            query: part(0, width)?,
            key_value: part(width, 2 * width)?,
            out: linear("attn.out_proj", width, width)?,
            ln_2: load_norm(&weights.at("ln_2"), width)?,
            expand: linear("mlp.c_fc", width, 4 * width)?,
            contract: linear("mlp.c_proj", 4 * width, width)?,
        })
    }

    /// The norm of `x [rows, width]` that attention reads, in the same shape.
    pub(super) fn norm(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.ln_1.forward(x)?)
    }

    /// Keys and values `[rows, 2 * width]` of normed rows `[rows, width]`.
    pub(super) fn key_values(&self, normed: &Tensor) -> Result<Tensor> {
        Ok(self.key_value.forward(normed, Activation::None)?)
    }

    /// The block's output for rows `x [rows, width]`, of which `normed` is what attention reads. `chains` names
    /// each row's keys, numbered through `shared` and then `own`.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        normed: &Tensor,
        shared: Option<&Tensor>,
        own: &Tensor,
        chains: &PrefixChains,
    ) -> Result<Tensor> {
        let queries = self.query.forward(normed, Activation::None)?;
        let attended = prefix_attention(&queries, shared, own, chains, self.heads)?;
        let x = (x + self.out.forward(&attended, Activation::None)?)?;
        let hidden = self.expand.forward(&self.ln_2.forward(&x)?, Activation::Gelu)?;
        Ok((x + self.contract.forward(&hidden, Activation::None)?)?)
    }
}
