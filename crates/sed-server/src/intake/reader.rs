//! Messages of a call, read from its body within the account, a size, and a least rate of progress.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body as _;
use sed_proto::v1::ErrorReason;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Status, body::Body};

use super::{bounds::Bounds, chunks::Chunks, message_body::MessageBody, unpack::unpack};
use crate::{
    config::Compression,
    cpu_pool::{CpuPool, Load, Panicked},
    memory::{Account, Charge, ConnectionId, LEAST_RATE, Payer, Promise, Transfer},
    metrics::TransferEnd,
    status::{self, Failure},
    wire::{Malformed, Schema},
};

/// The bytes before every message: whether it is compressed, and its length.
const HEADER: usize = 5;
/// A stream without a message for so long is ended.
const STREAM_IDLE: Duration = Duration::from_secs(600);
/// Interval at which an upload that waits for others to end is tried again.
const AGAIN: Duration = Duration::from_millis(50);
/// A message that needs more than this waits for room before it is read, in bytes.
const LARGE: u64 = 512 << 10;
/// Messages that cannot become larger are unpacked at once, others on the threads for work on pixels: a small
/// one may become a large one.
const UNPACKED_HERE: usize = 64 << 10;
/// The most bytes that gzip makes of one.
const MOST_PACKED: usize = 1032;

/// A call's access to the account. Travels in a request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct CallMemory {
    pub(crate) payer: Payer,
    /// The charges of its messages.
    pub(crate) messages: MessageCharges,
}

impl CallMemory {
    /// Returns the access of a call that came through the intake; any other call pays as a connection of its
    /// own.
    pub(crate) fn of<T>(request: &tonic::Request<T>, account: &Account) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_else(|| Self {
            payer: Payer::new(account.clone(), ConnectionId::next(), None),
            messages: MessageCharges::default(),
        })
    }

    /// The connection that pays.
    pub(crate) fn connection(&self) -> ConnectionId {
        self.payer.owner().connection
    }

    /// The access of one message of a stream, which `charge` pays for.
    pub(crate) fn of_message(payer: Payer, charge: Option<Charge>) -> Self {
        let messages = MessageCharges::default();
        charge.into_iter().for_each(|charge| messages.push(charge));
        Self { payer, messages }
    }
}

/// Charges of messages that were handed to a service, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct MessageCharges(Arc<Mutex<VecDeque<Charge>>>);

impl MessageCharges {
    pub(super) fn push(&self, charge: Charge) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(charge);
    }

    /// The charge of the next message.
    pub(crate) fn next(&self) -> Option<Charge> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// A whole message as it came.
struct OnWire {
    is_packed: bool,
    bytes: Bytes,
    charge: Charge,
    promise: Option<Promise>,
}

/// A whole message, unpacked and weighed, with the charge that holds it and what will be built of it.
#[derive(Debug)]
pub(super) struct Message {
    bytes: Bytes,
    payer: Payer,
    charge: Charge,
    /// Of room for the transport's copy.
    _promise: Option<Promise>,
}

impl Message {
    /// Returns a body of this one message for the transport, which copies it, and the charge of what the
    /// service gets.
    pub(super) async fn into_body(self) -> Result<(MessageBody, Charge), Status> {
        let copied = self.payer.charge(self.bytes.len() as u64).await?;
        Ok((MessageBody::new(self.bytes, copied), self.charge))
    }
}

/// Reads the messages of one call.
#[derive(Debug)]
pub(super) struct Reader {
    body: Body,
    /// Bytes that came behind the last message in the same frame.
    rest: BytesMut,
    bounds: Bounds,
    packing: Option<Compression>,
    payer: Payer,
    pool: CpuPool,
    schema: Arc<Schema>,
}

impl Reader {
    pub(super) fn new(
        body: Body,
        bounds: Bounds,
        packing: Option<Compression>,
        payer: Payer,
        pool: CpuPool,
        schema: Arc<Schema>,
    ) -> Self {
        Self { body, rest: BytesMut::new(), bounds, packing, payer, pool, schema }
    }

    /// The only message of a call; `None` if the body ends before it.
    pub(super) async fn only(&mut self) -> Result<Option<Message>, Status> {
        let upload = self.begin_upload().await?;
        self.message(upload).await
    }

