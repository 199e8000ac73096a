//! Bodies for the transport, of messages that were read whole.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use tonic::Status;

use super::reader::{Message, MessageCharges, Reader};
use crate::memory::Charge;

/// The transport copies a message piece by piece.
const PIECE: usize = 256 << 10;

/// The body of one message, uncompressed.
#[derive(Debug)]
pub(super) struct MessageBody {
    header: Option<Bytes>,
    rest: Bytes,
    /// Pays for the transport's copy until it is the only one.
    _copied: Charge,
}

impl MessageBody {
    pub(super) fn new(message: Bytes, copied: Charge) -> Self {
        let mut header = BytesMut::with_capacity(5);
        header.extend_from_slice(&[0]);
        header.extend_from_slice(&(message.len() as u32).to_be_bytes()); // its limit is below 4 GiB
        Self { header: Some(header.freeze()), rest: message, _copied: copied }
    }

    fn next_piece(&mut self) -> Option<Bytes> {
        if let Some(header) = self.header.take() {
            return Some(header);
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        (!piece.is_empty()).then_some(piece)
    }
}

impl Body for MessageBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.next_piece().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.header.is_none() && self.rest.is_empty()
    }
}

/// A reader with what it read.
type Read = (Reader, Result<Option<(MessageBody, Charge)>, Status>);

/// The body of a stream: each message is read only when the transport asks for it.
pub(super) struct StreamBody {
    charges: MessageCharges,
    state: State,
}

enum State {
    Reading(Pin<Box<dyn Future<Output = Read> + Send>>),
    Handing(Box<(Reader, MessageBody)>),
    Ended,
}

impl StreamBody {
    pub(super) fn new(reader: Reader, charges: MessageCharges) -> Self {
        Self { charges, state: State::Reading(Box::pin(read(reader))) }
    }
}

async fn read(mut reader: Reader) -> Read {
    let next = async {
        let message: Option<Message> = reader.next().await?;
        match message {
            Some(message) => message.into_body().await.map(Some),
            None => Ok(None),
        }
    };
    let next = next.await;
    (reader, next)
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Reading(mut reading) => {
                    let Poll::Ready((reader, next)) = reading.as_mut().poll(context) else {
                        self.state = State::Reading(reading);
                        return Poll::Pending;
                    };
                    match next {
                        Ok(Some((body, charge))) => {
                            self.charges.push(charge);
                            self.state = State::Handing(Box::new((reader, body)));
                        }
                        Ok(None) => return Poll::Ready(None),
                        Err(status) => return Poll::Ready(Some(Err(status))),
                    }
                }
                State::Handing(mut handing) => match handing.1.next_piece() {
                    Some(piece) => {
                        self.state = State::Handing(handing);
                        return Poll::Ready(Some(Ok(Frame::data(piece))));
                    }
                    None => self.state = State::Reading(Box::pin(read(handing.0))),
                },
                State::Ended => return Poll::Ready(None),
            }
        }
    }
}
