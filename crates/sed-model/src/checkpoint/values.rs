//! The numbers of a checkpoint: decoded, hashed, and checked to be finite.

use std::io;

use candle_core::{DType, Device, Tensor};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::{Checkpoint, Kind, Stored};
use crate::config::SedConfig;
use crate::error::{ModelError, Result};

/// Tensors with values that are not finite, as far as they are spelled out.
const SHOWN: usize = 20;

/// Findings of one read of all weights.
#[derive(Clone, Debug)]
pub(super) struct Survey {
    digest: [u8; 32],
    /// Tensors with NaN or infinities: name, how many, of how many.
    not_finite: Vec<(String, usize, usize)>,
}

impl Checkpoint {
    /// The values of tensor `name`, row-major.
    ///
    /// # Errors
    /// When the tensor is missing or its shape is not `shape`; the error names it and what was expected. When
    /// the file cannot be read.
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
        let mut values = Vec::with_capacity(stored.range.len() / stored.kind.size());
        self.pieces(stored, |piece| {
            decode(stored.kind, piece, &mut values);
            Ok(())
        })?;
        Ok(values)
    }

    /// Tensor `name` as f32 on the CPU.
    ///
    /// # Errors
    /// As [`Checkpoint::values`].
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        Ok(Tensor::from_vec(self.values(name, shape)?, shape, &Device::Cpu)?)
    }

    /// As [`Checkpoint::tensor`], in another number format.
    ///
    /// # Errors
    /// As [`Checkpoint::values`], and [`ModelError::Overflow`] for finite values that the format does not reach.
    pub(super) fn tensor_as(&self, name: &str, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let values = self.values(name, shape)?;
        let overflows: fn(f32) -> bool = match dtype {
            DType::F16 => |value| !half::f16::from_f32(value).is_finite(),
            DType::BF16 => |value| !half::bf16::from_f32(value).is_finite(),
            _ => |_| false,
        };
        let found = values.iter().filter(|&&value| value.is_finite() && overflows(value)).count();
        if found > 0 {
            let of = values.len();
            return Err(ModelError::Overflow { name: name.to_owned(), found, of, dtype: dtype.as_str() });
        }
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?)
    }

    /// A digest of the model that these weights and `config` make, `sha256:` and 64 hexadecimal digits. It covers,
    /// for every tensor in the order of names, its name, kind, shape and bytes as stored, and every size of the
    /// configuration but not its name: a `.pth` and the `.safetensors` made from it have the same, models that compute
    /// something else have not. The first call reads all bytes of the file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn digest(&self, config: &SedConfig) -> Result<String> {
        let weights = &self.survey()?.digest;
        let model = Sha256::new().chain_update(weights).chain_update(config.canonical_json());
        Ok(format!("sha256:{}", HEXLOWER.encode(&model.finalize())))
    }

    /// Checks that no weight is NaN or infinite. The first call reads all bytes of the file, together with the
    /// first one of [`Checkpoint::digest`].
    ///
    /// # Errors
    /// [`ModelError::WeightsNotFinite`], which names every tensor and counts its values, and when the file cannot
    /// be read.
    pub fn check_finite(&self) -> Result<()> {
        let not_finite = &self.survey()?.not_finite;
        if not_finite.is_empty() || self.accepts_not_finite {
            return Ok(());
        }
        let line =
            |(name, found, of): &(String, usize, usize)| format!("tensor `{name}`: {found} of {of} values");
        let mut tensors: Vec<String> = not_finite.iter().take(SHOWN).map(line).collect();
        if not_finite.len() > SHOWN {
            tensors.push(format!("and {} more tensors", not_finite.len() - SHOWN));
        }
        Err(ModelError::WeightsNotFinite { tensors })
    }

    /// Lets weights that are not finite pass, for tests of what such a model does.
    #[doc(hidden)]
    #[must_use]
    pub fn accepting_not_finite(self) -> Self {
        Self { accepts_not_finite: true, ..self }
    }

    /// Reads all weights, once.
    fn survey(&self) -> Result<&Survey> {
        if let Some(survey) = self.survey.get() {
            return Ok(survey);
        }
        let (mut hash, mut not_finite) = (Sha256::new(), Vec::new());
        for (name, stored) in &self.tensors {
            hash.update(format!("{name}\0{}{:?}\n", stored.kind.dtype(), stored.shape));
            let mut found = 0;
            self.pieces(stored, |piece| {
                hash.update(piece);
                found += count_not_finite(stored.kind, piece);
                Ok(())
            })?;
            if found > 0 {
                not_finite.push((name.clone(), found, stored.range.len() / stored.kind.size()));
            }
        }
        let digest = hash.finalize().into();
        Ok(self.survey.get_or_init(|| Survey { digest, not_finite }))
    }

    /// Calls `f` with the bytes of a tensor, in pieces of whole numbers.
    pub(super) fn pieces(&self, stored: &Stored, f: impl FnMut(&[u8]) -> io::Result<()>) -> Result<()> {
        // Pieces hold a multiple of four bytes, and numbers have four or two.
        self.bytes.pieces(stored.range.clone(), f).map_err(|source| self.unreadable(source))
    }
}

fn decode(kind: Kind, bytes: &[u8], values: &mut Vec<f32>) {
    let (fours, twos) = (bytes.as_chunks::<4>().0.iter(), bytes.as_chunks::<2>().0.iter());
    match kind {
        Kind::F32 => values.extend(fours.map(|&chunk| f32::from_le_bytes(chunk))),
        Kind::F16 => values.extend(twos.map(|&chunk| half::f16::from_le_bytes(chunk).to_f32())),
        Kind::Bf16 => values.extend(twos.map(|&chunk| half::bf16::from_le_bytes(chunk).to_f32())),
    }
}

/// Counts NaN and infinities: the exponent is all ones.
fn count_not_finite(kind: Kind, bytes: &[u8]) -> usize {
    let (fours, twos) = (bytes.as_chunks::<4>().0.iter(), bytes.as_chunks::<2>().0.iter());
    let with =
        |exponent: u16| twos.filter(|&&chunk| u16::from_le_bytes(chunk) & exponent == exponent).count();
    match kind {
        Kind::F32 => {
            const EXPONENT: u32 = 0x7f80_0000;
            fours.filter(|&&chunk| u32::from_le_bytes(chunk) & EXPONENT == EXPONENT).count()
        }
        Kind::F16 => with(0x7c00),
        Kind::Bf16 => with(0x7f80),
    }
}
