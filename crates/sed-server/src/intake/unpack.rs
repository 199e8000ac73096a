//! Compressed messages, unpacked within the account.

use std::io::{self, Read};

use bytes::Bytes;
use sed_proto::v1::ErrorReason;
use tonic::Status;

use super::chunks::Chunks;
use crate::{
    config::Compression,
    memory::Charge,
    status::{self, Failure},
};

/// Bytes that a decoder reads at a time.
const PIECE: usize = 32 << 10;
/// The largest window of zstd that is accepted, as a power of two: 8 MiB, that of its level 19. Its format
/// allows 128 MiB to be asked for by a message of some bytes.
const ZSTD_WINDOW_LOG: u32 = 23;
/// Memory of a decoder beside its output, in bytes.
const GZIP_STATE: u64 = 64 << 10;
const ZSTD_STATE: u64 = (1 << ZSTD_WINDOW_LOG) + (512 << 10);

/// Unpacks a message to at most `limit` bytes, charged to `charge` as they come.
pub(super) fn unpack(
    packing: Compression,
    packed: &[u8],
    limit: usize,
    charge: Charge,
) -> Result<(Bytes, Charge), Status> {
    let mut chunks = Chunks::new(charge);
    let state = match packing {
        Compression::Gzip => GZIP_STATE,
        Compression::Zstd => ZSTD_STATE.min(GZIP_STATE + 4 * limit as u64),
    };
    pay(&mut chunks, state)?;
    let unpacked = match packing {
        Compression::Gzip => read(flate2::read::MultiGzDecoder::new(packed), limit, &mut chunks),
        Compression::Zstd => {
            zstd(packed).map_err(|error| broken(&error)).and_then(|decoder| read(decoder, limit, &mut chunks))
        }
    };
    unpacked?;
    let join = chunks.cost_to_join();
    pay(&mut chunks, join)?;
    Ok(chunks.join())
}

fn zstd(packed: &[u8]) -> io::Result<zstd::stream::read::Decoder<'static, &[u8]>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

fn read(mut decoder: impl Read, limit: usize, chunks: &mut Chunks) -> Result<(), Status> {
    let mut piece = vec![0; PIECE];
    loop {
        let count = decoder.read(&mut piece).map_err(|error| broken(&error))?;
        if count == 0 {
            return Ok(());
        }
        if chunks.len() + count > limit {
            return Err(status::message_too_large(limit));
        }
        let cost = chunks.cost(count, limit);
        pay(chunks, cost)?;
        chunks.append(&piece[..count], limit);
    }
}

fn pay(chunks: &mut Chunks, bytes: u64) -> Result<(), Status> {
    chunks.charge().try_grow(bytes).map_err(|shortage| shortage.into_status(bytes))
}

fn broken(error: &io::Error) -> Status {
    let message =
        format!("the compressed message cannot be unpacked: {error}; send it again, or uncompressed");
    Failure::new(ErrorReason::RequestMalformed, message).into_status()
}
