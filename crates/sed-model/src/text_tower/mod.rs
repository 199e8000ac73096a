//! The CLIP text transformer: categories to text embeddings.
//!
//! The transformer is causal and is read at the end-of-text token, so tokens after it are never computed, and
//! a prefix that several prompts share is computed once: prompts are put into a tree of tokens, and each node
//! of the tree is one row. The prefixes of the 80 templates, up to where the phrase goes, are computed when
//! the model is loaded. The result is equal to computing every prompt alone at full length, up to rounding.

mod block;
mod tree;

use std::{collections::HashMap, sync::Arc};

use candle_core::{D, DType, Tensor};
use sed_kernels::{Activation, LayerNorm, Linear, activation_dtype};

use crate::checkpoint::Weights;
use crate::config::SedConfig;
use crate::error::{ModelError, Result};
use crate::prompts::{Category, phrase_prompts, templates};
use crate::tokenizer::{PhraseReader, Tokenizer};
use block::Block;
use tree::{Node, TokenTree};

/// Epsilon of every layer norm of the text tower.
const EPS: f64 = 1e-5;
/// Rows that are computed together. Their widest activations (four times the width) take 42 MB in SED-B,
/// whatever the vocabulary.
const CHUNK_ROWS: usize = 4096;
/// The version of the text tower's arithmetic. It rises with every change after which the same weights, templates and
/// tokens may give other embeddings, so that stored embeddings of earlier versions are not used.
pub const ARITHMETIC: u32 = 1;

/// The text tower of one model.
#[derive(Debug)]
pub struct TextTower {
    tokenizer: Arc<Tokenizer>,
    /// Number format of the activations between the blocks.
    dtype: DType,
    token_embedding: Tensor,
    positional_embedding: Tensor,
    blocks: Vec<Block>,
    ln_final: LayerNorm,
    projection: Linear,
    /// The prefixes of the templates, and their keys and values in every block, `[nodes, 2 * width]` each.
    prefixes: TokenTree,
    prefix_key_values: Vec<Tensor>,
}

/// Embedding of a category in the space that images and texts share: one unit vector for each template.
#[derive(Clone, Debug)]
pub struct TextEmbedding {
    rows: Tensor,
}

/// Work of the text tower for some phrases, in the units that [`crate::operations::text`] counts by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextRows {
    /// Tokens that are computed: each once for all prompts that share it and what stands before it.
    pub rows: u64,
    /// Tokens that those attend to, themselves included, summed over all of them.
    pub keys: u64,
    /// Prompts, each read at its last token.
    pub ends: u64,
    /// Tokens that the last tokens of the prompts attend to.
    pub end_keys: u64,
}

impl TextEmbedding {
    /// The embedding of a category from those of its phrases (each `[80, D]`, as
    /// [`TextTower::embed_phrases`] returns them): their mean for each template, made unit length again.
    ///
    /// # Errors
    /// When there is no phrase, or shapes differ.
    pub fn combine(phrases: &[Tensor]) -> Result<Self> {
        let Some((first, others)) = phrases.split_first() else {
            return Err(ModelError::input("a category needs at least one phrase"));
        };
        if others.is_empty() {
            return Ok(Self { rows: first.clone() });
        }
        let mut sum = first.clone();
        for other in others {
            sum = (sum + other)?;
        }
        let mean = (sum / phrases.len() as f64)?;
        Ok(Self { rows: unit_rows(&mean)? })
    }

    /// The embedding kept in another number format.
    ///
    /// # Errors
    /// When the device cannot convert.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        Ok(Self { rows: self.rows.to_dtype(dtype)? })
    }

    /// The direction of the embedding on the host: the mean of its vectors over the templates, `[D]`, made
    /// unit length.
    ///
    /// # Errors
    /// When the device cannot compute it.
    pub fn direction(&self) -> Result<Vec<f32>> {
        let mean = self.rows.to_dtype(DType::F32)?.mean_keepdim(0)?;
        Ok(unit_rows(&mean)?.flatten_all()?.to_vec1()?)
    }

    /// The vectors, `[80, D]`: template by channel, each row of unit length.
    pub fn tensor(&self) -> &Tensor {
        &self.rows
    }
}

