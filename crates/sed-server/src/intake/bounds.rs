//! The bounds of the calls of each method.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::HeaderMap;

use crate::{
    config::{Compression, Settings},
    methods::{self, Messages, Method, Work},
    wire::{MessageIndex, Schema},
};

/// Messages of calls that carry neither picture nor words, in bytes.
const SMALL_MESSAGE: usize = 64 << 10;
/// The longest that such a call may take until its answer begins.
const SMALL_CALL: Duration = Duration::from_secs(10);

/// A method and the bounds of its calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) method: Method,
    /// Bytes of one message, unpacked.
    pub(super) message_bytes: usize,
    /// Messages, texts and byte strings within one message.
    pub(super) entries: u64,
    pub(super) input: MessageIndex,
    /// The longest that a call may take until its answer begins.
    pub(super) longest: Duration,
}

impl Bounds {
    fn of(method: Method, input: MessageIndex, limits: &Settings) -> Self {
        let (message_bytes, entries, longest) = match method.work {
            Work::Small => (SMALL_MESSAGE, 64, SMALL_CALL.min(limits.max_timeout())),
            Work::Words => {
                (limits.max_message_bytes.min(word_bytes(limits)), most_entries(limits), limits.max_timeout())
            }
            Work::Masks => (limits.max_message_bytes, most_entries(limits), limits.max_timeout()),
        };
        Self { method, message_bytes, entries, input, longest }
    }

    /// Reports whether its messages carry neither picture nor words.
    pub(super) fn is_small(&self) -> bool {
        self.method.work == Work::Small
    }

    pub(super) fn is_stream(&self) -> bool {
        self.method.messages == Messages::Many
    }

    /// Reports whether calls take one of the places for requests that are worked on; a stream takes one for
    /// each of its requests.
    pub(super) fn takes_place(&self) -> bool {
        self.method.work == Work::Masks && !self.is_stream()
    }
}

/// The bounds of all methods, by path.
#[derive(Debug)]
pub(crate) struct MethodBounds {
    schema: Arc<Schema>,
    known: HashMap<String, Bounds>,
    compression: Vec<Compression>,
}

/// The message is packed in a way that the service does not know.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnknownCompression;

impl MethodBounds {
    /// The bounds of the methods of all services.
    ///
    /// # Errors
    /// The descriptors are damaged.
    pub(crate) fn new(limits: &Settings, compression: &[Compression]) -> Result<Self, prost::DecodeError> {
        let schema = Schema::read(&methods::DESCRIPTORS)?;
        let bounds = |method: &Method| {
            let path = method.path();
            let bounds = Bounds::of(*method, schema.input(&path)?, limits);
            Some((path, bounds))
        };
        let known = methods::all().filter_map(bounds).collect();
        Ok(Self { known, compression: compression.to_vec(), schema: Arc::new(schema) })
    }

    /// Returns the schema: the kinds of the fields of messages.
    pub(super) fn schema(&self) -> Arc<Schema> {
        Arc::clone(&self.schema)
    }

    pub(super) fn find(&self, path: &str) -> Option<Bounds> {
        self.known.get(path).copied()
    }

    /// Returns the compression of the messages of a call; `None` if they are not compressed.
    pub(super) fn encoding(
        &self,
        bounds: &Bounds,
        headers: &HeaderMap,
    ) -> Result<Option<Compression>, UnknownCompression> {
        let name = match headers.get("grpc-encoding") {
            None => return Ok(None),
            Some(name) if name == "identity" => return Ok(None),
            Some(name) => name.to_str().map_err(|_| UnknownCompression)?,
        };
        let accepted = self.compression.iter().find(|way| bounds.method.service.ours && way.name() == name);
        accepted.map(|way| Some(*way)).ok_or(UnknownCompression)
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
