//! The accounts of the clients: what they were answered, and what they gave up before.

use std::collections::BTreeMap;

use sed_proto::v1::ErrorReason;
use sed_server::metrics::Code;
use sed_telemetry::Label;
use tonic::Status;

use crate::judgement::{label_of_refusal, reason_of};

/// Violations that are kept word by word.
const MOST_KEPT: usize = 20;

/// Calls of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Answers that clients got, by their label in the metrics.
    pub(crate) answered: BTreeMap<String, u64>,
    /// Calls whose client went before the answer.
    pub(crate) given_up: u64,
}

impl Account {
    pub(crate) fn answer(&mut self, label: &str) {
        *self.answered.entry(label.to_owned()).or_default() += 1;
    }

    pub(crate) fn total(&self) -> u64 {
        self.answered.values().sum()
    }

    /// Compares the account with the server's counters, and returns how many of the calls that were given up the server
    /// has counted.
    ///
    /// Every answer that a client got was counted under its label. What was counted beyond are calls that were given
    /// up: the server may have ended them in any way, or have never heard of them.
    ///
    /// # Errors
    /// A label has fewer calls than answers, or there are more calls beyond the answers than were given up.
    pub(crate) fn settle(&self, counted: &BTreeMap<String, u64>) -> Result<u64, String> {
        for (label, answers) in &self.answered {
            let found = counted.get(label).copied().unwrap_or(0);
            if found < *answers {
                return Err(format!("{label}: {answers} answers came, but {found} calls were counted"));
            }
        }
        let beyond = counted.values().sum::<u64>() - self.total();
        if beyond > self.given_up {
            let given_up = self.given_up;
            return Err(format!(
                "{beyond} calls were counted beyond the answers, but only {given_up} were given up: counted \
                 {counted:?}, answered {:?}",
                self.answered
            ));
        }
        Ok(beyond)
    }
}

/// All accounts of a run.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) methods: BTreeMap<&'static str, Account>,
    /// Calls by the name of their token.
    pub(crate) callers: BTreeMap<&'static str, Account>,
    /// Requests on streams.
    pub(crate) streamed: Account,
    /// Refusals of calls and of requests on streams, by their label in the metrics.
    pub(crate) refused: Account,
    /// Errors by reason.
    pub(crate) reasons: BTreeMap<&'static str, u64>,
    /// Answers that were compared with a reference.
    pub(crate) compared: u64,
    /// Calls that a connection did not take any more because it was old; the client sent them again.
    pub(crate) not_taken: u64,
    /// Acts of the clients, by name.
    pub(crate) acts: BTreeMap<&'static str, u64>,
    /// The first things that were wrong.
    pub(crate) violations: Vec<String>,
    /// Number of things that were wrong.
    pub(crate) violated: u64,
}

impl Tally {
    /// A call was answered.
    pub(crate) fn answered(
        &mut self,
        method: &'static str,
        caller: Option<&'static str>,
        error: Option<&Status>,
    ) {
        let code = code_of(error);
        self.methods.entry(method).or_default().answer(code);
        if let Some(caller) = caller {
            self.callers.entry(caller).or_default().answer(code);
        }
        self.note_error(method, error);
    }

    /// The client gave a call up.
    pub(crate) fn gave_up(&mut self, method: &'static str, caller: Option<&'static str>) {
        self.methods.entry(method).or_default().given_up += 1;
        if let Some(caller) = caller {
            self.callers.entry(caller).or_default().given_up += 1;
        }
        self.refused.given_up += 1;
    }

    /// A request on a stream was answered.
    pub(crate) fn answered_on_stream(&mut self, error: Option<&Status>) {
        self.streamed.answer(code_of(error));
        self.note_error("a request on a stream", error);
    }

    /// The client left a stream with so many unanswered requests.
    pub(crate) fn gave_up_on_stream(&mut self, requests: u64) {
        self.streamed.given_up += requests;
        self.refused.given_up += requests;
    }

    pub(crate) fn act(&mut self, name: &'static str) {
        *self.acts.entry(name).or_default() += 1;
    }

