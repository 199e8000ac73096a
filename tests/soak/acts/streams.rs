//! Streams: to their end, left in the middle, and ended by their deadline.

use std::{collections::BTreeMap, time::Duration};

use sed_proto::v1::{self, ErrorReason, segment_stream_response::Outcome};
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tonic::Status;

use super::masks::{dressed, judge};
use crate::{
    calls::{FORGOTTEN, Shared},
    catalogue::SegmentCase,
    judgement::{LATE, TROUBLE, check_error, status_of, was_not_taken},
    line::{Line, within},
};

/// A request on a stream, as its client expects it to end.
enum Asked<'a> {
    Case(&'a SegmentCase),
    /// One without a picture.
    Wrong,
}

/// Behaviour of the client.
#[derive(Clone, Copy)]
struct Manner {
    requests: usize,
    any_order: bool,
    /// The client leaves after so many answers.
    leave_after: Option<usize>,
    /// The client leaves the stream open until this deadline ends it.
    deadline: Option<Duration>,
}

pub(super) async fn whole(shared: &Shared, line: &Line, random: &mut fastrand::Rng) {
    let (requests, any_order) = (random.usize(1..14), random.bool());
    let manner = Manner { requests, any_order, leave_after: None, deadline: None };
    talk(shared, line, random, manner).await;
}

pub(super) async fn left(shared: &Shared, line: &Line, random: &mut fastrand::Rng) {
    let (requests, any_order) = (random.usize(2..14), random.bool());
    let leave_after = Some(random.usize(..requests));
    talk(shared, line, random, Manner { requests, any_order, leave_after, deadline: None }).await;
}

pub(super) async fn late(shared: &Shared, line: &Line, random: &mut fastrand::Rng) {
    let (requests, any_order) = (random.usize(1..10), random.bool());
    let deadline = Some(Duration::from_millis(random.u64(20..400)));
    talk(shared, line, random, Manner { requests, any_order, leave_after: None, deadline }).await;
}

/// Requests that are still to be answered, by id, in the order of sending.
type Open<'a> = BTreeMap<String, Asked<'a>>;

fn draw<'a>(
    shared: &'a Shared,
    random: &mut fastrand::Rng,
    manner: Manner,
) -> (Vec<v1::SegmentStreamRequest>, Open<'a>) {
    let mut open = Open::new();
    let messages = (0..manner.requests).map(|number| {
        let case = &shared.catalogue.segment[random.usize(..shared.catalogue.segment.len())];
        let id = format!("{number:03} of {}", shared.fresh());
        let mut request = dressed(shared, random, &case.request);
        request.request_id.clone_from(&id);
        let mut asked = Asked::Case(case);
        if random.u32(0..10) == 0 {
            request.image = None;
            asked = Asked::Wrong;
        }
        open.insert(id, asked);
        let short = random.u32(0..10) == 0;
        let timeout = short.then(|| prost_types::Duration { seconds: 0, nanos: random.i32(0..100_000_000) });
        v1::SegmentStreamRequest { request: Some(request), timeout, any_order: manner.any_order }
    });
    let messages = messages.collect();
    (messages, open)
}

async fn talk(shared: &Shared, line: &Line, random: &mut fastrand::Rng, manner: Manner) {
    let (messages, mut open) = draw(shared, random, manner);
    let (method, caller) = ("SegmentStream", line.caller);
    let stays_open = manner.deadline.is_some();
    let end = tokio_stream::iter((!stays_open).then_some(())).map(|()| None).chain(tokio_stream::pending());
    let outgoing = tokio_stream::iter(messages.into_iter().map(Some)).chain(end).map_while(|message| message);
    let mut request = caller.request(outgoing);
    if let Some(deadline) = manner.deadline {
        request = within(deadline, request);
    }
    let mut client = line.segmentation();
    let mut answers = match client.segment_stream(request).await {
        Ok(response) => response.into_inner(),
        Err(status) if was_not_taken(&status) => return shared.tally().not_taken += 1,
        Err(status) => return shared.tally().answered(method, caller.name(), Some(&status)),
    };
    let mut last = String::new();
    for received in 0.. {
        if manner.leave_after == Some(received) {
            drop(answers);
            shared.tally().gave_up(method, caller.name());
            break;
        }
        match timeout(FORGOTTEN, answers.message()).await {
            Err(_) => {
                shared.tally().gave_up(method, caller.name());
                shared.tally().violation(format!("a stream had no answer for {FORGOTTEN:?}"));
                break;
            }
            Ok(Ok(Some(answer))) => {
                let in_order = manner.any_order || last <= answer.request_id;
                last.clone_from(&answer.request_id);
                answered(shared, &mut open, answer, in_order);
            }
            Ok(end) => {
                let error = end.err();
                shared.tally().answered(method, caller.name(), error.as_ref());
                ended(shared, manner, error.as_ref(), open.len());
                break;
            }
        }
    }
    shared.tally().gave_up_on_stream(open.len() as u64);
    // Requests that a stream sends at once fill the places; the next stream leaves time to free them.
    sleep(Duration::from_millis(random.u64(20..300))).await;
}

/// One request has its answer.
fn answered(shared: &Shared, open: &mut Open<'_>, answer: v1::SegmentStreamResponse, in_order: bool) {
    let id = answer.request_id;
    let outcome: Result<v1::SegmentResponse, Status> = match answer.outcome {
        Some(Outcome::Response(response)) => Ok(response),
        Some(Outcome::Error(error)) => Err(status_of(&error)),
        None => Err(Status::internal("no outcome")),
    };
    shared.tally().answered_on_stream(outcome.as_ref().err());
    if !in_order {
        shared.tally().violation(format!("the answer to `{id}` came out of order"));
    }
    match open.remove(&id) {
        Some(Asked::Case(case)) => {
            judge(shared, "a request on a stream", case, &id, &outcome, &[&TROUBLE, &LATE]);
        }
        Some(Asked::Wrong) => {
            const MISSING: [ErrorReason; 2] = [ErrorReason::FieldMissing, ErrorReason::QueueFull];
            let judged = match &outcome {
                Ok(_) => Err("a request without a picture was answered".to_owned()),
                Err(status) => check_error(status, &[&MISSING, &LATE]),
            };
            shared.expect("a wrong request on a stream", judged);
        }
        None => shared.tally().violation(format!("`{id}` was answered twice, or never asked")),
    }
}

/// The stream has ended by itself. One whose connection is old may end at any time, with what was not read unanswered.
fn ended(shared: &Shared, manner: Manner, error: Option<&Status>, open: usize) {
    const AGED: [ErrorReason; 1] = [ErrorReason::Reconnect];
    let judged = match (error, manner.deadline) {
        (None, None) if open > 0 => Err(format!("it ended with {open} requests unanswered")),
        (None, None) => Ok(()),
        (None, Some(_)) => Err("it ended before its deadline".to_owned()),
        (Some(status), Some(_)) => check_error(status, &[&LATE, &AGED]),
        (Some(status), None) => check_error(status, &[&AGED]),
    };
    shared.expect("a stream", judged);
}
