//! A few bytes that unpack to very many are refused, and take no more memory than a message may have. A program of
//! its own, because it watches the memory of the process.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // helpers of tests fail their test

use std::io::Read;

use flate2::{Compression, read::GzEncoder};
use sed_server::config::RawConfig;
use tonic::Code;

use harness::{Running, facts, metadata, request};

#[allow(dead_code)] // the other tests use the rest
#[path = "server/harness.rs"]
mod harness;
#[allow(dead_code)] // the same
#[path = "server/images.rs"]
mod images;
#[allow(dead_code)] // the same
#[path = "transport/raw.rs"]
mod raw;

#[global_allocator]
static ALLOCATED: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

const MIB: usize = 1 << 20;
/// What the bomb unpacks to.
const UNPACKED: u64 = 1 << 30;
const LIMIT: usize = 4 * MIB;
/// A buffer that grows takes twice its bytes; the rest is for connections and tasks.
const MOST: usize = 3 * LIMIT + 4 * MIB;

fn packed(way: &str) -> Vec<u8> {
    let zeros = std::io::repeat(0).take(UNPACKED);
    let mut packed = Vec::new();
    match way {
        "gzip" => drop(GzEncoder::new(zeros, Compression::fast()).read_to_end(&mut packed).unwrap()),
        _ => zstd::stream::copy_encode(zeros, &mut packed, 1).unwrap(),
    }
    packed
}

#[tokio::test]
async fn a_bomb_is_refused_and_takes_no_memory() {
    let server = Running::start(RawConfig { max_message_bytes: Some(LIMIT), ..RawConfig::default() }).await;
    server.segment(request(3)).await.unwrap();
    for way in ["zstd", "gzip"] {
        let mut bomb = packed(way);
        if bomb.len() > LIMIT {
            bomb.truncate(LIMIT); // gzip packs to a thousandth; its beginning unpacks to enough
        }
        let framed = raw::frame(true, &bomb);
        drop(bomb);
        let before = ALLOCATED.current_usage();
        ALLOCATED.reset_peak_usage();
        let answer = raw::segment(server.address, &[("grpc-encoding", way)], framed).await;
        let taken = ALLOCATED.peak_usage().saturating_sub(before);
        let refused = (Code::OutOfRange, "MESSAGE_TOO_LARGE".into(), String::new());
        assert_eq!(facts(&answer.status), refused, "{way}");
        assert_eq!(metadata(&answer.status, "limit"), Some(LIMIT.to_string()));
        assert!(taken < MOST, "{way}: {} MiB for a limit of {} MiB", taken / MIB, LIMIT / MIB);
    }
    server.segment(request(3)).await.unwrap();
}
