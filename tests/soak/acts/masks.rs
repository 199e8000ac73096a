//! Single requests for masks.

use std::time::Duration;

use sed_proto::v1::{self, ErrorReason, SegmentRequest, SegmentResponse};
use tonic::Status;

use crate::{
    answers::{compare, compare_infer, timeless},
    calls::{Patience, Shared, infer, segment},
    catalogue::{self, SegmentCase},
    judgement::{LATE, TROUBLE, check_error},
    line::Line,
    planes,
};

/// Requests with new words that a client asks again in the end.
const MOST_COLDS: usize = 8;

/// Requests with new words, and their answers.
#[derive(Debug, Default)]
pub(crate) struct Colds(pub(crate) Vec<(SegmentRequest, SegmentResponse)>);

fn any_case<'a>(shared: &'a Shared, random: &mut fastrand::Rng) -> &'a SegmentCase {
    let cases = &shared.catalogue.segment;
    &cases[random.usize(..cases.len())]
}

/// The request with a priority and sometimes an id, which make no difference to the masks.
pub(super) fn dressed(
    shared: &Shared,
    random: &mut fastrand::Rng,
    request: &SegmentRequest,
) -> SegmentRequest {
    let mut request = request.clone();
    if random.bool() {
        request.request_id = format!("soak {}", shared.fresh());
    }
    if let Some(options) = &mut request.options {
        options.priority = random.i32(0..4);
    }
    request
}

/// Notes what is wrong with the outcome of a case's request.
pub(super) fn judge(
    shared: &Shared,
    what: &str,
    case: &SegmentCase,
    id: &str,
    outcome: &Result<SegmentResponse, Status>,
    allowed: &[&[ErrorReason]],
) {
    let judged = match outcome {
        Ok(answer) => {
            shared.tally().compared += 1;
            let same_id = id.is_empty() || answer.request_id == id;
            let wrong_id = || format!("the answer to `{id}` has the id `{}`", answer.request_id);
            compare(answer, case.reference()).and_then(|()| same_id.then_some(()).ok_or_else(wrong_id))
        }
        Err(status) => check_error(status, allowed),
    };
    shared.expect(what, judged);
}

pub(super) async fn plain(shared: &Shared, line: &Line, random: &mut fastrand::Rng) {
    let case = any_case(shared, random);
    let request = dressed(shared, random, &case.request);
    if let Some(outcome) = segment(shared, line, &request, None, Patience::Ample).await {
        judge(shared, "a request", case, &request.request_id, &outcome, &[&TROUBLE]);
    }
}

pub(super) async fn by_id(shared: &Shared, line: &Line, random: &mut fastrand::Rng) {
    const NOT_FOUND: [ErrorReason; 1] = [ErrorReason::ImageNotFound];
    let case = any_case(shared, random);
    let Some(request) = case.by_id() else { return plain(shared, line, random).await };
    let request = dressed(shared, random, &request);
    let Some(outcome) = segment(shared, line, &request, None, Patience::Ample).await else { return };
    judge(shared, "a request by id", case, &request.request_id, &outcome, &[&TROUBLE, &NOT_FOUND]);
    if outcome.is_err() {
        // As the interface says: send the bytes.
        let request = dressed(shared, random, &case.request);
        if let Some(outcome) = segment(shared, line, &request, None, Patience::Ample).await {
            judge(shared, "a request behind one by id", case, &request.request_id, &outcome, &[&TROUBLE]);
        }
    }
}

pub(super) async fn cold(shared: &Shared, line: &Line, random: &mut fastrand::Rng, colds: &mut Colds) {
    let case = any_case(shared, random);
    let list = catalogue::cold(random, shared.fresh());
    let asked = list.categories.len();
    let request = SegmentRequest { vocabulary: Some(catalogue::inline(list)), ..case.request.clone() };
    match segment(shared, line, &request, None, Patience::Ample).await {
        Some(Ok(answer)) => {
            let found = answer.categories.len();
            if found != asked {
                shared.tally().violation(format!("{asked} categories were asked for, {found} answered"));
            }
            shared.expect("a request with new words", planes::check(&answer));
            let place = random.usize(..4 * MOST_COLDS);
            if colds.0.len() < MOST_COLDS {
                colds.0.push((request, timeless(&answer)));
            } else if let Some(cold) = colds.0.get_mut(place) {
                *cold = (request, timeless(&answer));
            }
        }
        Some(Err(status)) => shared.expect("a request with new words", check_error(&status, &[&TROUBLE])),
        None => {}
    }
}

pub(super) async fn inferred(shared: &Shared, line: &Line, random: &mut fastrand::Rng) {
    let cases = &shared.catalogue.infer;
    let case = &cases[random.usize(..cases.len())];
    let outcome = match infer(shared, line, &case.request, Patience::Ample).await {
        Some(Ok(answer)) => {
            shared.tally().compared += 1;
            compare_infer(&answer, case.reference())
        }
        Some(Err(status)) => check_error(&status, &[&TROUBLE]),
        None => return,
    };
    shared.expect("an open inference request", outcome);
}

pub(super) async fn hurried(shared: &Shared, line: &Line, random: &mut fastrand::Rng) {
    let case = any_case(shared, random);
    let request = dressed(shared, random, &case.request);
    let deadline = Some(Duration::from_millis(random.u64(0..150)));
    if let Some(outcome) = segment(shared, line, &request, deadline, Patience::Ample).await {
        judge(shared, "a hurried request", case, &request.request_id, &outcome, &[&TROUBLE, &LATE]);
    }
}

pub(super) async fn cancelled(shared: &Shared, line: &Line, random: &mut fastrand::Rng) {
    let patience = Patience::Only(Duration::from_micros(random.u64(0..80_000)));
    if random.u32(0..4) == 0 {
        let cases = &shared.catalogue.infer;
        let case = &cases[random.usize(..cases.len())];
        if let Some(Err(status)) = infer(shared, line, &case.request, patience).await {
            shared.expect("a request that was not cancelled in time", check_error(&status, &[&TROUBLE]));
        }
        return;
    }
    let case = any_case(shared, random);
    let request: v1::SegmentRequest = dressed(shared, random, &case.request);
    if let Some(outcome) = segment(shared, line, &request, None, patience).await {
        let what = "a request that was not cancelled in time";
        judge(shared, what, case, &request.request_id, &outcome, &[&TROUBLE]);
    }
}
