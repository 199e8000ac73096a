//! The account of every call of our service: counted when it ends, whatever its end, with one span that
//! continues the caller's trace.

mod body;
mod call;
mod rest;
mod span;

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use sed_engine::metrics::{Label, Method};
use tonic::{Status, body::Body};
use tower::{Layer, Service};
use tracing::Instrument;

use self::{
    body::{AnswerBody, RequestBody},
    call::Call,
};

/// Paths of our own service.
const OUR_SERVICE: &str = "/sed.v1.SegmentationService/";

/// Puts the account before all services and before what may refuse a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calls;

impl<S> Layer<S> for Calls {
    type Service = CallsService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CallsService { inner }
    }
}

/// A service whose calls are accounted for.
#[derive(Clone, Debug)]
pub(crate) struct CallsService<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for CallsService<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(method) = method(request.uri().path()) else { return Box::pin(self.inner.call(request)) };
        let span = span::begin(method, request.headers());
        let mut call = Call::begin(method, span.clone());
        let request = request.map(|body| Body::new(RequestBody::new(body, call.received())));
        let answer = span.in_scope(|| self.inner.call(request));
        let accounted = async move {
            let response = answer.await?;
            // An error without any answer has its status in the headers; all else tells it at its end.
            if let Some(status) = Status::from_header_map(response.headers()) {
                call.end(&status);
                return Ok(response);
            }
            Ok(response.map(|body| Body::new(AnswerBody::new(body, call))))
        };
        Box::pin(accounted.instrument(span))
    }
}

/// The method of a path; `None` for other services and for methods that do not exist.
fn method(path: &str) -> Option<Method> {
    let name = path.strip_prefix(OUR_SERVICE)?;
    Method::ALL.iter().copied().find(|method| method.as_str() == name)
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
            let path = format!("{OUR_SERVICE}{}", found.name());
            assert_eq!(method(&path).map(Label::as_str), Some(found.name()));
        }
        assert_eq!(method("/grpc.health.v1.Health/Check"), None);
        assert_eq!(method("/sed.v1.SegmentationService/Nothing"), None);
    }
}
