//! The cost of a hostile checkpoint before it is refused is bounded by its own size. A program of its own,
//! because it watches the memory of the process.

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{Cursor, Write};

use peak_alloc::PeakAlloc;
use sed_model::checkpoint::Checkpoint;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;
/// Memory for each byte of the file, and for any file.
const MOST_PER_BYTE: usize = 48;
const MOST: usize = MIB;

fn pth(pickle: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in [("a/data.pkl", pickle), ("a/byteorder", b"little"), ("a/data/0", &[0; 16])] {
        zip.start_file(name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn text(length: usize) -> Vec<u8> {
    [b"X", &(length as u32).to_le_bytes()[..], &vec![b'n'; length]].concat()
}

/// Pickles that ask for much more than they are, by what they repeat.
fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let program = |parts: &[&[u8]]| [&[0x80, 2][..], &parts.concat(), b"."].concat();
    let many = |part: &[u8], times: usize| part.repeat(times);
    // One long name for every entry of a dictionary: what is no tensor is listed by name.
    let named = program(&[b"}(", &text(2 * MIB), b"q\0N", &many(b"h\0N", 300_000), b"u"]);
    // One long shape for every tensor.
    let tensor =
        b"h\x01((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x01tQK\0h\x02h\x02tR";
    let shape = [&b"("[..], &many(b"K\x01", 500_000), b"tq\x02"].concat();
    let function = b"ctorch._utils\n_rebuild_tensor_v2\nq\x01";
    let entries: Vec<u8> = (0..20_000u32)
        .flat_map(|index| {
            [b"X\x04\0\0\0", &index.to_le_bytes().map(|byte| byte % 26 + b'a')[..], tensor].concat()
        })
        .collect();
    let shaped = program(&[&shape, b"0", function, b"0}(", &entries, b"u"]);
    let long_class = [b"ctorch\n", vec![b'F'; 2 * MIB].as_slice(), b"Storage\nq\0"].concat();
    vec![
        ("values", program(&[&many(b"}", MIB)])),
        ("tuples", program(&[b")", &many(&[0x85], MIB)])),
        ("memo", program(&[b"N", &many(&[0x94], MIB)])),
        ("memo of dictionaries", program(&[&many(&[b'}', 0x94], MIB / 2)])),
        ("copies on the stack", program(&[b"N", &many(b"2", MIB)])),
        ("marks", program(&[&many(b"(", MIB)])),
        ("items of a dictionary", program(&[b"}q\0(NN", &many(b"22", MIB / 2), b"u"])),
        ("long names", named),
        ("long shapes", shaped),
        ("calls of a long class", program(&[&long_class, &many(b"h\0)R", 300_000)])),
    ]
}

// One test: the memory count is the whole process's.
#[test]
fn a_bomb_costs_no_more_than_its_size_allows() {
    for (name, pickle) in bombs() {
        let file = pth(&pickle);
        let length = file.len();
        drop(pickle);
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let result = Checkpoint::from_bytes(file, name);
        let taken = MEMORY.peak_usage().saturating_sub(before);
        let most = MOST + MOST_PER_BYTE * length;
        assert!(taken <= most, "{name}: {} MiB for a file of {} KiB", taken / MIB, length >> 10);
        let message = result.unwrap_err().to_string();
        assert!(message.len() < 2000, "{name}: {} bytes of message", message.len());
    }
}
