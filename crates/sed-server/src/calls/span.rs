//! The span of a call, with the attributes of OpenTelemetry's conventions for gRPC.

use http::{HeaderMap, Request};
use opentelemetry::{
    global,
    propagation::Extractor,
    trace::{Status as SpanStatus, TraceContextExt},
};
use tonic::{Code, body::Body};
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::{caller::CallerName, connections::Peer, methods::CountedMethod};

/// A span that continues the trace of the headers, if they have one. `request_id` is for the method to fill
/// in. Span fields also appear in log lines; OpenTelemetry attributes do not.
pub(super) fn begin(CountedMethod(method): CountedMethod, request: &Request<Body>) -> Span {
    let (service, method) = (method.service.name, method.name);
    let span = tracing::info_span!(
        "call",
        method,
        caller = Empty,
        request_id = Empty,
        trace_id = Empty,
        otel.kind = "server"
    );
    if let Some(caller) = request.extensions().get::<CallerName>() {
        span.record("caller", &**caller.name());
    }
    if let Some(peer) = request.extensions().get::<Peer>() {
        span.set_attribute("network.peer.address", peer.address.ip().to_string());
    }
    let sender =
        global::get_text_map_propagator(|propagator| propagator.extract(&Headers(request.headers())));
    let callers_trace = sender.span().span_context().trace_id();
    // It fails where traces are not exported; the caller's trace is then only named in the log.
    let _ = span.set_parent(sender);
    span.set_attribute("rpc.system", "grpc");
    span.set_attribute("rpc.service", service);
    span.set_attribute("rpc.method", method);
    let ours = span.context().span().span_context().clone();
    let trace = if ours.is_valid() { ours.trace_id() } else { callers_trace };
    if trace != opentelemetry::TraceId::INVALID {
        span.record("trace_id", tracing::field::display(trace));
    }
    span.context().span().update_name(format!("{service}/{method}"));
    span
}

/// Records the status code of the call.
pub(super) fn end(span: &Span, code: Code) {
    span.set_attribute("rpc.grpc.status_code", i64::from(i32::from(code)));
    if is_the_servers_fault(code) {
        span.set_status(SpanStatus::error(code.description()));
    }
}

/// Reports whether the conventions make a server's span an error for this code.
fn is_the_servers_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// Headers as the propagator reads them.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
