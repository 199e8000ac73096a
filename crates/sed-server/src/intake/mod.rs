//! The way of every call from its headers to its service and back: its messages are read within the account
//! of memory, a deadline and a least rate; they are weighed before anything is built of them; complete
//! requests for masks take a place; the answer keeps what it holds until the client has it.

mod answer;
mod bounds;
mod chunks;
mod message_body;
mod reader;
mod stream_body;
mod unpack;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use http::{Request, Response, request::Parts};
use tokio::time::timeout_at;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service, ServiceExt};

use self::{
    answer::{AnswerBody, AnswerCharge, Held},
    bounds::Bounds,
    reader::{MessageCharges, Reader},
    stream_body::StreamBody,
};
pub(crate) use self::{
    answer::{AnswerCharges, charged},
    bounds::MethodBounds,
    reader::CallMemory,
};
use crate::{
    caller::CallerName,
    calls::Ending,
    connections::Peer,
    cpu_pool::CpuPool,
    deadline::{Deadline, Received, StreamDeadline},
    exchange::Exchange,
    memory::{Account, ConnectionId, Payer},
    places::Places,
    status,
};

/// Memory of a call beside its messages: its task, its headers' map, and small answers, in bytes.
const CALL_BYTES: u64 = 24 << 10;

/// The layer that puts the intake before all services. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    account: Account,
    places: Places,
    pool: CpuPool,
    methods: MethodBounds,
}

impl Intake {
    pub(crate) fn new(account: Account, places: Places, pool: CpuPool, methods: MethodBounds) -> Self {
        Self { shared: Arc::new(Shared { account, places, pool, methods }) }
    }
}

impl<S> Layer<S> for Intake {
    type Service = IntakeService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        IntakeService { shared: Arc::clone(&self.shared), inner }
    }
}

/// A service behind the intake.
#[derive(Clone, Debug)]
pub(crate) struct IntakeService<S> {
    shared: Arc<Shared>,
    inner: S,
}

impl<S> Service<Request<Body>> for IntakeService<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (shared, inner) = (Arc::clone(&self.shared), self.inner.clone());
        Box::pin(async move {
            let Some(bounds) = shared.methods.find(request.uri().path()) else {
                return inner.oneshot(request).await; // there is no such method, which needs no message
            };
            let answered = shared.conduct(bounds, request, inner).await;
            Ok(answered.unwrap_or_else(Status::into_http))
        })
    }
}

impl Shared {
    async fn conduct<S>(
        &self,
        bounds: Bounds,
        request: Request<Body>,
        service: S,
    ) -> Result<Response<Body>, Status>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send,
        S::Future: Send,
    {
        let (mut parts, body) = request.into_parts();
        let is_stream = bounds.is_stream();
        let payer = if is_stream { self.payer(&parts).of_stream() } else { self.payer(&parts) };
        let base = payer.charge(CALL_BYTES + 2 * header_bytes(&parts)).await?;
        let connection = payer.owner().connection;
        let present = (!bounds.is_small()).then(|| self.account.transfers().enter(connection));
        let mut held = Held::new(base, present);
        let encoding = match self.methods.encoding(&bounds, &parts.headers) {
            Ok(encoding) => encoding,
            // The transport says which ways it knows, without looking at the body.
            Err(_unknown) => return Ok(call(service, Request::from_parts(parts, Body::empty())).await),
        };
        parts.headers.remove("grpc-encoding");
        let charges = MessageCharges::default();
        parts.extensions.insert(CallMemory { payer: payer.clone(), messages: charges.clone() });
        // An answer of many messages may last longer than its beginning.
        parts.extensions.insert(StreamDeadline::of(&parts.headers));
        let reader =
            Reader::new(body, bounds, encoding, payer.clone(), self.pool.clone(), self.methods.schema());

        let response = if is_stream {
            // All answers of a stream would be compressed or none, and most are PNG files.
            parts.headers.remove("grpc-accept-encoding");
            let body = Body::new(StreamBody::new(reader, charges));
            call(service, Request::from_parts(parts, body)).await
        } else {
            let deadline = Deadline::of(&parts.headers, bounds.longest);
            parts.extensions.insert(deadline);
            let work = self.answer_one(bounds, parts, (reader, charges), connection, service, &mut held);
            timeout_at(deadline.0, work).await.unwrap_or_else(|_| Err(status::deadline_exceeded()))?
        };
        Ok(self.send(&bounds, response, payer, held))
    }

    /// Reads the one message of a call, and lets the service answer it.
    async fn answer_one<S>(
        &self,
        bounds: Bounds,
        mut parts: Parts,
        (mut reader, charges): (Reader, MessageCharges),
        connection: ConnectionId,
        service: S,
        held: &mut Held,
    ) -> Result<Response<Body>, Status>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send,
        S::Future: Send,
    {
        let body = match reader.only().await? {
            None => Body::empty(),
            Some(message) => {
                let (body, charge) = message.into_body().await?;
                charges.push(charge);
                Body::new(body)
            }
        };
        drop(reader); // a client that sends more has its answer all the same
        parts.extensions.insert(Received(Instant::now()));
        if bounds.takes_place() {
            held.place = Some(self.places.take(connection).await?);
        }
        Ok(call(service, Request::from_parts(parts, body)).await)
    }

    /// Wraps an answer so that it holds its charges and its place until it is sent.
    fn send(&self, bounds: &Bounds, response: Response<Body>, payer: Payer, held: Held) -> Response<Body> {
        let response = if bounds.method.service.ours { explain(bounds, response) } else { response };
        if response.headers().contains_key("grpc-status") {
            return response; // a refusal without a body
        }
        let (transfers, exchange) = (self.account.transfers(), Exchange::current());
        let transfer = if bounds.is_small() {
            transfers.begin_small_answer(payer.owner(), exchange)
        } else {
            transfers.begin_answer(payer.owner(), exchange)
        };
        let (mut parts, body) = response.into_parts();
        let charged = parts.extensions.remove::<AnswerCharge>();
        let streamed = parts.extensions.remove::<AnswerCharges>();
        let ending = parts.extensions.get_or_insert_default::<Ending>().clone();
        let body = AnswerBody::new(body, transfer, payer, held, charged, streamed, ending);
        Response::from_parts(parts, Body::new(body))
    }

    fn payer(&self, parts: &Parts) -> Payer {
        let peer = parts.extensions.get::<Peer>();
        // A server without connections of its own, as in tests, has one for each call.
        let connection = peer.map_or_else(ConnectionId::next, |peer| peer.connection);
        let caller = parts.extensions.get::<CallerName>().map(|caller| Arc::clone(caller.name()));
        Payer::new(self.account.clone(), connection, caller)
    }
}

/// Replaces the transport's own refusals, which say little, by ones that name the limit and blame the
/// message.
fn explain(bounds: &Bounds, response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    if headers.contains_key("grpc-status-details-bin") {
        return response;
    }
    let code = headers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()));
    let explained = code.and_then(|code| status::of_transport(code, bounds.message_bytes));
    explained.map_or(response, Status::into_http)
}

async fn call<S>(service: S, request: Request<Body>) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    service.oneshot(request).await.unwrap_or_else(|never| match never {})
}

/// Bytes of a call's headers as HTTP/2 counts them (RFC 9113, section 6.5.2).
fn header_bytes(parts: &Parts) -> u64 {
    let each = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32);
    each.sum::<usize>() as u64
}
