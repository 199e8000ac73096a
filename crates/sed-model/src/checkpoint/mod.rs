//! Files of weights: the official `.pth` and `.safetensors`, read without executing anything.

mod bytes;
mod containers;
mod convert;
mod fit;
mod pickle;
mod pth;
pub(crate) mod safe;
mod values;
mod weights;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use safetensors::Dtype;

use crate::config::SedConfig;
use crate::error::{ModelError, Result};
use bytes::Bytes;
pub use convert::{Converted, Progress, convert};
pub use fit::Fit;
use values::Survey;
pub use weights::Weights;

/// The weights of a model: names, shapes and where their bytes are. Tensors are read when asked for.
#[derive(Debug)]
pub struct Checkpoint {
    origin: String,
    path: Option<PathBuf>,
    bytes: Bytes,
    tensors: BTreeMap<String, Stored>,
    ignored: Vec<String>,
    survey: OnceLock<Survey>,
    accepts_not_finite: bool,
}

/// One tensor in the file: contiguous, row-major, little-endian.
#[derive(Clone, Debug)]
struct Stored {
    kind: Kind,
    shape: Vec<usize>,
    /// Range of its bytes in the file. It lies inside the file and is as long as the shape and kind require.
    range: Range<usize>,
}

/// Format of the stored numbers. They are read as f32.
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

    fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
        }
    }
}

/// Result of a format's reader: tensors, and the names of the entries that it skipped.
#[derive(Debug, Default)]
struct Contents {
    tensors: BTreeMap<String, Stored>,
    ignored: Vec<String>,
}

impl Checkpoint {
    /// Opens a `.pth` or `.safetensors` file; the content decides which, not the name. Only the list of
    /// tensors is read: their bytes are read when a tensor is asked for, from the file that was opened here.
    ///
    /// # Errors
    /// When the file cannot be read, is of neither format, is damaged, or refers to anything but weights.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = Bytes::open(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
        Self::parse(bytes, path.display().to_string(), Some(path.to_owned()))
    }

    /// Reads a checkpoint of either format that is in memory or part of the program; `origin` names it in errors.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_bytes(bytes: impl Into<Cow<'static, [u8]>>, origin: &str) -> Result<Self> {
        Self::parse(Bytes::Memory(bytes.into()), origin.to_owned(), None)
    }

    fn parse(bytes: Bytes, origin: String, path: Option<PathBuf>) -> Result<Self> {
        const START: usize = 64;
        let start = bytes
            .part(0..START.min(bytes.len()))
            .map_err(|source| ModelError::Read { path: PathBuf::from(&origin), source })?;
        let contents = if pth::is_zip(&start) {
            pth::read(&bytes, &origin)?
        } else if safe::is_safetensors(&start) {
            safe::read(&bytes, &origin)?
        } else {
            return Err(ModelError::NotACheckpoint { reason: bytes::describe(&start), origin });
        };
        drop(start);
        let Contents { tensors, ignored } = without_wrappers(contents);
        if tensors.is_empty() {
            return Err(ModelError::NotACheckpoint { origin, reason: "it holds no tensors".to_owned() });
        }
        let survey = OnceLock::new();
        Ok(Self { origin, path, bytes, tensors, ignored, survey, accepts_not_finite: false })
    }

    /// The error of a file that cannot be read any more.
    fn unreadable(&self, source: io::Error) -> ModelError {
        ModelError::Read { path: PathBuf::from(&self.origin), source }
    }

    /// The file, or the name given for bytes in memory.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Names of the file's entries besides the weights, such as optimizer state and iteration. They were not
    /// read.
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
            Some(path) => SedConfig::from_file(&path),
            None => SedConfig::from_tensors(&self.names_and_shapes()),
        }
    }
}

/// Strips the prefixes that wrappers of a model put before every key: data-parallel training, compilation,
/// and classes that hold the model in a field.
fn without_wrappers(contents: Contents) -> Contents {
    const PREFIXES: [&str; 3] = ["module.", "_orig_mod.", "model."];
    let Contents { mut tensors, ignored } = contents;
    while let Some(prefix) = PREFIXES
        .iter()
        .find(|&prefix| !tensors.is_empty() && tensors.keys().all(|name| name.starts_with(prefix)))
    {
        let strip = |(name, stored): (String, Stored)| (name[prefix.len()..].to_owned(), stored);
        tensors = tensors.into_iter().map(strip).collect();
    }
    Contents { tensors, ignored }
}

#[cfg(test)]
mod tests;
