//! The requests of one stream that were read and are not answered yet: their ids, their order, and the
//! answers that must wait for others.

use std::collections::{BTreeMap, HashSet};

use sed_proto::v1::{self, ErrorReason, segment_stream_response::Outcome};

use super::stream_answers::Charged;
use crate::{field::Field, memory::Charge, request_error::RequestError};

/// Unanswered requests.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    any_order: bool,
    /// Number of requests read.
    read: u64,
    /// Number of requests answered.
    answered: u64,
    ids: HashSet<String>,
    /// Answers that are not given yet, by the number of their request.
    ready: BTreeMap<u64, Ready>,
}

/// The number and the id of a request that was read from the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    number: u64,
    id: String,
    /// True if the id is reserved for this request; it is free again once the request is answered.
    owns_id: bool,
}

impl Numbered {
    /// The request's id, empty if it has none.
    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

#[derive(Debug)]
struct Ready {
    answer: Charged,
    owns_id: bool,
}

impl Unanswered {
    /// Adds a request with this id. One whose id is missing or in use is entered, too, for its error.
    pub(super) fn enter(&mut self, id: &str) -> (Numbered, Result<(), RequestError>) {
        let invalid =
            |message: &str| Err(RequestError::new(ErrorReason::StreamIdInvalid, Field::RequestId, message));
        let outcome = if id.is_empty() {
            invalid("a request on a stream needs an id, by which its answer is known")
        } else if !self.ids.insert(id.to_owned()) {
            invalid("is that of a request that is not answered yet; give each its own")
        } else {
            Ok(())
        };
        let numbered = Numbered { number: self.read, id: id.to_owned(), owns_id: outcome.is_ok() };
        self.read += 1;
        (numbered, outcome)
    }

    /// Lets answers overtake each other from now on.
    pub(super) fn allow_any_order(&mut self) {
        self.any_order = true;
    }

    /// Adds the outcome of a request; `charge` holds its answer.
    pub(super) fn done(&mut self, numbered: Numbered, outcome: Outcome, charge: Option<Charge>) {
        let Numbered { number, id, owns_id } = numbered;
        let answer = v1::SegmentStreamResponse { request_id: id, outcome: Some(outcome) };
        self.ready.insert(number, Ready { answer: Charged { answer, charge }, owns_id });
    }

    /// Reports whether an answer can be sent now.
    pub(super) fn has_next(&self) -> bool {
        let first = self.ready.first_key_value();
        first.is_some_and(|(number, _)| self.any_order || *number == self.answered)
    }

    /// Removes the next answer; `None` if none can be sent now.
    pub(super) fn next(&mut self) -> Option<Charged> {
        if !self.has_next() {
            return None;
        }
        let (_, Ready { answer, owns_id }) = self.ready.pop_first()?;
        self.answered += 1;
        if owns_id {
            self.ids.remove(&answer.answer.request_id);
        }
        Some(answer)
    }

    /// Number of requests that were read and are not answered.
    pub(super) fn len(&self) -> usize {
        (self.read - self.answered) as usize
    }

    /// Reports whether the next request is the stream's first.
    pub(super) fn is_new(&self) -> bool {
        self.read == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome() -> Outcome {
        Outcome::Error(v1::StreamError::default())
    }

    fn ids(unanswered: &mut Unanswered) -> Vec<String> {
        std::iter::from_fn(|| unanswered.next()).map(|next| next.answer.request_id).collect()
    }

    #[test]
    fn answers_wait_for_those_before_them() {
        let mut unanswered = Unanswered::default();
        assert!(unanswered.is_new());
        let [a, b, c] = ["a", "b", "c"].map(|id| unanswered.enter(id).0);
        unanswered.done(c, outcome(), None);
        unanswered.done(b, outcome(), None);
        assert!(!unanswered.has_next() && ids(&mut unanswered).is_empty());
        unanswered.done(a, outcome(), None);
        assert_eq!(unanswered.len(), 3);
        assert_eq!(ids(&mut unanswered), ["a", "b", "c"]);
        assert_eq!(unanswered.len(), 0);
    }

    #[test]
    fn in_any_order_each_goes_when_it_is_done() {
        let mut unanswered = Unanswered::default();
        unanswered.allow_any_order();
        let [a, b] = ["a", "b"].map(|id| unanswered.enter(id).0);
        unanswered.done(b, outcome(), None);
        assert_eq!(ids(&mut unanswered), ["b"]);
        unanswered.done(a, outcome(), None);
        assert_eq!(ids(&mut unanswered), ["a"]);
    }

    #[test]
    fn an_id_is_free_once_its_own_request_is_answered() {
        let mut unanswered = Unanswered::default();
        unanswered.allow_any_order();
        let (first, entered) = unanswered.enter("a");
        assert!(entered.is_ok());
        let (second, refused) = unanswered.enter("a");
        assert_eq!(refused.unwrap_err().reason, ErrorReason::StreamIdInvalid);
        unanswered.done(second, outcome(), None);
        assert_eq!(ids(&mut unanswered), ["a"]);
        assert!(unanswered.enter("a").1.is_err()); // the error's answer does not free it
        unanswered.done(first, outcome(), None);
        assert_eq!(ids(&mut unanswered), ["a"]);
        assert!(unanswered.enter("a").1.is_ok());
        assert_eq!(unanswered.enter("").1.unwrap_err().field, Field::RequestId);
    }
}
