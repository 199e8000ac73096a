//! Recognises a model's sizes from the names and shapes of its tensors.

use std::collections::BTreeMap;

use super::layout::ROOT;
use super::{DecoderConfig, SedConfig, TextConfig, VisionConfig, VisualHead};
use crate::error::{ModelError, Result};

/// CLIP's text towers have heads of this width; no tensor's shape tells.
const TEXT_HEAD_WIDTH: usize = 64;
/// Heads of the decoder's attention over categories in the official code; no tensor's shape tells.
const ATTENTION_HEADS: usize = 4;

/// Looks shapes up below [`ROOT`].
struct Shapes<'a>(&'a BTreeMap<String, Vec<usize>>);

impl Shapes<'_> {
    fn find(&self, name: &str) -> Option<&[usize]> {
        self.0.get(&format!("{ROOT}.{name}")).map(Vec::as_slice)
    }

    /// Dimension `axis` of a tensor that every model has.
    fn dim(&self, name: &str, axis: usize) -> Result<usize> {
        self.find(name).and_then(|shape| shape.get(axis)).copied().ok_or_else(|| self.not_sed(name))
    }

    /// Number of the tensors `before0after`, `before1after`, … up to the first that is missing.
    fn count(&self, before: &str, after: &str) -> usize {
        (0..).take_while(|index| self.find(&format!("{before}{index}{after}")).is_some()).count()
    }

    fn not_sed(&self, name: &str) -> ModelError {
        let example = self.0.keys().next().map_or_else(|| "no tensor".to_owned(), |key| format!("`{key}`"));
        ModelError::NotSed {
            reason: format!(
                "looked for `{ROOT}.{name}` and did not find it with the expected number of axes; there are {} \
                 tensors, the first is {example}; official checkpoints name every tensor `{ROOT}.…`",
                self.0.len()
            ),
        }
    }
}

impl SedConfig {
    /// Recognises SED-B, SED-L and any other size from the shapes of a checkpoint's tensors (full key to shape).
    /// What shapes do not tell is taken from the official models: input of 768 pixels, text heads of 64, four
    /// heads of category attention.
    ///
    /// # Errors
    /// [`ModelError::NotSed`] when a tensor that every SED model has is not there, [`ModelError::Config`] when
    /// the sizes cannot be.
    pub fn from_tensors(shapes: &BTreeMap<String, Vec<usize>>) -> Result<Self> {
        let shapes = Shapes(shapes);
        let (head, embed_dim) = visual_head(&shapes)?;
        let width = shapes.dim("clip_model.positional_embedding", 1)?;
        let mut config = Self {
            name: "custom".to_owned(),
            image_size: 768,
            embed_dim,
            vision: vision(&shapes, head)?,
            text: TextConfig {
                width,
                heads: width / TEXT_HEAD_WIDTH,
                layers: shapes.count("clip_model.transformer.resblocks.", ".ln_1.weight"),
                context_length: shapes.dim("clip_model.positional_embedding", 0)?,
                vocab_size: shapes.dim("clip_model.token_embedding.weight", 0)?,
            },
            decoder: decoder(&shapes)?,
        };
        for known in [Self::sed_b(), Self::sed_l()] {
            if config == (Self { name: config.name.clone(), ..known.clone() }) {
                config.name = known.name;
            }
        }
        config.validate()?;
        Ok(config)
    }
}

fn visual_head(shapes: &Shapes<'_>) -> Result<(VisualHead, usize)> {
    let head = "clip_model.visual.head";
    if let Ok(hidden) = shapes.dim(&format!("{head}.mlp.fc1.weight"), 0) {
        return Ok((VisualHead::Mlp { hidden }, shapes.dim(&format!("{head}.mlp.fc2.weight"), 0)?));
    }
    Ok((VisualHead::Linear, shapes.dim(&format!("{head}.proj.weight"), 0)?))
}

fn vision(shapes: &Shapes<'_>, head: VisualHead) -> Result<VisionConfig> {
    let trunk = "clip_model.visual.trunk";
    let mut dims = [shapes.dim(&format!("{trunk}.stem.0.weight"), 0)?; 4];
    let mut depths = [0; 4];
    for stage in 0..4 {
        if stage > 0 {
            dims[stage] = shapes.dim(&format!("{trunk}.stages.{stage}.downsample.1.weight"), 0)?;
        }
        depths[stage] = shapes.count(&format!("{trunk}.stages.{stage}.blocks."), ".gamma");
    }
    Ok(VisionConfig { dims, depths, head })
}

fn decoder(shapes: &Shapes<'_>) -> Result<DecoderConfig> {
    let root = "transformer";
    let mut config = DecoderConfig {
        hidden_dim: shapes.dim(&format!("{root}.conv1.weight"), 0)?,
        dims: [0; 3],
        guidance_dims: [0; 3],
        corr_guidance_dims: [0; 3],
        kernel_size: shapes.dim(&format!("{root}.decoder1.cnext.dwconv.weight"), 3)?,
        attention_heads: ATTENTION_HEADS,
    };
    for level in 0..3 {
        let conv = format!("{root}.decoder{}.conv.double_conv.0.weight", level + 1);
        config.dims[level] = shapes.dim(&conv, 0)?;
        let guidance = format!("{root}.decoder_guidance_projection.{level}.0.weight");
        config.guidance_dims[level] = shapes.dim(&guidance, 0)?;
        let corr = format!("{root}.decoder_corr_guidance_projection.{level}.0.weight");
        config.corr_guidance_dims[level] = shapes.dim(&corr, 1)?;
    }
    Ok(config)
}
