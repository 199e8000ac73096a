//! What happens to every call before and after its service: it gets its deadline, a place among those that
//! are worked on, and, where the transport itself refuses it, an answer in our words.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use tokio::time::timeout_at;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use crate::{
    deadline::{Deadline, StreamDeadline},
    limits::Limits,
    places::{Place, Places},
    status,
};

/// Paths of our own services; their errors carry details.
const OUR_SERVICES: [&str; 2] = ["/sed.v1.SegmentationService/", "/inference.GRPCInferenceService/"];
/// The calls that do work, and hold a place while they do.
const WORK: [&str; 2] = ["/sed.v1.SegmentationService/Segment", "/inference.GRPCInferenceService/ModelInfer"];
/// The call whose single requests hold places, and which may last longer than any of them.
const SEGMENT_STREAM: &str = "/sed.v1.SegmentationService/SegmentStream";

/// Puts the front door before all services. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct FrontDoor {
    places: Places,
    message_bytes: usize,
    longest: Duration,
}

impl FrontDoor {
    pub(crate) fn new(limits: &Limits, places: Places) -> Self {
        Self { places, message_bytes: limits.message_bytes, longest: limits.timeout }
    }

    /// A place is taken before the body is read, so that refused requests cost no memory.
    fn place(&self, path: &str) -> Result<Option<Place>, Status> {
        if WORK.contains(&path) { self.places.take().map(Some) } else { Ok(None) }
    }

    /// The transport's own refusals say little; these say which limit, and that it is the message's fault.
    fn explain(&self, response: Response<Body>) -> Response<Body> {
        let headers = response.headers();
        if headers.contains_key("grpc-status-details-bin") {
            return response;
        }
        let code = headers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()));
        let explained = code.and_then(|code| status::of_transport(code, self.message_bytes));
        explained.map_or(response, Status::into_http)
    }
}

impl<S> Layer<S> for FrontDoor {
    type Service = FrontDoorService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        FrontDoorService { door: self.clone(), inner }
    }
}

/// A service behind the front door.
#[derive(Clone, Debug)]
pub(crate) struct FrontDoorService<S> {
    door: FrontDoor,
    inner: S,
}

impl<S> Service<Request<Body>> for FrontDoorService<S>
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

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        if !OUR_SERVICES.iter().any(|service| path.starts_with(service)) {
            return Box::pin(self.inner.call(request));
        }
        if path == SEGMENT_STREAM {
            let deadline = StreamDeadline::of(request.headers());
            request.extensions_mut().insert(deadline);
            // All answers of a stream would be compressed or none, and most are PNG files.
            request.headers_mut().remove("grpc-accept-encoding");
            return Box::pin(self.inner.call(request));
        }
        let place = match self.door.place(path) {
            Ok(place) => place,
            Err(refused) => return Box::pin(async move { Ok(refused.into_http()) }),
        };
        let deadline = Deadline::of(request.headers(), self.door.longest);
        request.extensions_mut().insert(deadline);

        let door = self.door.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let outcome = timeout_at(deadline.0, answer).await;
            drop(place);
            match outcome {
                Ok(response) => response.map(|response| door.explain(response)),
                Err(_) => Ok(status::deadline_exceeded().into_http()),
            }
        })
    }
}
