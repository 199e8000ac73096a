//! The one error type of this crate.

use std::io;
use std::path::PathBuf;

/// The result of everything in this crate that can fail.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;

/// An error from reading, checking or running a model. Messages say what to do where something can be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file could not be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A file could not be created, written or renamed.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The bytes are of neither checkpoint format.
    #[error(
        "{origin} is not a checkpoint: {reason}; give a .pth written by torch.save (torch 1.6 or newer) or \
         a .safetensors file"
    )]
    NotACheckpoint {
        /// The file, or a name for bytes in memory.
        origin: String,
        /// The content that was found instead.
        reason: String,
    },
    /// The format was recognised but its content contradicts itself or ends early.
    #[error("{origin} is damaged or cut short: {reason}; copy or download it again")]
    Damaged {
        /// The file, or a name for bytes in memory.
        origin: String,
        /// The contradiction, or the part that is missing.
        reason: String,
    },
    /// The pickle names something that no file of weights needs. Nothing was executed: this reader has no
    /// means to.
    #[error(
        "{origin} refers to `{global}`, which a checkpoint of weights has no use for: the file is refused \
         (nothing in it was executed); get it from a source you trust"
    )]
    RefusedGlobal {
        /// The file, or a name for bytes in memory.
        origin: String,
        /// The module and name, joined by a dot.
        global: String,
    },
    /// A tensor's bytes are of a kind that this model is not stored in.
    #[error("tensor `{name}` is stored as {dtype}; expected f32, f16 or bf16")]
    UnsupportedDtype {
        /// The full key.
        name: String,
        /// The format that it is stored in.
        dtype: String,
    },
    /// The checkpoint lacks a tensor.
    #[error("tensor `{name}` is missing; expected it with shape {expected:?}")]
    MissingTensor {
        /// The full key.
        name: String,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// A tensor's shape is not what the configuration asks for.
    #[error("tensor `{name}` has shape {found:?}; expected {expected:?}")]
    MisshapenTensor {
        /// The full key.
        name: String,
        /// The shape in the checkpoint.
        found: Vec<usize>,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// The checkpoint and the configuration disagree: every disagreement, one a line.
    #[error("the checkpoint does not fit the configuration `{config}`:\n  {}", problems.join("\n  "))]
    DoesNotFit {
        /// The configuration's name.
        config: String,
        /// Missing, extra and mis-shaped tensors, each named with what was expected.
        problems: Vec<String>,
    },
    /// Weights are NaN or infinite.
    #[error(
        "the checkpoint holds values that are not finite (NaN or infinite): {}; train or export it again",
        tensors.join(", ")
    )]
    WeightsNotFinite {
        /// Each tensor, with the number of its values that are not finite.
        tensors: Vec<String>,
    },
    /// Weights are finite as stored, but not in the format that they are computed with.
    #[error(
        "tensor `{name}` has {found} of {of} values that are too large for {dtype}; choose bf16 or f32 instead"
    )]
    Overflow {
        /// The full key.
        name: String,
        /// Values that the format does not reach.
        found: usize,
        /// All values of the tensor.
        of: usize,
        /// The format.
        dtype: &'static str,
    },
    /// The checkpoint's tensors are not those of a SED model at all.
    #[error("no SED model in these tensors: {reason}")]
    NotSed {
        /// The key that was looked for, and what is there instead.
        reason: String,
    },
    /// A field of the configuration has a value that no model can have.
    #[error("configuration field `{field}` {reason}")]
    Config {
        /// Path of the field, dots between the levels.
        field: &'static str,
        /// The value found, and the values that are allowed.
        reason: String,
    },
    /// The configuration is not the JSON that is expected.
    #[error("cannot parse the configuration {origin}: {source}")]
    ConfigSyntax {
        /// The file, or a name for text in memory.
        origin: String,
        /// Line, column and reason.
        source: serde_json::Error,
    },
    /// A stage was called with tensors or numbers that do not fit together.
    #[error("{what}")]
    Input {
        /// The parts that do not fit, with their shapes.
        what: String,
    },
    /// The last level's logits of an image are NaN or infinite.
    #[error(
        "the model's scores are not finite ({found} of {of} values): check its weights, and use bf16 or f32 where f16 \
         overflows"
    )]
    NotFinite {
        /// Logits that are not finite.
        found: usize,
        /// All logits of the image.
        of: usize,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl ModelError {
    /// An [`ModelError::Input`] from its message.
    pub fn input(what: impl Into<String>) -> Self {
        Self::Input { what: what.into() }
    }
}