impl TextTower {
    /// Loads the tower from the model's `weights` and computes the templates' prefixes.
    ///
    /// # Errors
    /// When a tensor is missing or mis-shaped.
    pub fn load(weights: &Weights<'_>, config: &SedConfig) -> Result<Self> {
        let text = &config.text;
        let clip = weights.at("clip_model");
        let blocks = (0..text.layers)
            .map(|layer| Block::load(&clip.at(&format!("transformer.resblocks.{layer}")), text))
            .collect::<Result<_>>()?;
        let projection =
            clip.matrix("text_projection", &[text.width, config.embed_dim])?.t()?.contiguous()?;
        let mut tower = Self {
            tokenizer: Arc::new(Tokenizer::new(text)?),
            dtype: activation_dtype(weights.device(), weights.matrix_dtype()),
            token_embedding: clip.tensor("token_embedding.weight", &[text.vocab_size, text.width])?,
            positional_embedding: clip.tensor("positional_embedding", &[text.context_length, text.width])?,
            blocks,
            ln_final: load_norm(&clip.at("ln_final"), text.width)?,
            projection: Linear::new(&projection, None)?,
            prefixes: TokenTree::default(),
            prefix_key_values: Vec::new(),
        };
        let prefixes = tower.template_prefixes();
        tower.prefix_key_values = tower.key_values(&prefixes)?;
        tower.prefixes = prefixes;
        Ok(tower)
    }

    /// Text to token ids, as this tower was trained with.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// A reader of phrases as the token ids that this tower knows them by.
    pub fn phrase_reader(&self) -> PhraseReader {
        PhraseReader::new(Arc::clone(&self.tokenizer))
    }

