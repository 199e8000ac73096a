//! The walk over a message's tags and lengths.

use super::schema::{Kind, MessageIndex, Schema};

/// The most memory that one entry takes beside its own bytes: the largest message of the interface, and as
/// much again for a list that grows by doubling. A test compares it with the messages' sizes.
const ENTRY: u64 = 1024;
/// The most memory that one number takes: 8 bytes, and as much again for growth.
const NUMBER: u64 = 16;
/// Single numbers that count as one entry. Lists of numbers come packed, in one field.
const NUMBERS_OF_ENTRY: u64 = 16;
/// The depth at which protobuf itself gives up.
const DEEPEST: u32 = 100;

/// Entries and memory that a message will take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    /// Messages, texts, byte strings and unknown fields in it, at any depth.
    pub(crate) entries: u64,
    /// Single numbers in it.
    numbers: u64,
    /// Memory of all that is built beside the message's own bytes, in bytes.
    pub(crate) bytes: u64,
}

/// The bytes are not a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Weight {
    /// Entries as a limit counts them: the time to read a message grows with its fields, those of no use included.
    pub(crate) fn counted(&self) -> u64 {
        self.entries + self.numbers / NUMBERS_OF_ENTRY
    }
}

impl Schema {
    /// The weight of `bytes` as a message of this type. Ends early once there are more than `most_entries`.
    ///
    /// # Errors
    /// [`Malformed`]; the decoder would refuse it, too.
    pub(crate) fn weigh(
        &self,
        message: MessageIndex,
        bytes: &[u8],
        most_entries: u64,
    ) -> Result<Weight, Malformed> {
        let mut weight = Weight::default();
        self.walk(message, bytes, most_entries, 0, &mut weight)?;
        Ok(weight)
    }

    fn walk(
        &self,
        message: MessageIndex,
        mut bytes: &[u8],
        most_entries: u64,
        depth: u32,
        weight: &mut Weight,
    ) -> Result<(), Malformed> {
        if depth > DEEPEST {
            return Err(Malformed);
        }
        while !bytes.is_empty() && weight.counted() <= most_entries {
            let tag = varint(&mut bytes)?;
            let field = u32::try_from(tag >> 3).map_err(|_| Malformed)?;
            let kind = self.kind(message, field);
            match tag & 7 {
                0 => drop(varint(&mut bytes)?),
                1 => drop(take(&mut bytes, 8)?),
                5 => drop(take(&mut bytes, 4)?),
                2 => {
                    let length = varint(&mut bytes)?;
                    let content = take(&mut bytes, length)?;
                    match kind {
                        Some(Kind::Message(inner)) => {
                            weight.entries += 1;
                            weight.bytes += ENTRY;
                            self.walk(inner, content, most_entries, depth + 1, weight)?;
                        }
                        Some(Kind::Text) => {
                            weight.entries += 1;
                            weight.bytes += ENTRY / 8;
                        }
                        // Several numbers in one field, each of at least one byte.
                        Some(Kind::Number) => weight.bytes += NUMBER * length,
                        None => weight.entries += 1,
                    }
                    continue;
                }
                _ => return Err(Malformed), // groups are of protobuf's first days
            }
            if kind.is_some() {
                weight.numbers += 1;
                weight.bytes += NUMBER;
            } else {
                weight.entries += 1;
            }
        }
        Ok(())
    }
}

