//! The page for browsers at the port of the service: the playground, or a text that explains the port.

mod files;

use std::{
    convert::Infallible,
    future::ready,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Method, Request, Response, StatusCode, Version};
use tonic::body::Body;
use tower::{Layer, Service};

/// The text at `/` where the playground is off.
const EXPLANATION: &str = "\
sed-serve answers gRPC here: open-vocabulary segmentation, sed.v1.SegmentationService.
Its interface explains itself by reflection:

  grpcurl -plaintext HOST:PORT describe sed.v1.SegmentationService

A page for the browser is off; sed-serve serve --playground turns it on.
";

/// The answer to HTTP/1.1 where gRPC-Web is off.
const NO_CALLS: &str = "this server answers calls over HTTP/2 only; the setting grpc_web adds HTTP/1.1\n";

/// Answers GET requests for the page before all other layers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageLayer {
    /// The playground is on.
    pub(crate) playground: bool,
    /// Calls may come over HTTP/1.1.
    pub(crate) http1_calls: bool,
}

impl<S> Layer<S> for PageLayer {
    type Service = Paged<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Paged { layer: *self, inner }
    }
}

/// A service behind the page.
#[derive(Clone, Debug)]
pub(crate) struct Paged<S> {
    layer: PageLayer,
    inner: S,
}

impl<S> Service<Request<Body>> for Paged<S>
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
        match self.layer.answer(&request) {
            Some(answer) => Box::pin(ready(Ok(answer))),
            None => Box::pin(self.inner.call(request)),
        }
    }
}

impl PageLayer {
    /// The answer to a request for the page; `None` to everything else.
    fn answer<B>(self, request: &Request<B>) -> Option<Response<Body>> {
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            let path = request.uri().path();
            let page = match (self.playground, path) {
                (true, _) => files::answer(path, request.headers()),
                (false, "/") => Some(text(StatusCode::OK, EXPLANATION)),
                (false, _) => None,
            };
            if page.is_some() {
                return page;
            }
        }
        let refused = !self.http1_calls && request.version() < Version::HTTP_2;
        refused.then(|| text(StatusCode::HTTP_VERSION_NOT_SUPPORTED, NO_CALLS))
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::new(http_body_util::Full::from(text)));
    *response.status_mut() = status;
    files::set(&mut response, "content-type", "text/plain; charset=utf-8");
    files::set(&mut response, "x-content-type-options", "nosniff");
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(layer: PageLayer, method: Method, path: &str, version: Version) -> Option<StatusCode> {
        let request = Request::builder().method(method).uri(path).version(version).body(()).unwrap();
        layer.answer(&request).map(|answer| answer.status())
    }

    #[test]
    fn only_the_page_is_answered() {
        let on = PageLayer { playground: true, http1_calls: true };
        assert_eq!(status(on, Method::GET, "/", Version::HTTP_11), Some(StatusCode::OK));
        assert_eq!(status(on, Method::HEAD, "/playground.js", Version::HTTP_2), Some(StatusCode::OK));
        assert_eq!(status(on, Method::GET, "/nothing", Version::HTTP_11), None);
        assert_eq!(status(on, Method::POST, "/", Version::HTTP_11), None);
    }

    #[test]
    fn without_the_playground_the_port_explains_itself() {
        let off = PageLayer { playground: false, http1_calls: false };
        assert_eq!(status(off, Method::GET, "/", Version::HTTP_11), Some(StatusCode::OK));
        assert_eq!(status(off, Method::GET, "/playground.js", Version::HTTP_2), None);
        let refused = Some(StatusCode::HTTP_VERSION_NOT_SUPPORTED);
        assert_eq!(
            status(off, Method::POST, "/sed.v1.SegmentationService/Segment", Version::HTTP_11),
            refused
        );
        assert_eq!(status(off, Method::POST, "/sed.v1.SegmentationService/Segment", Version::HTTP_2), None);
    }
}
