//! The safetensors format: a JSON header with names, shapes and offsets, then the bytes.

use std::io;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use super::bytes::Bytes;
use super::{Contents, Kind, Stored};
use crate::error::{ModelError, Result};

/// Bytes of the header's length, at the start of the file.
const LENGTH: usize = 8;
/// Largest header that is read. Names and shapes of SED-L take 80 kB.
const MAX_HEADER: u64 = 4 << 20;

/// Reports whether the file starts like safetensors: a plausible length and a JSON object.
pub(super) fn is_safetensors(start: &[u8]) -> bool {
    let length = start.first_chunk::<LENGTH>().map(|length| u64::from_le_bytes(*length));
    length.is_some_and(|length| length <= MAX_HEADER) && start.get(LENGTH) == Some(&b'{')
}

/// Lists the tensors of a safetensors file.
pub(super) fn read(bytes: &Bytes, origin: &str) -> Result<Contents> {
    let damaged = |reason: String| ModelError::Damaged { origin: origin.to_owned(), reason };
    let ends_early = |error: io::Error| damaged(format!("its header: {error}"));
    let mut length = [0; LENGTH];
    length.copy_from_slice(&bytes.part(0..LENGTH).map_err(ends_early)?);
    let header = u64::from_le_bytes(length) as usize; // checked by `is_safetensors`
    let Some(content) = bytes.len().checked_sub(LENGTH + header) else {
        return Err(damaged(format!("its header claims {header} bytes of {}", bytes.len())));
    };
    let json = bytes.part(LENGTH..LENGTH + header).map_err(ends_early)?;
    // The crate checks that the offsets are in order and without holes.
    let metadata: Metadata =
        serde_json::from_slice(&json).map_err(|error| damaged(format!("its header: {error}")))?;
    if metadata.data_len() != content {
        return Err(damaged(format!(
            "it has {content} bytes of numbers, its header {}",
            metadata.data_len()
        )));
    }
    let mut contents = Contents::default();
    for (name, info) in metadata.tensors() {
        let kind = match info.dtype {
            Dtype::F32 => Kind::F32,
            Dtype::F16 => Kind::F16,
            Dtype::BF16 => Kind::Bf16,
            other => return Err(ModelError::UnsupportedDtype { name, dtype: format!("{other:?}") }),
        };
        let start = LENGTH + header;
        let range = start + info.data_offsets.0..start + info.data_offsets.1;
        contents.tensors.insert(name, Stored { kind, shape: info.shape.clone(), range });
    }
    Ok(contents)
}

/// Writes the start of a safetensors file whose numbers follow in the order of `tensors`: the header's length
/// and the header, padded with spaces so that the numbers start at a multiple of eight bytes.
pub(crate) fn header<'a>(
    tensors: impl Iterator<Item = (&'a String, &'a [usize], Dtype)>,
) -> io::Result<Vec<u8>> {
    let mut end = 0;
    let entry = |(name, shape, dtype): (&String, &[usize], Dtype)| {
        let start = end;
        end += shape.iter().product::<usize>() * dtype.bitsize() / 8;
        (name.clone(), TensorInfo { dtype, shape: shape.to_vec(), data_offsets: (start, end) })
    };
    let metadata = Metadata::new(None, tensors.map(entry).collect()).map_err(io::Error::other)?;
    let mut json = serde_json::to_vec(&metadata)?;
    json.resize(json.len().next_multiple_of(LENGTH), b' ');
    Ok([(json.len() as u64).to_le_bytes().as_slice(), &json].concat())
}
