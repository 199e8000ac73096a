//! Files of weights: the official `.pth` and `.safetensors`, mapped into memory and read without executing
//! anything.

mod bytes;
mod convert;
mod fit;
mod pickle;
mod pth;
mod safe;
mod weights;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use candle_core::{Device, Tensor};
use sha2::{Digest, Sha256};

use crate::config::SedConfig;
use crate::error::{ModelError, Result};
use bytes::Bytes;
pub use convert::{Converted, Progress, convert};
pub use fit::Fit;
pub use weights::Weights;

/// The weights of a model: names, shapes and where their bytes are. Tensors are read when asked for.
#[derive(Debug)]
pub struct Checkpoint {
    origin: String,
    path: Option<PathBuf>,
    bytes: Bytes,
    tensors: BTreeMap<String, Stored>,
    ignored: Vec<String>,
    weights_digest: OnceLock<[u8; 32]>,
}

/// One tensor in the file: contiguous, row-major, little-endian.
#[derive(Clone, Debug)]
struct Stored {
    kind: Kind,
    shape: Vec<usize>,
    /// Where its bytes are in the file; inside it, and as long as the shape and kind say.
    range: Range<usize>,
}

/// How numbers are stored. They are computed with as f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    F32,
    F16,
    Bf16,
}

impl Kind {
    fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// As safetensors spells it.
    fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
        }
    }
}

/// What a format's reader found: tensors, and the names of what it passed over.
#[derive(Debug, Default)]
struct Contents {
    tensors: BTreeMap<String, Stored>,
    ignored: Vec<String>,
}

impl Checkpoint {
    /// Opens a `.pth` or `.safetensors` file; the content tells which, not the name. Only the list of tensors
    /// is read: their bytes are mapped and read when a tensor is asked for.
    ///
    /// # Errors
    /// When the file cannot be read, is of neither format, is damaged, or refers to anything but weights.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = Bytes::map(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
        Self::parse(bytes, path.display().to_string(), Some(path.to_owned()))
    }

    /// Reads a `.safetensors` file that is part of the program; `origin` names it in errors.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_static_bytes(bytes: &'static [u8], origin: &str) -> Result<Self> {
        Self::parse(Bytes::Static(bytes), origin.to_owned(), None)
    }

    /// Reads a checkpoint of either format that is in memory; `origin` names it in errors.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>, origin: &str) -> Result<Self> {
        Self::parse(Bytes::Shared(bytes.into()), origin.to_owned(), None)
    }

    fn parse(bytes: Bytes, origin: String, path: Option<PathBuf>) -> Result<Self> {
        let content = bytes.as_slice();
        let contents = if pth::is_zip(content) {
            pth::read(content, &origin)?
        } else if safe::is_safetensors(content) {
            safe::read(content, &origin)?
        } else {
            return Err(ModelError::NotACheckpoint { origin, reason: bytes::describe(content) });
        };
        let Contents { tensors, ignored } = without_module_prefix(contents);
        if tensors.is_empty() {
            return Err(ModelError::NotACheckpoint { origin, reason: "it holds no tensors".to_owned() });
        }
        Ok(Self { origin, path, bytes, tensors, ignored, weights_digest: OnceLock::new() })
    }

    /// The file, or the name given for bytes in memory.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What the file holds besides tensors: optimizer state, iteration and the like. It was not read.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Every tensor's full key and shape.
    pub fn names_and_shapes(&self) -> BTreeMap<String, Vec<usize>> {
        self.tensors.iter().map(|(name, stored)| (name.clone(), stored.shape.clone())).collect()
    }

    /// The model's sizes: from `config.json` beside the file where there is one, otherwise recognised from the
    /// shapes of the tensors.
    ///
    /// # Errors
    /// When `config.json` cannot be read or is wrong, or the tensors are not those of a SED model.
    pub fn config(&self) -> Result<SedConfig> {
        let beside = self.path.as_deref().map(|path| path.with_file_name("config.json"));
        match beside.filter(|path| path.exists()) {
            Some(path) => {
                let json = std::fs::read_to_string(&path)
                    .map_err(|source| ModelError::Read { path: path.clone(), source })?;
                SedConfig::from_json(&json, &path.display().to_string())
            }
            None => SedConfig::from_tensors(&self.names_and_shapes()),
        }
    }

    /// The values of tensor `name`, row-major.
    ///
    /// # Errors
    /// When the tensor is missing or its shape is not `shape`; the error names it and what was expected.
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let stored = self
            .tensors
            .get(name)
            .ok_or_else(|| ModelError::MissingTensor { name: name.to_owned(), expected: shape.to_vec() })?;
        if stored.shape != shape {
            return Err(ModelError::MisshapenTensor {
                name: name.to_owned(),
                found: stored.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        Ok(decode(stored.kind, self.stored_bytes(stored)))
    }

    /// Tensor `name` as f32 on the CPU.
    ///
    /// # Errors
    /// As [`Checkpoint::values`].
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        Ok(Tensor::from_vec(self.values(name, shape)?, shape, &Device::Cpu)?)
    }

    /// A digest of the model that these weights and `config` make, `sha256:` and 64 hexadecimal digits. It covers,
    /// for every tensor in the order of names, its name, kind, shape and bytes as stored, and every size of the
    /// configuration but not its name: a `.pth` and the `.safetensors` made from it have the same, models that compute
    /// something else have not. The first call reads all bytes of the file.
    pub fn digest(&self, config: &SedConfig) -> String {
        let weights = self.weights_digest.get_or_init(|| {
            let mut hash = Sha256::new();
            for (name, stored) in &self.tensors {
                hash.update(format!("{name}\0{}{:?}\n", stored.kind.name(), stored.shape));
                hash.update(self.stored_bytes(stored));
            }
            hash.finalize().into()
        });
        let model = Sha256::new().chain_update(weights).chain_update(config.canonical_json());
        format!("sha256:{}", hex(&model.finalize()))
    }

    fn stored_bytes(&self, stored: &Stored) -> &[u8] {
        // The readers checked the range against the file; a mapped file cannot have shrunk since.
        self.bytes.as_slice().get(stored.range.clone()).unwrap_or_default()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Data-parallel training puts `module.` before every key.
fn without_module_prefix(contents: Contents) -> Contents {
    const PREFIX: &str = "module.";
    if !contents.tensors.keys().all(|name| name.starts_with(PREFIX)) {
        return contents;
    }
    let strip = |(name, stored): (String, Stored)| (name[PREFIX.len()..].to_owned(), stored);
    Contents { tensors: contents.tensors.into_iter().map(strip).collect(), ..contents }
}

fn decode(kind: Kind, bytes: &[u8]) -> Vec<f32> {
    match kind {
        Kind::F32 => bytes.as_chunks::<4>().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect(),
        Kind::F16 => {
            bytes.as_chunks::<2>().0.iter().map(|&chunk| half::f16::from_le_bytes(chunk).to_f32()).collect()
        }
        Kind::Bf16 => {
            bytes.as_chunks::<2>().0.iter().map(|&chunk| half::bf16::from_le_bytes(chunk).to_f32()).collect()
        }
    }
}

#[cfg(test)]
mod tests;
