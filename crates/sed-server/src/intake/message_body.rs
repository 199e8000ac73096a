//! The body of one message that was read whole, for the transport.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use tonic::Status;

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

    pub(super) fn next_piece(&mut self) -> Option<Bytes> {
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
