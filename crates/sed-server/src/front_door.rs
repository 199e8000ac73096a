//! What happens to every call before and after its service: it gets its deadline, a place among those that
//! are worked on, and, where the transport itself refuses it, an answer in our words.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use sed_proto::v1::ErrorReason;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout_at,
};
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use crate::{deadline::Deadline, limits::Limits, status::Failure};

/// Paths of our own service; its errors carry details.
const OUR_SERVICE: &str = "/sed.v1.SegmentationService/";
/// The call that does work, and holds a place while it does.
const SEGMENT: &str = "/sed.v1.SegmentationService/Segment";

/// Puts the front door before all services. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct FrontDoor {
    places: Arc<Semaphore>,
    concurrent_requests: usize,
    message_bytes: usize,
    longest: Duration,
}

impl FrontDoor {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            places: Arc::new(Semaphore::new(limits.concurrent_requests)),
            concurrent_requests: limits.concurrent_requests,
            message_bytes: limits.message_bytes,
            longest: limits.timeout,
        }
    }

    /// A place is taken before the body is read, so that refused requests cost no memory.
    fn place(&self, path: &str) -> Result<Option<OwnedSemaphorePermit>, Status> {
        if path != SEGMENT {
            return Ok(None);
        }
        Arc::clone(&self.places).try_acquire_owned().map(Some).map_err(|_| {
            let places = self.concurrent_requests;
            let message = format!("the server works on {places} requests already; retry in a moment");
            let failure = Failure::new(ErrorReason::QueueFull, message).with("limit", places);
            failure.retry_after(Duration::from_millis(500)).into_status()
        })
    }

    /// The transport's own refusals say little; these say which limit, and that it is the message's fault.
    fn explain(&self, response: Response<Body>) -> Response<Body> {
        let headers = response.headers();
        if headers.contains_key("grpc-status-details-bin") {
            return response;
        }
        let failure = match headers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes())) {
            Some(Code::OutOfRange) => {
                let limit = self.message_bytes;
                let message =
                    format!("the request message has more than {limit} bytes; send a smaller image");
                Failure::new(ErrorReason::MessageTooLarge, message).with("limit", limit)
            }
            // Our own internal errors carry details, so this is the transport that cannot read the message.
            Some(Code::Internal) => {
                let message = "the message is not what the method takes; check the generated code's version";
                Failure::new(ErrorReason::RequestMalformed, message)
            }
            _ => return response,
        };
        failure.into_status().into_http()
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
        if !path.starts_with(OUR_SERVICE) {
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
                Err(_) => Ok(deadline_exceeded().into_http()),
            }
        })
    }
}

fn deadline_exceeded() -> Status {
    let message = "the deadline passed before the request was finished";
    Failure::new(ErrorReason::DeadlineExceeded, message).into_status()
}
