//! Accounting of calls: every call of our services is counted when it ends, also by caller, its error is
//! logged, and it has one span that continues the caller's trace. A call without a required token is refused
//! here.

mod body;
mod call;
mod ending;
mod rest;
mod span;

use std::{
    convert::Infallible,
    future::ready,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use sed_telemetry::Label;
use tonic::{Status, body::Body};
use tower::{Layer, Service};
use tracing::Instrument;

use self::{
    body::{AnswerBody, RequestBody},
    call::Call,
};
pub(crate) use self::{call::log_refusal, ending::Ending};
use crate::{
    access::Guard,
    caller::CallerName,
    connections::Peer,
    health, inference,
    metrics::{Method, ServerMetrics},
};

/// A layer that accounts for calls, outside of all services and layers that may refuse a call.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    guard: Guard,
    metrics: Arc<ServerMetrics>,
}

impl Calls {
    pub(crate) fn new(guard: Guard, metrics: Arc<ServerMetrics>) -> Self {
        Self { guard, metrics }
    }
}

impl<S> Layer<S> for Calls {
    type Service = CallsService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CallsService { calls: self.clone(), inner }
    }
}

/// The future of an answer.
type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

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

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let admitted = self.calls.guard.admit(request.uri().path(), request.headers());
        let token = admitted.as_ref().ok().cloned().flatten();
        let certificate = || request.extensions().get::<Peer>()?.name.clone();
        if let Some(name) = token.clone().or_else(certificate) {
            request.extensions_mut().insert(CallerName(name));
        }
        let path = request.uri().path();
        let Some((service, method)) = method(path) else {
            let span = tracing::info_span!("call", path = start_of(path));
            if let Err(refused) = admitted {
                span.in_scope(|| log_refusal(&refused));
                return refuse(refused);
            }
            let answer = self.inner.call(request);
            return Box::pin(async move {
                let response = answer.await?;
                if let Some(status) = refusal_of(&response) {
                    span.in_scope(|| log_refusal(&status));
                }
                Ok(response)
            });
        };
        let peer = request.extensions().get::<Peer>();
        let name = token.clone().or_else(|| peer?.name.clone());
        let span = span::begin(service, method, request.headers(), token.as_ref(), peer);
        let mut call = Call::begin(method, token, span.clone(), Arc::clone(&self.calls.metrics));
        if let Err(refused) = admitted {
            call.end(&refused);
            return refuse(refused);
        }
        if let Some(name) = name {
            request.extensions_mut().insert(CallerName(name));
        }
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

/// Answers at once; the body is not read.
fn refuse(refused: Status) -> Answer {
    Box::pin(ready(Ok(refused.into_http())))
}

/// The method of a path and its service; `None` for other services, for methods that do not exist, and for
/// those of the Open Inference Protocol that do no work: probes and clients' questions before it.
fn method(path: &str) -> Option<(&'static str, Method)> {
    let (service, name) = path.strip_prefix('/')?.split_once('/')?;
    let method = Method::ALL.iter().copied().find(|method| method.as_str() == name)?;
    let home = if method == Method::ModelInfer { inference::SERVICE_NAME } else { health::SERVICE_NAME };
    (service == home).then_some((home, method))
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn every_method_of_the_interface_is_counted() {
        let files = prost_types::FileDescriptorSet::decode(sed_proto::FILE_DESCRIPTOR_SET).unwrap();
        let services = files.file.iter().flat_map(|file| &file.service);
        let ours = services.filter(|service| service.name() == "SegmentationService");
        let methods: Vec<_> = ours.flat_map(|service| &service.method).collect();
        assert!(!methods.is_empty());
        for found in methods {
            let path = format!("/sed.v1.SegmentationService/{}", found.name());
            let (service, method) = method(&path).unwrap();
            assert_eq!((service, method.as_str()), ("sed.v1.SegmentationService", found.name()));
        }
        let inference = "inference.GRPCInferenceService";
        assert_eq!(method(&format!("/{inference}/ModelInfer")), Some((inference, Method::ModelInfer)));
        assert_eq!(method(&format!("/{inference}/ServerReady")), None);
        assert_eq!(method(&format!("/{inference}/Segment")), None);
        assert_eq!(method("/sed.v1.SegmentationService/ModelInfer"), None);
        assert_eq!(method("/grpc.health.v1.Health/Check"), None);
        assert_eq!(method("/sed.v1.SegmentationService/Nothing"), None);
    }
}
