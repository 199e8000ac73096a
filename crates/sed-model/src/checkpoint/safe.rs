//! The safetensors format: a JSON header with names, shapes and offsets, then the bytes.

use safetensors::tensor::{Dtype, SafeTensors};

use super::{Contents, Kind, Stored};
use crate::error::{ModelError, Result};

/// Bytes of the header's length, at the start of the file.
const LENGTH: usize = 8;
/// The header that the safetensors crate accepts at most.
const MAX_HEADER: u64 = 100_000_000;

/// Whether the file starts like safetensors: a plausible length and a JSON object.
pub(super) fn is_safetensors(content: &[u8]) -> bool {
    let length = content.first_chunk::<LENGTH>().map(|length| u64::from_le_bytes(*length));
    length.is_some_and(|length| length <= MAX_HEADER) && content.get(LENGTH) == Some(&b'{')
}

/// Lists the tensors of a safetensors file.
pub(super) fn read(content: &[u8], origin: &str) -> Result<Contents> {
    // The crate checks that the offsets are in order, without holes, and end where the file does.
    let (header, metadata) = SafeTensors::read_metadata(content)
        .map_err(|error| ModelError::Damaged { origin: origin.to_owned(), reason: error.to_string() })?;
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
