//! Files that are damaged, or made to do harm.

use super::build::{Builder, Storage, pth, state_dict};
use super::golden;
use crate::checkpoint::Checkpoint;
use crate::error::ModelError;

fn error(bytes: Vec<u8>) -> ModelError {
    Checkpoint::from_bytes(bytes, "evil.pth").unwrap_err()
}

/// The error of a file whose pickle is this.
fn pickle_error(pickle: Builder) -> String {
    error(pth(&pickle.finish(), &[("0", vec![0; 16])])).to_string()
}

#[test]
fn a_pickle_that_names_a_function_is_refused_wherever_it_does() {
    let call = |b: Builder| b.global("os", "system").raw(b"(").text("touch /tmp/owned").raw(b"tR");
    let pickles = [
        call(Builder::new()),
        Builder::new().dict(|b| call(b.text("sem_seg_head.predictor.transformer.head.bias"))),
        // Beside the weights, in what is not read.
        Builder::new().dict(|b| call(b.text("model").raw(b"}").text("optimizer"))),
        // Inside a tensor's arguments, where torch puts an empty OrderedDict.
        Builder::new()
            .dict(|b| call(b.text("w").global("torch._utils", "_rebuild_tensor_v2").raw(b"(")).raw(b"tR")),
        // As an object's class, and by the opcode of protocol 4.
        Builder::new().global("os", "system").raw(&[b')', 0x81]),
        Builder::new().text("os").text("system").raw(&[0x93, b')', b'R']),
    ];
    for pickle in pickles {
        let message = pickle_error(pickle);
        assert!(message.contains("refers to `os.system`") && message.contains("refused"), "{message}");
    }
    for (module, name) in [
        ("builtins", "eval"),
        ("__builtin__", "getattr"),
        ("posix", "system"),
        ("torch", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("torch.hub", "load_state_dict_from_url"),
        ("collections", "namedtuple"),
        ("numpy", "load"),
    ] {
        let message = pickle_error(Builder::new().global(module, name));
        assert!(message.contains(&format!("`{module}.{name}`")), "{message}");
    }
}

#[test]
fn structures_that_grow_without_bound_cost_nothing() {
    // A million nested tuples: a recursive reader's stack would overflow.
    let deep = Builder::new().raw(b")").raw(&vec![0x85; 1_000_000]);
    assert!(pickle_error(deep).contains("more values than those of a checkpoint"));
    // Each tuple holds the one before twice: copies would double 300 times.
    let mut doubling = Builder::new().raw(b")q\0");
    for _ in 0..300 {
        doubling = doubling.raw(b"h\0h\0").raw(&[0x86, b'q', 0]);
    }
    assert!(pickle_error(doubling).contains("does not hold a dictionary"));
    // A dictionary that holds itself.
    let cycle = Builder::new().raw(b"}q\0").text("model").raw(b"h\0s");
    assert!(matches!(error(pth(&cycle.finish(), &[])), ModelError::NotACheckpoint { .. }));
    // Texts that say they have gigabytes.
    for text in [&b"X\xff\xff\xff\xff"[..], b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff"] {
        assert!(pickle_error(Builder::new().raw(text)).contains("ends early"));
    }
    let large = Builder::new().raw(&vec![b'N'; crate::checkpoint::pickle::MAX_PICKLE]);
    assert!(pickle_error(large).contains("more than"));
}

#[test]
fn a_malformed_pickle_says_where() {
    for (bytes, expected) in [
        (&b"\x82"[..], "opcode 0x82 at byte 2"),
        (b"R", "stack is empty"),
        (b"h\x07", "memo 7"),
        (b"t", "a mark is missing"),
        (b"}(Nu", "a key without a value"),
        (b"NNR", "not a function"),
        (b"cos", "ends early"),
    ] {
        let message = pickle_error(Builder::new().raw(bytes));
        assert!(message.contains(expected) && message.contains("`archive/data.pkl`"), "{message}");
    }
}

#[test]
fn a_tensor_that_reaches_out_of_its_storage_is_named() {
    let huge = usize::MAX / 8;
    for (numbers, offset, shape, strides, expected) in [
        (4, 0, &[5][..], &[1][..], "does not fit into the 16 bytes"),
        (4, 1, &[4], &[1], "does not fit"),
        (4, huge, &[1], &[1], "does not fit"),
        (4, 0, &[huge, huge], &[huge, 1], "does not fit"),
        (4, 0, &[2, 2], &[1, 2], "row-major"),
        (4, 0, &[2, 2], &[0, 0], "row-major"),
        (4, 0, &[2, 2], &[2], "row-major"),
    ] {
        let tensor = |b: Builder| b.text("w").tensor("FloatStorage", "0", numbers, offset, shape, strides);
        let message = pickle_error(Builder::new().dict(tensor));
        assert!(message.contains("tensor `w`") && message.contains(expected), "{shape:?}: {message}");
    }
    let missing = Builder::new().dict(|b| b.text("w").tensor("FloatStorage", "../9", 4, 0, &[4], &[1]));
    assert!(pickle_error(missing).contains("`archive/data/../9`, are missing"));
    let short = Builder::new().dict(|b| b.text("w").global("torch._utils", "_rebuild_tensor_v2").raw(b")R"));
    assert!(pickle_error(short).contains("description is too short"));
}

#[test]
fn compressed_entries_are_refused() {
    let mut bytes = state_dict(&[("w", Storage::f32(&[1.0]), &[1])]);
    // Compression methods: bytes 8 and 9 of each local header, 10 and 11 of each entry of the directory.
    for (signature, at) in [(b"PK\x03\x04", 8), (b"PK\x01\x02", 10)] {
        let starts: Vec<usize> =
            (0..bytes.len() - 4).filter(|&start| &bytes[start..start + 4] == signature).collect();
        starts.into_iter().for_each(|start| bytes[start + at] = 8);
    }
    let message = error(bytes).to_string();
    assert!(message.contains("compressed"), "{message}");
}

#[test]
fn files_that_are_cut_short_are_damaged() {
    for name in ["sed_nano.pth", "sed_nano.safetensors"] {
        let whole = std::fs::read(golden(name)).unwrap();
        for length in [whole.len() - 1, whole.len() / 2, 100_000, 100] {
            let cut = error(whole[..length].to_vec());
            assert!(matches!(cut, ModelError::Damaged { .. }), "{name} at {length}: {cut}");
            assert!(cut.to_string().contains("cut short"), "{cut}");
        }
    }
}

#[test]
fn other_files_are_not_checkpoints() {
    for (bytes, expected) in [
        (&b""[..], "empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "before 1.6"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"hello", "starts with [68, 65, 6c, 6c, 6f]"),
        (b"PK\x03\x04", "cut short"),
    ] {
        let message = error(bytes.to_vec()).to_string();
        assert!(message.contains(expected), "{message}");
    }
    assert!(
        error(pth(&Builder::new().raw(b"N").finish(), &[])).to_string().contains("dictionary of weights")
    );
    assert!(error(pth(&Builder::new().raw(b"}").finish(), &[])).to_string().contains("no tensors"));
    let missing = Checkpoint::open(std::path::Path::new("/nonexistent/model.pth")).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read /nonexistent/model.pth"), "{missing}");
}

/// Any change to any byte gives a checkpoint or an error, never a panic, and tensors that can be read.
#[test]
fn changed_bytes_never_panic() {
    let sound =
        state_dict(&[("a", Storage::f32(&[1.0, 2.0]), &[2]), ("b", Storage::f32(&[0.5; 6]), &[2, 3])]);
    let safe = {
        let header = br#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  "#;
        [&(header.len() as u64).to_le_bytes()[..], header, &[0; 8]].concat()
    };
    let mut opened = 0;
    for whole in [sound, safe] {
        for at in 0..whole.len() {
            for change in [1, 0x10, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= change;
                let Ok(checkpoint) = Checkpoint::from_bytes(bytes, "test") else { continue };
                opened += 1;
                for (name, shape) in checkpoint.names_and_shapes() {
                    let numbers = checkpoint.values(&name, &shape).unwrap().len();
                    assert_eq!(numbers, shape.iter().product::<usize>());
                }
            }
        }
    }
    assert!(opened > 100, "changed numbers and names still open: {opened}");
}
