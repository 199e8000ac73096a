//! Accounting of calls: every call of our services is counted when it ends, also by caller, its error is
//! logged, and it has one span that continues the caller's trace.

mod body;
mod call;
mod ending;
mod rest;
mod span;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tonic::{Status, body::Body};
use tower::{Layer, Service};
use tracing::{Instrument, Span};

use self::{
    body::{AnswerBody, RequestBody},
    call::Call,
};
pub(crate) use self::{call::log_refusal, ending::Ending};
use crate::{caller::CallerName, methods::CountedMethod, metrics::ServerMetrics};

/// The future of an answer.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// A layer that accounts for calls, outside of all services and layers that may refuse a call but the guard.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    metrics: Arc<ServerMetrics>,
}

impl Calls {
    pub(crate) fn new(metrics: Arc<ServerMetrics>) -> Self {
        Self { metrics }
    }

    /// Accounts for a call that is refused before it is read, and returns its answer.
    pub(crate) fn refuse(&self, request: &Request<Body>, refused: Status) -> Response<Body> {
        match self.begin(request) {
            (_, Some(mut call)) => call.end(&refused),
            (span, None) => span.in_scope(|| log_refusal(&refused)),
        }
        refused.into_http()
    }

    /// Begins the span of a call, and its account if it is counted: calls of other services, of methods that
    /// do not exist, and those that do no work are only logged when they are refused.
    fn begin(&self, request: &Request<Body>) -> (Span, Option<Call>) {
        let path = request.uri().path();
        let Some(method) = CountedMethod::at(path) else {
            return (tracing::info_span!("call", path = start_of(path)), None);
        };
        let span = span::begin(method, request);
        let token = match request.extensions().get() {
            Some(CallerName::Token(name)) => Some(name.clone()),
            _ => None,
        };
        (span.clone(), Some(Call::begin(method, token, span, Arc::clone(&self.metrics))))
    }
}

impl<S> Layer<S> for Calls {
    type Service = CallsService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CallsService { calls: self.clone(), inner }
    }
}

/// A service whose calls are accounted for.
#[derive(Clone, Debug)]
pub(crate) struct CallsService<S> {
    calls: Calls,
    inner: S,
}

impl<S> Service<Request<Body>> for CallsService<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        let (span, call) = self.calls.begin(&request);
        let Some(mut call) = call else {
            let answer = self.inner.call(request);
            return Box::pin(async move {
                let response = answer.await?;
                if let Some(status) = refusal_of(&response) {
                    span.in_scope(|| log_refusal(&status));
                }
                Ok(response)
            });
        };
        let request = request.map(|body| Body::new(RequestBody::new(body, call.received())));
        let answer = span.in_scope(|| self.inner.call(request));
        let accounted = async move {
            let response = answer.await?;
            if let Some(status) = refusal_of(&response) {
                call.end(&status);
                return Ok(response);
            }
            let ending = response.extensions().get::<Ending>().cloned().unwrap_or_default();
            Ok(response.map(|body| Body::new(AnswerBody::new(body, call, ending))))
        };
        Box::pin(accounted.instrument(span))
    }
}

/// The error of a call that has no answer at all: its status is in the headers, and among the extensions if
/// this server made it. Every other call has it at its end.
fn refusal_of(response: &Response<Body>) -> Option<Status> {
    let made = response.extensions().get::<Status>().cloned();
    made.or_else(|| Status::from_header_map(response.headers()))
}

/// The longest path that a log line repeats, in bytes.
const LONGEST_PATH: usize = 128;

/// The start of a path, which may be of any length.
fn start_of(path: &str) -> &str {
    &path[..path.floor_char_boundary(LONGEST_PATH)]
}
