//! Checkpoints that are damaged, of another model, or hostile: exit code 1 and a message that says what is
//! wrong.

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
};

use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

use crate::support::{Outcome, nano, run, text};

/// Tries to segment with a checkpoint beside the reduced model's configuration.
#[track_caller]
fn refused(checkpoint: &Path) -> String {
    std::fs::copy(nano("config.json"), checkpoint.with_file_name("config.json")).unwrap();
    let picture = nano("img_a.png");
    let arguments = ["--model", text(checkpoint), "--words", "cat", "--no-output"];
    let Outcome { code, stdout, stderr } = run(&[&["segment", text(&picture)][..], &arguments].concat());
    assert_eq!(code, 1, "{stderr}");
    assert_eq!(stdout, "");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}

/// Copies the official checkpoint with another pickle.
fn write_with_pickle(path: &Path, change: impl Fn(&[u8]) -> Vec<u8>) {
    let mut original = ZipArchive::new(File::open(nano("sed_nano.pth")).unwrap()).unwrap();
    let mut copy = ZipWriter::new(File::create(path).unwrap());
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for index in 0..original.len() {
        let mut entry = original.by_index(index).unwrap();
        let name = entry.name().unwrap().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if name.ends_with("data.pkl") {
            content = change(&content);
        }
        copy.start_file(name, stored).unwrap();
        copy.write_all(&content).unwrap();
    }
    copy.finish().unwrap();
}

/// Replaces every `from` by `to`, which is as long.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let mut count = 0;
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + from.len()].copy_from_slice(to);
            count += 1;
        }
    }
    assert!(count > 0, "nothing to replace");
    bytes
}

#[test]
fn truncated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pth");
    let whole = std::fs::read(nano("sed_nano.pth")).unwrap();
    for length in [whole.len() - 30, whole.len() / 2, 40, 0] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let message = refused(&path);
        let clear = message.contains("damaged or cut short") || message.contains("is not a checkpoint");
        assert!(clear && message.contains("model.pth"), "{length} bytes: {message}");
    }
}

#[test]
fn misshapen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pth");
    // Two biases of different lengths change names.
    write_with_pickle(&path, |pickle| {
        let swapped = replaced(pickle, b"stages.0.blocks.0.mlp.fc1.bias", b"stages.0.blocks.0.mlp.fcX.bias");
        let swapped =
            replaced(&swapped, b"stages.0.blocks.0.mlp.fc2.bias", b"stages.0.blocks.0.mlp.fc1.bias");
        replaced(&swapped, b"stages.0.blocks.0.mlp.fcX.bias", b"stages.0.blocks.0.mlp.fc2.bias")
    });
    let message = refused(&path);
    for part in
        ["stages.0.blocks.0.mlp.fc1.bias` has shape [16]; expected [64]", "has shape [64]; expected [16]"]
    {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn of_another_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pth");
    write_with_pickle(&path, |pickle| replaced(pickle, b"sem_seg_head.predictor", b"sem_seg_head.somewhere"));
    let message = refused(&path);
    assert!(message.contains("no key starts with `sem_seg_head.predictor.`"), "{message}");
}

#[test]
fn hostile() {
    let folder = tempfile::tempdir().unwrap();
    let (path, victim) = (folder.path().join("model.pth"), folder.path().join("executed"));
    let command = format!("touch {}", text(&victim));
    let length = (command.len() as u32).to_le_bytes();
    let pickle = [b"\x80\x02cos\nsystem\nX", &length[..], command.as_bytes(), b"\x85R."].concat();
    write_with_pickle(&path, |_| pickle.clone());
    let message = refused(&path);
    assert!(message.contains("`os.system`") && message.contains("nothing in it was executed"), "{message}");
    assert!(!victim.exists());
}

/// The reduced model with a NaN in the first value of a tensor.
fn write_with_nan(path: &Path, name: &str) {
    let mut bytes = std::fs::read(nano("sed_nano.safetensors")).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let tensors: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let at = 8 + header + tensors[name]["data_offsets"][0].as_u64().unwrap() as usize;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn not_finite() {
    const BIAS: &str = "sem_seg_head.predictor.transformer.head.bias";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write_with_nan(&path, BIAS);
    let expected = format!("values that are not finite (NaN or infinite): tensor `{BIAS}`: 1 of 1 values");
    let message = refused(&path);
    assert!(message.contains(&expected), "{message}");

    let output = folder.path().join("converted");
    let converted = run(&["convert", text(&path), "--output", text(&output)]);
    assert_eq!(converted.code, 1);
    assert!(converted.stderr.contains(&expected) && !output.exists(), "{}", converted.stderr);

    let checked = run(&["doctor", "--model", text(&path), "--listen", "127.0.0.1:0", "--ops-listen", "off"]);
    assert_eq!(checked.code, 1);
    assert!(checked.stdout.contains(&expected) && !checked.stdout.contains("panic"), "{}", checked.stdout);
}
