//! Messages of a few bytes that unpack to very many: they are refused, and need no more memory than a message
//! may have. Each test has a process of its own, because it measures the memory of the process.

use std::{env, io::Read, process::Command};

use flate2::{Compression, read::GzEncoder};
use sed_server::Settings;
use tokio::runtime;
use tonic::Code;

use super::raw;
use crate::harness::{Running, facts, metadata, request};

#[global_allocator]
static ALLOCATED: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

const MIB: usize = 1 << 20;
/// Size of the unpacked bomb, in bytes.
const UNPACKED: u64 = 1 << 30;
const LIMIT: usize = 4 * MIB;
/// Bound on the memory that the bomb needs. Unpacked bytes lie in pieces until they are known to fit; the
/// rest is for decoders, connections and tasks. The client's own copy counts, too.
const MOST: usize = 3 * LIMIT + 12 * MIB;
/// Set in a process that runs one test of this file.
const ALONE: &str = "BOMB_ALONE";

/// Runs `body`, the test called `name`, in a process of its own: this program again, for that test alone.
fn alone(name: &str, body: impl Future<Output = ()>) {
    if env::var_os(ALONE).is_some() {
        return runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(body);
    }
    let (_, module) = module_path!().split_once("::").unwrap();
    let mut again = Command::new(env::current_exe().unwrap());
    let ended = again.arg(format!("{module}::{name}")).arg("--exact").env(ALONE, "1").output().unwrap();
    let said =
        [ended.stdout, ended.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(ended.status.success() && said.contains("1 passed"), "{said}");
}

fn packed(way: &str) -> Vec<u8> {
    let zeros = std::io::repeat(0).take(UNPACKED);
    let mut packed = Vec::new();
    match way {
        "gzip" => drop(GzEncoder::new(zeros, Compression::fast()).read_to_end(&mut packed).unwrap()),
        _ => zstd::stream::copy_encode(zeros, &mut packed, 1).unwrap(),
    }
    packed
}

#[test]
fn a_bomb_is_refused_and_takes_no_memory() {
    alone("a_bomb_is_refused_and_takes_no_memory", async {
        let server = Running::start(Settings { max_message_bytes: LIMIT, ..Settings::default() }).await;
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
    });
}

#[test]
fn entries_that_multiply_in_memory_are_counted_before_they_are_built() {
    alone("entries_that_multiply_in_memory_are_counted_before_they_are_built", async {
        let server = Running::start(Settings::default()).await;
        server.segment(request(3)).await.unwrap();
        // Lists of empty entries, of two bytes each: inputs of ModelInfer, and categories.
        let empty = |tag: u8, bytes: usize| [tag, 0].repeat(bytes / 2);
        let list = |bytes: usize| {
            let mut list = vec![0x0a, 0x80, 0x80, 0x80, 0x0c]; // a field of 24 MiB
            list.extend(empty(0x0a, bytes));
            list
        };
        let bombs = [
            ("/inference.GRPCInferenceService/ModelInfer", empty(0x2a, 24 * MIB)),
            ("/sed.v1.SegmentationService/CreateVocabulary", list(24 * MIB)),
        ];
        for (path, message) in bombs {
            let mut packed = Vec::new();
            GzEncoder::new(message.as_slice(), Compression::best()).read_to_end(&mut packed).unwrap();
            drop(message);
            assert!(packed.len() < 64 << 10);
            let before = ALLOCATED.current_usage();
            ALLOCATED.reset_peak_usage();
            let framed = raw::frame(true, &packed);
            let answer = raw::call(server.address, path, &[("grpc-encoding", "gzip")], framed).await;
            let taken = ALLOCATED.peak_usage().saturating_sub(before);
            let (code, reason, _) = facts(&answer.status);
            assert_eq!((code, reason.as_str()), (Code::OutOfRange, "MESSAGE_TOO_LARGE"), "{path}");
            assert!(taken < 96 * MIB, "{path}: {} MiB", taken / MIB);
        }
        server.segment(request(3)).await.unwrap();
    });
}