    /// The embeddings of categories, in their order. A phrase that occurs several times is computed once.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn embed(&self, categories: &[Category]) -> Result<Vec<TextEmbedding>> {
        let mut index: HashMap<&str, usize> = HashMap::new();
        let mut phrases: Vec<&str> = Vec::new();
        for phrase in categories.iter().flat_map(Category::phrases) {
            index.entry(phrase).or_insert_with(|| {
                phrases.push(phrase);
                phrases.len() - 1
            });
        }
        let embedded = self.embed_phrases(&phrases)?;
        let combine = |category: &Category| {
            let parts: Vec<Tensor> =
                category.phrases().filter_map(|phrase| embedded.get(*index.get(phrase)?).cloned()).collect();
            TextEmbedding::combine(&parts)
        };
        categories.iter().map(combine).collect()
    }

    /// The embeddings of phrases, in their order: `[80, D]` each, a unit vector for each template. What a
    /// cache should hold: a category's embedding is made of its phrases' by [`TextEmbedding::combine`].
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn embed_phrases(&self, phrases: &[&str]) -> Result<Vec<Tensor>> {
        let mut embedded = Vec::with_capacity(phrases.len());
        self.for_chunks(phrases, |tree, ends| {
            let rows = self.embed_ends(tree, ends)?;
            let prompts = templates().len();
            for start in (0..ends.len()).step_by(prompts) {
                // A copy, so that a cached phrase does not keep its whole chunk alive.
                embedded.push(rows.narrow(0, start, prompts)?.force_contiguous()?);
            }
            Ok(())
        })?;
        Ok(embedded)
    }

    /// Counts the work of [`TextTower::embed_phrases`] for these phrases, without doing it.
    pub fn rows_of(&self, phrases: &[&str]) -> TextRows {
        let mut rows = TextRows::default();
        // A tree cannot fail to be counted.
        let counted = self.for_chunks(phrases, |tree, ends| {
            let keys = |&position: &u32| u64::from(position) + 1;
            rows.rows += tree.len() as u64;
            rows.keys += tree.positions().iter().map(keys).sum::<u64>();
            rows.ends += ends.len() as u64;
            let ends = ends.iter().filter_map(|&end| tree.positions().get(tree.row(end) as usize));
            rows.end_keys += ends.map(keys).sum::<u64>();
            Ok(())
        });
        debug_assert!(counted.is_ok());
        rows
    }

    /// Calls `work` with the tree of the prompts of `phrases` and the nodes where they end, chunk by chunk.
    fn for_chunks(
        &self,
        phrases: &[&str],
        mut work: impl FnMut(&TokenTree, &[Node]) -> Result<()>,
    ) -> Result<()> {
        let mut tree = TokenTree::after(&self.prefixes);
        let mut ends = Vec::new();
        for (index, phrase) in phrases.iter().enumerate() {
            for prompt in phrase_prompts(phrase) {
                ends.push(tree.insert(Some(&self.prefixes), &self.read_tokens(&prompt)));
            }
            if tree.len() >= CHUNK_ROWS || index + 1 == phrases.len() {
                work(&tree, &ends)?;
                tree = TokenTree::after(&self.prefixes);
                ends.clear();
            }
        }
        Ok(())
    }

    /// The tokens of a prompt that are read: up to the first end of text.
    fn read_tokens(&self, prompt: &str) -> Vec<u32> {
        let mut tokens = self.tokenizer.encode(prompt);
        let end = tokens.iter().position(|&token| token == self.tokenizer.end());
        tokens.truncate(end.map_or(tokens.len(), |end| end + 1));
        tokens
    }

    /// The tree of the tokens before the phrase, of all templates.
    fn template_prefixes(&self) -> TokenTree {
        let mut tree = TokenTree::default();
        for template in templates() {
            let prefix = template.split("{}").next().unwrap_or_default();
            let mut tokens = self.tokenizer.encode(prefix);
            tokens.pop(); // end of text
            tree.insert(None, &tokens);
        }
        tree
    }

    /// Unit embeddings `[ends, D]` of the prompts that end at the nodes `ends` of `tree`.
    fn embed_ends(&self, tree: &TokenTree, ends: &[Node]) -> Result<Tensor> {
        let mut x = self.embed_tokens(tree)?;
        let last = self.blocks.len() - 1;
        let chains = tree.chains(Some(&self.prefixes), tree.nodes());
        for (block, shared) in self.blocks[..last].iter().zip(&self.prefix_key_values) {
            let normed = block.norm(&x)?;
            let own = block.key_values(&normed)?;
            x = block.forward(&x, &normed, Some(shared), &own, &chains)?;
        }
        // The last block's output is read at the ends only; its keys and values come from every row.
        let block = &self.blocks[last];
        let normed = block.norm(&x)?;
        let own = block.key_values(&normed)?;
        let rows = Tensor::from_iter(ends.iter().map(|&end| tree.row(end)), x.device())?;
        let (x, normed) = (x.index_select(&rows, 0)?, normed.index_select(&rows, 0)?);
        let chains = tree.chains(Some(&self.prefixes), ends.iter().copied());
        let x = block.forward(&x, &normed, self.prefix_key_values.get(last), &own, &chains)?;
        let embedded = self.projection.forward(&self.ln_final.forward(&x)?, Activation::None)?;
        unit_rows(&embedded)
    }

    /// Keys and values of every node of `tree` in every block.
    fn key_values(&self, tree: &TokenTree) -> Result<Vec<Tensor>> {
        let mut x = self.embed_tokens(tree)?;
        let chains = tree.chains(None, tree.nodes());
        let mut key_values = Vec::with_capacity(self.blocks.len());
        for (index, block) in self.blocks.iter().enumerate() {
            let normed = block.norm(&x)?;
            let own = block.key_values(&normed)?;
            if index + 1 < self.blocks.len() {
                x = block.forward(&x, &normed, None, &own, &chains)?;
            }
            key_values.push(own);
        }
        Ok(key_values)
    }

    /// The input of the first block, `[nodes, width]`: token embedding plus positional embedding.
    fn embed_tokens(&self, tree: &TokenTree) -> Result<Tensor> {
        let select = |table: &Tensor, rows: &[u32]| {
            table.index_select(&Tensor::from_slice(rows, rows.len(), table.device())?, 0)
        };
        let tokens = select(&self.token_embedding, tree.tokens())?;
        let embedded = (tokens + select(&self.positional_embedding, tree.positions())?)?;
        Ok(embedded.to_dtype(self.dtype)?)
    }
}

/// Reads a layer norm of the text tower.
fn load_norm(weights: &Weights<'_>, width: usize) -> Result<LayerNorm> {
    Ok(LayerNorm::new(&weights.tensor("weight", &[width])?, &weights.tensor("bias", &[width])?, EPS)?)
}

/// Divides each row by its length, as the reference does: without an epsilon. In f32, whatever `x` is in.
fn unit_rows(x: &Tensor) -> Result<Tensor> {
    let x = x.to_dtype(DType::F32)?;
    Ok(x.broadcast_div(&x.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?)?)
}

#[cfg(test)]
mod tests;
