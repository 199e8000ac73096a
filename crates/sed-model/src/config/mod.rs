//! The sizes of a SED model: read from `config.json`, or recognised from the shapes of its tensors.

mod infer;
mod layout;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{ModelError, Result};
pub use layout::{ExpectedTensor, ROOT};

/// Prompts per category, and so the input channels of the cost map's first convolution.
pub const PROMPTS: usize = 80;

/// Every size of a SED model. A value of this type made by [`SedConfig::from_json`],
/// [`SedConfig::from_tensors`], [`SedConfig::sed_b`] or [`SedConfig::sed_l`] is valid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SedConfig {
    /// The model's name on the server, for example `sed-b`.
    pub name: String,
    /// Side of the square network input, in pixels.
    pub image_size: usize,
    /// Width of the space that images and texts share.
    pub embed_dim: usize,
    /// The ConvNeXt image encoder.
    pub vision: VisionConfig,
    /// The CLIP text transformer.
    pub text: TextConfig,
    /// The gradual fusion decoder.
    pub decoder: DecoderConfig,
}

/// Sizes of the ConvNeXt image encoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VisionConfig {
    /// Channels of the four stages.
    pub dims: [usize; 4],
    /// Blocks of the four stages.
    pub depths: [usize; 4],
    /// From the last stage's channels to the shared space.
    pub head: VisualHead,
}

/// The projection from the encoder's channels to the shared space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum VisualHead {
    /// One linear layer without bias (SED-B).
    Linear,
    /// Linear with bias, GELU, linear without bias (SED-L).
    Mlp {
        /// Width between the two layers.
        hidden: usize,
    },
}

/// Sizes of the CLIP text transformer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextConfig {
    /// Width of the residual stream.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Transformer blocks.
    pub layers: usize,
    /// Most tokens of a prompt, start and end of text included.
    pub context_length: usize,
    /// Rows of the token embedding: 512 byte tokens, the merges, start and end of text.
    pub vocab_size: usize,
}

/// Sizes of the gradual fusion decoder. Level `i` of the three takes `hidden_dim` (level 0) or
/// `dims[i - 1]` channels and gives `dims[i]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoderConfig {
    /// Channels of a pair's embedding, before the first level.
    pub hidden_dim: usize,
    /// Output channels of the three levels.
    pub dims: [usize; 3],
    /// Channels of the image guidance at the three levels.
    pub guidance_dims: [usize; 3],
    /// Channels of the cost map guidance at the three levels.
    pub corr_guidance_dims: [usize; 3],
    /// Side of the depthwise kernel of feature aggregation.
    pub kernel_size: usize,
    /// Heads of the attention over categories.
    pub attention_heads: usize,
}

impl DecoderConfig {
    /// Input channels of decoder level 0, 1 or 2.
    pub fn level_inputs(&self) -> [usize; 3] {
        [self.hidden_dim, self.dims[0], self.dims[1]]
    }
}

impl SedConfig {
    /// SED-B: ConvNeXt-B, official configuration `convnextB_768.yaml`.
    pub fn sed_b() -> Self {
        Self {
            name: "sed-b".to_owned(),
            image_size: 768,
            embed_dim: 640,
            vision: VisionConfig {
                dims: [128, 256, 512, 1024],
                depths: [3, 3, 27, 3],
                head: VisualHead::Linear,
            },
            text: TextConfig { width: 640, heads: 10, layers: 12, context_length: 77, vocab_size: 49408 },
            decoder: DecoderConfig {
                hidden_dim: 128,
                dims: [64, 32, 16],
                guidance_dims: [32, 16, 8],
                corr_guidance_dims: [32, 16, 8],
                kernel_size: 9,
                attention_heads: 4,
            },
        }
    }

    /// SED-L: ConvNeXt-L, official configuration `convnextL_768.yaml`.
    pub fn sed_l() -> Self {
        Self {
            name: "sed-l".to_owned(),
            embed_dim: 768,
            vision: VisionConfig {
                dims: [192, 384, 768, 1536],
                depths: [3, 3, 27, 3],
                head: VisualHead::Mlp { hidden: 1536 },
            },
            text: TextConfig { width: 768, heads: 12, layers: 16, context_length: 77, vocab_size: 49408 },
            ..Self::sed_b()
        }
    }

    /// Parses and checks the text of a `config.json`; `origin` names it in errors.
    ///
    /// # Errors
    /// [`ModelError::ConfigSyntax`] with line and column, or [`ModelError::Config`] naming the field.
    pub fn from_json(json: &str, origin: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(json)
            .map_err(|source| ModelError::ConfigSyntax { origin: origin.to_owned(), source })?;
        config.validate()?;
        Ok(config)
    }

