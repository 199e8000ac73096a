//! The methods that are served, each with its bounds.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::HeaderMap;

use crate::{
    config::Compression,
    config::Settings,
    wire::{MessageIndex, Schema},
};

/// Messages of calls that carry neither picture nor words, in bytes.
const SMALL_MESSAGE: usize = 64 << 10;
/// The longest that such a call may take until its answer begins.
const SMALL_CALL: Duration = Duration::from_secs(10);

/// Number of messages that a method accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One.
    One,
    /// Any number.
    Stream,
}

/// A method and its bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Method {
    pub(super) shape: Shape,
    /// Bytes of one message, unpacked.
    pub(super) message_bytes: usize,
    /// Messages, texts and byte strings within one message.
    pub(super) entries: u64,
    pub(super) input: MessageIndex,
    /// The longest that a call may take until its answer begins.
    pub(super) longest: Duration,
    /// True if calls take one of the places for requests that are worked on.
    pub(super) works: bool,
    /// True if it belongs to a service whose errors carry details.
    pub(super) ours: bool,
    /// True if its messages may be compressed.
    packed: bool,
}

impl Method {
    /// Reports whether its messages carry neither picture nor words.
    pub(super) fn is_small(&self) -> bool {
        self.message_bytes <= SMALL_MESSAGE
    }
}

/// All methods, by path.
#[derive(Debug)]
pub(crate) struct Methods {
    schema: Arc<Schema>,
    known: HashMap<String, Method>,
    compression: Vec<Compression>,
}

/// The message is packed in a way that the service does not know.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnknownCompression;

impl Methods {
    /// The methods of our services and of those that come with the transport.
    ///
    /// # Errors
    /// The descriptors are damaged.
    pub(crate) fn new(limits: &Settings, compression: &[Compression]) -> Result<Self, prost::DecodeError> {
        let schema = Schema::read(&[
            sed_proto::FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ])?;
        let known =
            schema.inputs().map(|(path, input)| (path.to_owned(), bounds(path, input, limits))).collect();
        Ok(Self { known, compression: compression.to_vec(), schema: Arc::new(schema) })
    }

    /// Returns the schema: the kinds of the fields of messages.
    pub(super) fn schema(&self) -> Arc<Schema> {
        Arc::clone(&self.schema)
    }

    pub(super) fn find(&self, path: &str) -> Option<Method> {
        self.known.get(path).copied()
    }

    /// Returns the compression of the messages of a call; `None` if they are not compressed.
    pub(super) fn encoding(
        &self,
        method: Method,
        headers: &HeaderMap,
    ) -> Result<Option<Compression>, UnknownCompression> {
        let name = match headers.get("grpc-encoding") {
            None => return Ok(None),
            Some(name) if name == "identity" => return Ok(None),
            Some(name) => name.to_str().map_err(|_| UnknownCompression)?,
        };
        let accepted = self.compression.iter().find(|way| method.packed && way.name() == name);
        accepted.map(|way| Some(*way)).ok_or(UnknownCompression)
    }
}

fn bounds(path: &str, input: MessageIndex, limits: &Settings) -> Method {
    let ours = path.starts_with("/sed.v1.") || path.starts_with("/inference.");
    let small = Method {
        shape: Shape::One,
        message_bytes: SMALL_MESSAGE,
        entries: 64,
        input,
        longest: SMALL_CALL.min(limits.max_timeout()),
        works: false,
        ours,
        packed: ours,
    };
    let name = path.rsplit('/').next().unwrap_or_default();
    match name {
        "Segment" | "ModelInfer" | "SegmentStream" => Method {
            shape: if name == "SegmentStream" { Shape::Stream } else { Shape::One },
            message_bytes: limits.max_message_bytes,
            entries: most_entries(limits),
            longest: limits.max_timeout(),
            works: name != "SegmentStream",
            ..small
        },
        "CreateVocabulary" => Method {
            message_bytes: limits.max_message_bytes.min(word_bytes(limits)),
            entries: most_entries(limits),
            longest: limits.max_timeout(),
            ..small
        },
        "ServerReflectionInfo" => Method { shape: Shape::Stream, ..small },
        _ => small,
    }
}

/// Four times the largest vocabulary's entries: what is only somewhat too large gets an answer that names the
/// words, what is far too large is never built.
fn most_entries(limits: &Settings) -> u64 {
    let words = &limits.vocabulary_limits();
    4 * (words.categories + words.phrases) as u64 + 256
}

/// Bytes of a message with twice the largest vocabulary's words.
fn word_bytes(limits: &Settings) -> usize {
    let words = &limits.vocabulary_limits();
    2 * words.phrases * (words.phrase_bytes + 16) + SMALL_MESSAGE
}
