//! Bytes that grow without being moved, each paid for before it is allocated.

use bytes::Bytes;

use crate::memory::Charge;

/// The first chunk, in bytes; each later one is as large as all before it, up to [`LARGEST`].
const FIRST: usize = 8 << 10;
const LARGEST: usize = 1 << 20;

/// A list of chunks and the charge that pays for them.
#[derive(Debug)]
pub(super) struct Chunks {
    full: Vec<Vec<u8>>,
    last: Vec<u8>,
    length: usize,
    charge: Charge,
}

impl Chunks {
    /// An empty list; `charge` pays for its chunks.
    pub(super) fn new(charge: Charge) -> Self {
        Self { full: Vec::new(), last: Vec::new(), length: 0, charge }
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Returns the bytes that must be charged before `bytes` more are appended, of at most `expected` in all.
    pub(super) fn cost(&self, bytes: usize, expected: usize) -> u64 {
        self.next_capacity(bytes, expected) as u64
    }

    /// The capacity of the chunk that `bytes` more need; 0 if the last one has room for them.
    fn next_capacity(&self, bytes: usize, expected: usize) -> usize {
        let beyond = bytes.saturating_sub(self.last.capacity() - self.last.len());
        if beyond == 0 {
            return 0;
        }
        let usual = self.length.clamp(FIRST, LARGEST).max(beyond);
        usual.min(expected.saturating_sub(self.length).max(beyond))
    }

    pub(super) fn charge(&mut self) -> &mut Charge {
        &mut self.charge
    }

    /// Appends bytes whose [`Chunks::cost`] was charged with the same `expected`.
    pub(super) fn append(&mut self, bytes: &[u8], expected: usize) {
        let capacity = self.next_capacity(bytes.len(), expected);
        let room = (self.last.capacity() - self.last.len()).min(bytes.len());
        let (here, beyond) = bytes.split_at(room);
        self.last.extend_from_slice(here);
        if !beyond.is_empty() {
            let mut next = Vec::with_capacity(capacity);
            next.extend_from_slice(beyond);
            self.full.push(std::mem::replace(&mut self.last, next));
        }
        self.length += bytes.len();
    }

    /// Returns the bytes that must be charged before [`Chunks::join`].
    pub(super) fn cost_to_join(&self) -> u64 {
        if self.full.iter().all(Vec::is_empty) { 0 } else { self.length as u64 }
    }

    /// Joins all chunks to one piece; returns it with the charge that holds it.
    pub(super) fn join(mut self) -> (Bytes, Charge) {
        let whole = if self.cost_to_join() == 0 {
            self.last
        } else {
            let mut whole = Vec::with_capacity(self.length);
            for chunk in self.full.into_iter().chain([self.last]) {
                whole.extend_from_slice(&chunk);
            }
            whole
        };
        self.charge.shrink_to(whole.capacity() as u64);
        (whole.into(), self.charge)
    }
}
