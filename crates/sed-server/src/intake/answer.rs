//! Answers on their way out, with all that they hold until the client has them.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use prost::Message;
use tonic::{Response, Status, body::Body};

use crate::{
    calls::Ending,
    memory::{Charge, Payer, Present, Transfer},
    places::Place,
};

/// Answers go out in pieces of so many bytes, that of a frame of HTTP/2. Each is a copy, so that what waits
/// in the transport for a client that has stopped reading does not hold the whole answer.
const PIECE: usize = 16 << 10;
/// Bytes that the transport may hold of an answer that has left its body: its buffer of 400 KiB for each
/// stream, and a piece.
const LEFT: u64 = 448 << 10;

/// The charge of an answer, for a response's extensions: it holds the message, and its encoding.
#[derive(Clone, Debug)]
pub(super) struct AnswerCharge(Arc<Mutex<Option<Charge>>>);

impl AnswerCharge {
    fn new(charge: Charge) -> Self {
        Self(Arc::new(Mutex::new(Some(charge))))
    }

    fn take(&self) -> Option<Charge> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Larger answers are not compressed, because that would keep a thread of the sockets busy, on which other
/// calls and probes wait; in bytes.
const MOST_COMPRESSED: usize = 1 << 20;

/// The response of an answer that `charge` holds; `compress` says whether compression would make it smaller.
pub(crate) fn charged<T: Message>(answer: T, charge: Charge, compress: bool) -> Response<T> {
    let compress = compress && answer.encoded_len() <= MOST_COMPRESSED;
    let mut response = Response::new(answer);
    if !compress {
        response.disable_compression();
    }
    response.extensions_mut().insert(AnswerCharge::new(charge));
    response
}

/// The charges of a stream's answers that the transport has taken and not handed on, for a response's
/// extensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct AnswerCharges(Arc<Mutex<Vec<Charge>>>);

impl AnswerCharges {
    /// Adds the charge of an answer that the transport has taken.
    pub(crate) fn push(&self, charge: Charge) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(charge);
    }

    fn take(&self) -> Vec<Charge> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The charge and the place that a call holds until its answer is gone.
#[derive(Debug)]
pub(super) struct Held {
    _base: Charge,
    /// `None` for a call that carries neither picture nor words.
    _present: Option<Present>,
    pub(super) place: Option<Place>,
}

impl Held {
    pub(super) fn new(base: Charge, present: Option<Present>) -> Self {
        Self { _base: base, _present: present, place: None }
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct AnswerBody {
    inner: Body,
    transfer: Transfer,
    payer: Payer,
    _held: Held,
    charged: Option<AnswerCharge>,
    streamed: Option<AnswerCharges>,
    ending: Ending,
    /// The rest of the transport's last frame.
    rest: Bytes,
    /// True if the frame is small enough to be sent whole.
    small: bool,
    paid: Arc<Mutex<Vec<Charge>>>,
}

impl AnswerBody {
    pub(super) fn new(
        inner: Body,
        transfer: Transfer,
        payer: Payer,
        held: Held,
        charged: Option<AnswerCharge>,
        streamed: Option<AnswerCharges>,
        ending: Ending,
    ) -> Self {
        let (rest, paid) = (Bytes::new(), Arc::default());
        Self { inner, transfer, payer, _held: held, charged, streamed, ending, rest, small: true, paid }
    }

    /// Accepts a new frame of the transport, with the charges that hold it.
    fn enter(&mut self, data: Bytes) -> Result<(), Status> {
        let mut charges = self.streamed.as_ref().map(AnswerCharges::take).unwrap_or_default();
        charges.extend(self.charged.take().and_then(|charge| charge.take()));
        let held: u64 = charges.iter().map(Charge::bytes).sum();
        let bytes = data.len() as u64;
        if held < bytes && data.len() > PIECE {
            // A message that no service has paid for, such as a long list.
            let mut more = self.payer.empty();
            more.try_grow(bytes - held).map_err(|shortage| shortage.into_status(bytes - held))?;
            charges.push(more);
        }
        // The message itself is gone: what is left is its encoding.
        let mut left = bytes;
        for charge in &mut charges {
            let kept = charge.bytes().min(left);
            charge.shrink_to(kept);
            left -= kept;
        }
        self.paid = Arc::new(Mutex::new(charges));
        self.small = data.len() <= PIECE;
        self.rest = data;
        Ok(())
    }

    /// Ends the answer with a status.
    fn end(&mut self, status: &Status) -> Result<Frame<Bytes>, Status> {
        self.inner = Body::empty();
        self.ending.note(status);
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers)?;
        Ok(Frame::trailers(trailers))
    }

    fn next_piece(&mut self) -> Bytes {
        if self.small {
            let bytes = std::mem::take(&mut self.rest).into();
            return Piece { bytes, _paid: Arc::clone(&self.paid) }.into_bytes();
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        let bytes = piece.to_vec();
        if self.rest.is_empty() {
            self.rest = Bytes::new();
            let mut charges = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            charges.iter_mut().for_each(|charge| charge.shrink_to(LEFT));
        }
        Piece { bytes, _paid: Arc::clone(&self.paid) }.into_bytes()
    }
}

/// Bytes that hold their answer's charges until the transport has written them.
struct Piece {
    bytes: Vec<u8>,
    _paid: Arc<Mutex<Vec<Charge>>>,
}

impl Piece {
    fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.rest.is_empty() {
            self.transfer.rest(); // the next move is the service's
            match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Ok(data) => {
                        if let Err(status) = self.enter(data) {
                            return Poll::Ready(Some(self.end(&status)));
                        }
                    }
                    Err(trailers) => {
                        self.transfer.complete();
                        return Poll::Ready(Some(Ok(trailers)));
                    }
                },
                other => return Poll::Ready(other),
            }
        }
        let piece = self.next_piece();
        self.transfer.moved(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }
}
