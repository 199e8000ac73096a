//! The elements of the answer's tensors, in either of the two forms.

use bytes::{BufMut, Bytes};
use sed_engine::f16;
use sed_proto::inference::InferTensorContents;

/// The elements of one tensor, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Elements {
    Bool(Vec<bool>),
    /// Two bytes each, little endian.
    Uint16(Bytes),
    /// Two bytes each, little endian.
    Fp16(Bytes),
    Fp32(Vec<f32>),
    Texts(Vec<String>),
}

impl Elements {
    /// As bytes, little endian; texts each behind its length in 32 bits.
    pub(super) fn into_raw(self) -> Bytes {
        match self {
            Self::Bool(values) => values.into_iter().map(u8::from).collect(),
            Self::Uint16(bytes) | Self::Fp16(bytes) => bytes,
            Self::Fp32(values) => values.into_iter().flat_map(f32::to_le_bytes).collect(),
            Self::Texts(texts) => {
                let mut bytes = Vec::new();
                for text in texts {
                    bytes.put_u32_le(text.len() as u32); // a name is far below 4 GiB
                    bytes.put_slice(text.as_bytes());
                }
                bytes.into()
            }
        }
    }

    /// In the field of their type. There is none for floats of 16 bits, so they become ones of 32.
    pub(super) fn into_typed(self) -> InferTensorContents {
        let mut contents = InferTensorContents::default();
        match self {
            Self::Bool(values) => contents.bool_contents = values,
            Self::Uint16(bytes) => contents.uint_contents = wide(&bytes).collect(),
            Self::Fp16(bytes) => contents.fp32_contents = widened(&bytes).collect(),
            Self::Fp32(values) => contents.fp32_contents = values,
            Self::Texts(texts) => contents.bytes_contents = texts.into_iter().map(Bytes::from).collect(),
        }
        contents
    }
}

fn wide(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(2).map(|pair| u32::from(u16::from_le_bytes([pair[0], pair[1]])))
}

fn widened(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.chunks_exact(2).map(|pair| f32::from(f16::from_le_bytes([pair[0], pair[1]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_hold_the_same() {
        let numbers = Elements::Uint16(Bytes::from_static(&[1, 2, 255, 255]));
        assert_eq!(numbers.clone().into_raw(), [1, 2, 255, 255].as_slice());
        assert_eq!(numbers.into_typed().uint_contents, [0x201, 65_535]);
        let floats = Elements::Fp16(Bytes::from_static(&[0, 0x38, 0, 0x3c]));
        assert_eq!(floats.clone().into_raw(), [0, 0x38, 0, 0x3c].as_slice());
        assert_eq!(floats.into_typed().fp32_contents, [0.5, 1.0]);
        let texts = Elements::Texts(vec!["é".into(), String::new(), "ab".into()]);
        assert_eq!(texts.clone().into_raw(), b"\x02\0\0\0\xc3\xa9\0\0\0\0\x02\0\0\0ab".as_slice());
        assert_eq!(texts.into_typed().bytes_contents, ["é", "", "ab"]);
        assert_eq!(Elements::Bool(vec![true, false]).into_raw(), [1, 0].as_slice());
        assert_eq!(Elements::Fp32(vec![0.5]).into_raw(), [0, 0, 0, 63].as_slice());
    }
}
