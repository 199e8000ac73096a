//! Calls, each with its entry in the accounts.

use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{sleep, timeout};
use tonic::{Code, Response, Status};

use crate::{
    catalogue::Catalogue,
    judgement::was_not_taken,
    line::{Caller, Line},
    tally::Tally,
};

/// A call without an answer for so long was forgotten by the server.
pub(crate) const FORGOTTEN: Duration = Duration::from_secs(120);

/// State that all clients share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) catalogue: Catalogue,
    pub(crate) stop: AtomicBool,
    tally: Mutex<Tally>,
    fresh: AtomicU64,
}

/// The time at which a client leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// With the answer.
    Ample,
    /// After this time.
    Only(Duration),
}

impl Shared {
    pub(crate) fn new(catalogue: Catalogue) -> Self {
        let (tally, fresh) = (Mutex::default(), AtomicU64::new(0));
        Self { catalogue, stop: AtomicBool::new(false), tally, fresh }
    }

    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap()
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// A number that no other call has got.
    pub(crate) fn fresh(&self) -> u64 {
        self.fresh.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes what is wrong with an outcome, if anything is.
    pub(crate) fn expect(&self, what: &str, outcome: Result<(), String>) {
        if let Err(why) = outcome {
            self.tally().violation(format!("{what}: {why}"));
        }
    }
}

/// Sends a call and accounts for its end; `None` where the client gave it up. `send` begins the call, once more for each
/// connection that did not take it.
pub(crate) async fn call<T, F>(
    shared: &Shared,
    method: &'static str,
    caller: Caller,
    patience: Patience,
    mut send: impl FnMut() -> F,
) -> Option<Result<T, Status>>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let most = match patience {
        Patience::Ample => FORGOTTEN,
        Patience::Only(time) => time,
    };
    let answer = loop {
        match timeout(most, send()).await {
            Err(_) => {
                let mut tally = shared.tally();
                tally.gave_up(method, caller.name());
                if matches!(patience, Patience::Ample) {
                    tally.violation(format!("{method} was not answered within {most:?}"));
                }
                return None;
            }
            Ok(Err(status)) if was_not_taken(&status) => shared.tally().not_taken += 1,
            Ok(answer) => break answer.map(Response::into_inner),
        }
    };
    shared.tally().answered(method, caller.name(), answer.as_ref().err());
    // As well-behaved clients do: a little later.
    if matches!(answer.as_ref().map_err(Status::code), Err(Code::Unavailable | Code::ResourceExhausted)) {
        sleep(Duration::from_millis(fastrand::u64(20..150))).await;
    }
    Some(answer)
}

/// A call of `sed.v1.SegmentationService` by the line's own caller that waits for its answer.
macro_rules! ask {
    ($shared:expr, $line:expr, $method:ident, $function:ident, $message:expr) => {{
        let (line, message): (&Line, _) = ($line, $message);
        let send = || {
            let (mut client, request) = (line.segmentation(), line.caller.request(message.clone()));
            async move { client.$function(request).await }
        };
        crate::calls::call($shared, stringify!($method), line.caller, crate::calls::Patience::Ample, send)
            .await
    }};
}
pub(crate) use ask;

/// Asks for masks as the line's own caller, with a deadline if there is one.
pub(crate) async fn segment(
    shared: &Shared,
    line: &Line,
    message: &sed_proto::v1::SegmentRequest,
    deadline: Option<Duration>,
    patience: Patience,
) -> Option<Result<sed_proto::v1::SegmentResponse, Status>> {
    let send = || {
        let (mut client, request) = (line.segmentation(), line.caller.request(message.clone()));
        let request = match deadline {
            Some(time) => crate::line::within(time, request),
            None => request,
        };
        async move { client.segment(request).await }
    };
    call(shared, "Segment", line.caller, patience, send).await
}

/// The same over the Open Inference Protocol.
pub(crate) async fn infer(
    shared: &Shared,
    line: &Line,
    message: &sed_proto::inference::ModelInferRequest,
    patience: Patience,
) -> Option<Result<sed_proto::inference::ModelInferResponse, Status>> {
    let send = || {
        let (mut client, request) = (line.inference(), line.caller.request(message.clone()));
        async move { client.model_infer(request).await }
    };
    call(shared, "ModelInfer", line.caller, patience, send).await
}