    /// The next message of a stream; `None` at its end.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, Status> {
        if self.rest.is_empty() {
            let frame = timeout(STREAM_IDLE, self.frame()).await;
            match frame.map_err(|_| status::reconnect("the stream was idle"))?? {
                Some(frame) => self.rest.extend_from_slice(&frame),
                None => return Ok(None),
            }
        }
        let upload = self.begin_upload().await?;
        self.message(upload).await
    }

    /// Begins the upload of a message. Where there are too many, it waits a moment for one that is slow to
    /// end; what the client sends meanwhile stays in its windows.
    async fn begin_upload(&mut self) -> Result<Transfer, Status> {
        let (transfers, owner) = (self.payer.account().transfers(), self.payer.owner());
        if self.bounds.is_small() {
            return Ok(transfers.begin_small_upload(owner));
        }
        let give_up = Instant::now() + self.payer.patience();
        loop {
            if let Some(upload) = transfers.begin_upload(owner) {
                return Ok(upload);
            }
            if Instant::now() >= give_up {
                return Err(status::too_many_uploads());
            }
            sleep(AGAIN).await;
        }
    }

    async fn message(&mut self, upload: Transfer) -> Result<Option<Message>, Status> {
        let ended = upload.ended();
        let read = tokio::select! {
            read = self.read(&upload) => read?,
            why = ended => return Err(ended_upload(why)),
        };
        upload.rest(); // what follows is the server's work
        let Some(OnWire { is_packed, bytes, charge, promise }) = read else { return Ok(None) };
        let (bytes, mut charge) = if is_packed { self.unpack(bytes, charge).await? } else { (bytes, charge) };
        let weight = self.schema.weigh(self.bounds.input, &bytes, self.bounds.entries);
        let weight = weight.map_err(|Malformed| status::malformed())?;
        if weight.counted() > self.bounds.entries {
            return Err(too_many_entries(self.bounds.entries));
        }
        charge.grow(weight.bytes).await?;
        upload.complete();
        Ok(Some(Message { bytes, payer: self.payer.clone(), charge, _promise: promise }))
    }

    /// One message as it is on the wire.
    async fn read(&mut self, upload: &Transfer) -> Result<Option<OnWire>, Status> {
        upload.moved(self.rest.len() as u64);
        upload.rest();
        while self.rest.len() < HEADER {
            let Some(frame) = self.progress(upload).await? else {
                return if self.rest.is_empty() { Ok(None) } else { Err(self.cut_short()) };
            };
            self.rest.extend_from_slice(&frame);
        }
        let is_packed = match self.rest.get_u8() {
            0 => false,
            1 if self.packing.is_some() => true,
            _ => return Err(status::malformed()),
        };
        let length = self.rest.get_u32() as usize;
        if length > self.bounds.message_bytes {
            return Err(status::message_too_large(self.bounds.message_bytes));
        }
        // Its pieces, and then the whole beside them.
        let needed = 2 * length as u64;
        let begun = Instant::now();
        let mut promise = if needed > LARGE { Some(self.payer.promise(needed).await?) } else { None };
        let mut chunks = Chunks::new(self.payer.empty());
        let mut frame = std::mem::take(&mut self.rest).freeze();
        loop {
            let here = frame.split_to(frame.len().min(length - chunks.len()));
            let cost = chunks.cost(here.len(), length);
            chunks.charge().grow(cost).await?;
            chunks.append(&here, length);
            if let Some(promise) = &mut promise {
                promise.lower_to(needed.saturating_sub(chunks.charge().bytes()), begun.elapsed());
            }
            if chunks.len() == length {
                break;
            }
            frame = self.progress(upload).await?.ok_or_else(|| self.cut_short())?;
        }
        self.rest = BytesMut::from(frame);
        let join = chunks.cost_to_join();
        chunks.charge().grow(join).await?;
        let (bytes, charge) = chunks.join();
        Ok(Some(OnWire { is_packed, bytes, charge, promise }))
    }

    async fn unpack(&mut self, packed: Bytes, charge: Charge) -> Result<(Bytes, Charge), Status> {
        let Some(packing) = self.packing else { return Err(status::malformed()) };
        let (limit, account) = (self.bounds.message_bytes, self.payer.empty());
        let is_small = limit <= UNPACKED_HERE;
        let most = match packing {
            Compression::Gzip => packed.len().saturating_mul(MOST_PACKED),
            Compression::Zstd => limit,
        };
        let bytes = limit.min(most) as u64;
        let load = Load { connection: self.payer.owner().connection, bytes };
        let work = move || {
            let unpacked = unpack(packing, &packed, limit, account);
            drop((packed, charge));
            unpacked
        };
        if is_small {
            work()
        } else {
            self.pool.run_unseen(load, work).await.map_err(|Panicked| status::panicked())?
        }
    }

    /// The next frame of a message that has begun.
    async fn progress(&mut self, upload: &Transfer) -> Result<Option<Bytes>, Status> {
        upload.wait();
        let frame = self.frame().await?;
        upload.moved(frame.as_ref().map_or(0, Bytes::len) as u64);
        upload.rest();
        Ok(frame)
    }

    /// The next frame with data; `None` at the end of the body.
    async fn frame(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            match poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Ok(Some(data)),
                    _ => {} // an empty frame, or trailers, which requests have no use for
                },
                Some(Err(_)) => return Err(gone()),
                None => return Ok(None),
            }
        }
    }

    /// The error of a body that ends within a message: by its client's mistake, or because the client has
    /// gone. hyper ends the body in both cases; only a mistake has an end of the stream.
    fn cut_short(&mut self) -> Status {
        if self.body.is_end_stream() { status::malformed() } else { gone() }
    }
}

/// The answer to an upload that was ended.
fn ended_upload(why: TransferEnd) -> Status {
    match why {
        TransferEnd::Stalled => {
            let message =
                format!("the upload moved fewer than {LEAST_RATE} bytes/s; send it over a faster line");
            Failure::new(ErrorReason::UploadTooSlow, message).into_status()
        }
        TransferEnd::Crowded => {
            let message = "other requests needed the memory or the place of this upload, and it was the slowest; \
                           send it again";
            Failure::new(ErrorReason::UploadTooSlow, message).into_status()
        }
    }
}

fn too_many_entries(limit: u64) -> Status {
    let message = format!("the message has more than {limit} entries in its lists; send fewer words");
    Failure::new(ErrorReason::MessageTooLarge, message)
        .with("unit", "entries")
        .with("limit", limit)
        .into_status()
}

/// The client has gone, so this answer is for the account of calls only.
fn gone() -> Status {
    Status::cancelled("the client has gone before the end of its request")
}