/// A number of seven bits a byte, the least first.
fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or(Malformed)?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Malformed)?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use proptest::prelude::*;
    use prost::Message;
    use sed_proto::{inference, v1};

    use super::*;

    const SEGMENT: &str = "/sed.v1.SegmentationService/Segment";
    const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

    fn schema() -> Schema {
        Schema::read(&[sed_proto::FILE_DESCRIPTOR_SET]).unwrap()
    }

    fn input(schema: &Schema, path: &str) -> MessageIndex {
        schema.input(path).unwrap()
    }

    fn weigh(path: &str, bytes: &[u8]) -> Result<Weight, Malformed> {
        let schema = schema();
        schema.weigh(input(&schema, path), bytes, u64::MAX)
    }

    #[test]
    fn an_entry_is_charged_for_more_than_any_message_takes_twice() {
        use inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
        let sizes = [
            size_of::<v1::SegmentRequest>(),
            size_of::<v1::SegmentStreamRequest>(),
            size_of::<v1::SegmentOptions>(),
            size_of::<v1::Category>(),
            size_of::<v1::CreateVocabularyRequest>(),
            size_of::<InferInputTensor>(),
            size_of::<InferRequestedOutputTensor>(),
            size_of::<inference::InferTensorContents>(),
            // A map entry has a name beside its value.
            size_of::<(String, inference::InferParameter)>(),
        ];
        assert!(sizes.iter().all(|size| 2 * *size as u64 <= ENTRY), "{sizes:?}");
        assert!(2 * size_of::<String>().max(size_of::<bytes::Bytes>()) as u64 <= ENTRY / 8);
    }

    #[test]
    fn entries_are_counted_at_every_depth() {
        let categories = |count| {
            let category = v1::Category { name: "cat".into(), synonyms: vec!["kitty".into(); 3] };
            let list = v1::CategoryList { categories: vec![category; count] };
            let vocabulary = v1::Vocabulary {
                source: Some(v1::vocabulary::Source::Categories(list)),
                ..Default::default()
            };
            v1::SegmentRequest { vocabulary: Some(vocabulary), ..Default::default() }.encode_to_vec()
        };
        // Vocabulary, list, and for each category itself and four texts.
        assert_eq!(weigh(SEGMENT, &categories(10)).unwrap().entries, 2 + 10 * 5);
        // Empty inputs of two bytes each.
        let bomb = [0x2a, 0x00].repeat(1000);
        assert!(inference::ModelInferRequest::decode(bomb.as_slice()).unwrap().inputs.len() == 1000);
        let weight = weigh(INFER, &bomb).unwrap();
        assert_eq!((weight.entries, weight.bytes), (1000, 1000 * ENTRY));
        let schema = schema();
        let stopped = schema.weigh(input(&schema, INFER), &bomb, 10).unwrap();
        assert_eq!(stopped.entries, 11);
    }

    #[test]
    fn fields_of_no_use_count() {
        let schema = schema();
        let weigh = |field: &[u8]| {
            schema.weigh(input(&schema, SEGMENT), &field.repeat(100_000), 100).unwrap().counted()
        };
        assert_eq!(weigh(&[0x78, 0]), 101); // an unknown number
        assert_eq!(weigh(&[0x7a, 0]), 101); // an unknown text
        let known = weigh_inside(&schema);
        assert_eq!(known, 101);
    }

    /// The count of a message whose options give `top_k` again and again.
    fn weigh_inside(schema: &Schema) -> u64 {
        let once = v1::SegmentOptions { top_k: Some(3), ..Default::default() }.encode_to_vec();
        let mut bytes = vec![0x1a];
        prost::encoding::encode_varint(100_000 * once.len() as u64, &mut bytes);
        bytes.extend(once.repeat(100_000));
        let options = v1::SegmentRequest::decode(bytes.as_slice()).unwrap().options.unwrap();
        assert_eq!(options.top_k, Some(3));
        schema.weigh(input(schema, SEGMENT), &bytes, 100).unwrap().counted()
    }

    #[test]
    fn what_is_no_message_is_malformed() {
        for bytes in [&[0x0a][..], &[0x0a, 5, 1], &[0x0b], &[0xff; 11], &[0x09, 1, 2]] {
            assert_eq!(weigh(SEGMENT, bytes), Err(Malformed), "{bytes:?}");
        }
    }

    proptest! {
        /// The walk accepts all that the decoder accepts, and never panics on what it refuses.
        #[test]
        fn all_that_can_be_decoded_can_be_weighed(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for path in [SEGMENT, INFER] {
                let weighed = weigh(path, &bytes);
                let decoded = match path {
                    SEGMENT => v1::SegmentRequest::decode(bytes.as_slice()).is_ok(),
                    _ => inference::ModelInferRequest::decode(bytes.as_slice()).is_ok(),
                };
                // Unknown groups are skipped by the decoder.
                let has_group = weighed.is_err() && bytes.iter().any(|byte| byte & 7 == 3);
                prop_assert!(!decoded || weighed.is_ok() || has_group);
            }
        }
    }
}