    pub(crate) fn violation(&mut self, what: String) {
        self.violated += 1;
        if self.violations.len() < MOST_KEPT {
            self.violations.push(what);
        }
    }

    /// Calls, and requests on streams.
    pub(crate) fn requests(&self) -> u64 {
        let accounts = self.methods.values().chain([&self.streamed]);
        accounts.map(|account| account.total() + account.given_up).sum()
    }

    /// Returns the number of errors with this reason.
    pub(crate) fn seen(&self, reason: ErrorReason) -> u64 {
        self.reasons.get(sed_server::reason_name(reason)).copied().unwrap_or(0)
    }

    fn note_error(&mut self, what: &str, error: Option<&Status>) {
        let Some(status) = error else { return };
        match reason_of(status) {
            Ok(reason) => {
                *self.reasons.entry(sed_server::reason_name(reason)).or_default() += 1;
                if let Some(label) = label_of_refusal(reason) {
                    self.refused.answer(label);
                }
            }
            Err(why) => self.violation(format!("{what}: {why}")),
        }
    }
}

/// The label of an outcome.
fn code_of(error: Option<&Status>) -> &'static str {
    Code(error.map_or(tonic::Code::Ok, Status::code)).as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(answered: &[(&str, u64)], given_up: u64) -> Account {
        Account { answered: counted(answered), given_up }
    }

    fn counted(calls: &[(&str, u64)]) -> BTreeMap<String, u64> {
        calls.iter().map(|(label, count)| ((*label).to_owned(), *count)).collect()
    }

    #[test]
    fn without_calls_that_were_given_up_both_sides_are_equal() {
        let account = account(&[("OK", 5), ("NOT_FOUND", 2)], 0);
        assert_eq!(account.settle(&counted(&[("OK", 5), ("NOT_FOUND", 2), ("INTERNAL", 0)])), Ok(0));
        for wrong in [
            &[("OK", 4), ("NOT_FOUND", 2)][..],
            &[("OK", 6), ("NOT_FOUND", 2)],
            &[("OK", 5), ("NOT_FOUND", 2), ("CANCELLED", 1)],
            &[("OK", 6), ("NOT_FOUND", 1)],
            &[],
        ] {
            assert!(account.settle(&counted(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_was_given_up_is_counted_at_most_once_and_in_any_way() {
        let account = account(&[("OK", 5)], 3);
        for (calls, heard) in [
            (&[("OK", 5)][..], 0),
            (&[("OK", 5), ("CANCELLED", 3)], 3),
            (&[("OK", 6), ("CANCELLED", 1), ("INTERNAL", 1)], 3),
        ] {
            assert_eq!(account.settle(&counted(calls)), Ok(heard), "{calls:?}");
        }
        assert!(account.settle(&counted(&[("OK", 5), ("CANCELLED", 4)])).is_err());
        assert!(account.settle(&counted(&[("OK", 4), ("CANCELLED", 3)])).is_err());
    }

    #[test]
    fn an_answer_is_in_every_account_that_it_belongs_to() {
        let mut tally = Tally::default();
        tally.answered("Segment", Some("camera"), None);
        tally.answered("Segment", None, None);
        tally.gave_up("Segment", Some("camera"));
        tally.answered_on_stream(None);
        tally.gave_up_on_stream(4);
        assert_eq!(tally.methods["Segment"], account(&[("OK", 2)], 1));
        assert_eq!(tally.callers["camera"], account(&[("OK", 1)], 1));
        assert_eq!(tally.streamed, account(&[("OK", 1)], 4));
        assert_eq!(tally.refused, account(&[], 5));
        assert_eq!(tally.requests(), 8);
    }

    #[test]
    fn an_error_without_a_reason_is_a_violation() {
        let mut tally = Tally::default();
        tally.answered("Segment", None, Some(&Status::unavailable("the transport's")));
        assert_eq!((tally.violated, tally.violations.len()), (1, 1));
        assert_eq!(tally.refused.total(), 0);
    }
}