    /// Reads and parses a `config.json`.
    ///
    /// # Errors
    /// As [`SedConfig::from_json`], and [`ModelError::Read`] for a file that cannot be read, is no text or has more
    /// than 64 KiB.
    pub fn from_file(path: &Path) -> Result<Self> {
        let read = || -> io::Result<String> {
            let mut json = String::new();
            File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut json)?;
            if json.len() as u64 > MAX_FILE_BYTES {
                return Err(io::Error::other(format!("it has more than {MAX_FILE_BYTES} bytes")));
            }
            Ok(json)
        };
        let json = read().map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
        Self::from_json(&json, &path.display().to_string())
    }

    /// The sizes as JSON with sorted keys and without white space, and without the name, which changes no result.
    pub(crate) fn canonical_json(&self) -> String {
        // Serialisation of plain sizes cannot fail.
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.remove("name");
        }
        value.sort_all_objects();
        value.to_string()
    }

    /// Checks that a model of these sizes can exist.
    ///
    /// # Errors
    /// [`ModelError::Config`] naming the first field that cannot be.
    pub fn validate(&self) -> Result<()> {
        let name_is_plain =
            self.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
        ensure(
            (1..=64).contains(&self.name.len()) && name_is_plain,
            "name",
            "must be 1 to 64 characters of a-z, 0-9, '.', '_', '-'",
        )?;
        // Four levels, each half of the one before, from a stem of stride 4.
        ensure(
            self.image_size.is_multiple_of(32) && (32..=4096).contains(&self.image_size),
            "image_size",
            "must be a multiple of 32 from 32 to 4096",
        )?;
        size("embed_dim", &[self.embed_dim])?;
        size("vision.dims", &self.vision.dims)?;
        depth("vision.depths", &self.vision.depths)?;
        if let VisualHead::Mlp { hidden } = self.vision.head {
            size("vision.head.hidden", &[hidden])?;
        }
        self.text.validate()?;
        self.decoder.validate()
    }
}

impl TextConfig {
    fn validate(&self) -> Result<()> {
        size("text.width", &[self.width])?;
        depth("text.layers", &[self.layers])?;
        ensure(
            self.heads > 0 && self.width.is_multiple_of(self.heads),
            "text.heads",
            "must divide text.width; if it was not given, give it in config.json",
        )?;
        ensure(
            (3..=1024).contains(&self.context_length),
            "text.context_length",
            "must be from 3 to 1024 tokens",
        )?;
        ensure(
            (514..=49408).contains(&self.vocab_size),
            "text.vocab_size",
            "must be from 514 (bytes only) to 49408 (all merges of CLIP's vocabulary)",
        )
    }
}

impl DecoderConfig {
    fn validate(&self) -> Result<()> {
        size("decoder.hidden_dim", &[self.hidden_dim])?;
        size("decoder.guidance_dims", &self.guidance_dims)?;
        size("decoder.corr_guidance_dims", &self.corr_guidance_dims)?;
        ensure(
            self.dims.iter().all(|&dim| dim > 0 && dim.is_multiple_of(16) && dim <= MAX_SIZE),
            "decoder.dims",
            "must be multiples of 16 (group normalisation has one group for 16 channels)",
        )?;
        let inputs = self.level_inputs();
        ensure(
            inputs.iter().zip(self.guidance_dims).all(|(&input, guidance)| guidance < input),
            "decoder.guidance_dims",
            "must each be smaller than the channels that enter their level",
        )?;
        ensure(
            self.attention_heads > 0 && inputs.iter().all(|input| input.is_multiple_of(self.attention_heads)),
            "decoder.attention_heads",
            "must divide the channels that enter each level",
        )?;
        ensure(
            self.kernel_size % 2 == 1 && self.kernel_size <= 31,
            "decoder.kernel_size",
            "must be odd and at most 31",
        )
    }
}

/// No width of a model comes near this; it keeps products of sizes far from overflow.
const MAX_SIZE: usize = 1 << 16;
/// No depth of a model comes near this; it bounds how many tensors a model is expected to have.
const MAX_DEPTH: usize = 256;
/// Most bytes of a `config.json`; real ones have less than one thousand.
const MAX_FILE_BYTES: u64 = 1 << 16;

fn depth(field: &'static str, values: &[usize]) -> Result<()> {
    ensure(values.iter().all(|value| (1..=MAX_DEPTH).contains(value)), field, "must be from 1 to 256")
}

fn size(field: &'static str, values: &[usize]) -> Result<()> {
    ensure(values.iter().all(|value| (1..=MAX_SIZE).contains(value)), field, "must be from 1 to 65536")
}

fn ensure(holds: bool, field: &'static str, reason: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(ModelError::Config { field, reason: reason.to_owned() }) }
}

#[cfg(test)]
mod tests;
