//! The body of a stream for the transport, of messages that were read whole.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use tonic::Status;

use super::{
    message_body::MessageBody,
    reader::{Message, MessageCharges, Reader},
};
use crate::memory::Charge;

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
