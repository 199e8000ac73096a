mod build;
mod hostile;

use std::path::PathBuf;

use candle_core::{DType, Device};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::*;
use build::{Storage, pth, state_dict};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/nano").join(name)
}

fn nano() -> Checkpoint {
    Checkpoint::open(&golden("sed_nano.safetensors")).unwrap()
}

const BIAS: &str = "sem_seg_head.predictor.transformer.head.bias";

#[test]
fn an_official_pth_holds_the_same_as_its_safetensors() {
    let (pth, safe) = (Checkpoint::open(&golden("sed_nano.pth")).unwrap(), nano());
    assert_eq!(pth.names_and_shapes(), safe.names_and_shapes());
    assert_eq!(pth.ignored(), ["iteration"]);
    for (name, shape) in safe.names_and_shapes() {
        assert_eq!(pth.values(&name, &shape).unwrap(), safe.values(&name, &shape).unwrap(), "{name}");
    }
    let config = pth.config().unwrap();
    assert_eq!(config, safe.config().unwrap());
    let digest = pth.digest(&config).unwrap();
    assert_eq!(digest, safe.digest(&config).unwrap());
    assert!(digest.starts_with("sha256:") && digest.len() == 7 + 64, "{digest}");
    let fit = pth.check(&pth.config().unwrap()).unwrap();
    assert_eq!(fit.unused, ["sem_seg_head.predictor.clip_model.logit_scale"]);
    assert_eq!(fit.ignored, ["iteration"]);
}

#[test]
fn the_digest_tells_any_change_of_the_weights() {
    let bytes = std::fs::read(golden("sed_nano.safetensors")).unwrap();
    let mut changed = bytes.clone();
    *changed.last_mut().unwrap() ^= 1;
    let config = nano().config().unwrap();
    let digest = |bytes: Vec<u8>| Checkpoint::from_bytes(bytes, "test").unwrap().digest(&config).unwrap();
    assert_eq!(digest(bytes.clone()), nano().digest(&config).unwrap());
    assert_ne!(digest(changed), digest(bytes));
}

#[test]
fn the_digest_tells_any_change_of_the_sizes_but_not_of_the_name() {
    let (nano, usual) = (nano(), nano().config().unwrap());
    let mut digests = vec![nano.digest(&usual).unwrap()];
    // No shape of a tensor tells these.
    let mut heads = usual.clone();
    heads.text.heads = if usual.text.heads == 2 { 4 } else { 2 };
    let mut attention = usual.clone();
    attention.decoder.attention_heads = if usual.decoder.attention_heads == 2 { 4 } else { 2 };
    let larger = SedConfig { image_size: usual.image_size * 2, ..usual.clone() };
    for changed in [heads, attention, larger] {
        changed.validate().unwrap();
        nano.check(&changed).unwrap();
        let digest = nano.digest(&changed).unwrap();
        assert!(!digests.contains(&digest), "{changed:?}");
        digests.push(digest);
    }
    let renamed = SedConfig { name: "another".into(), ..usual };
    assert_eq!(nano.digest(&renamed).unwrap(), digests[0]);
}

#[test]
fn sizes_have_one_canonical_text() {
    let json = SedConfig::sed_b().canonical_json();
    assert!(json.starts_with(r#"{"decoder":{"attention_heads":4,"corr_guidance_dims":[32,16,8],"#), "{json}");
    assert!(!json.contains("sed-b") && !json.contains(' '), "{json}");
}

#[test]
fn a_missing_or_misshapen_tensor_is_named_with_what_was_expected() {
    let nano = nano();
    let message = nano.tensor("head.bias", &[1]).unwrap_err().to_string();
    assert_eq!(message, "tensor `head.bias` is missing; expected it with shape [1]");
    let message = nano.tensor(BIAS, &[2]).unwrap_err().to_string();
    assert_eq!(message, format!("tensor `{BIAS}` has shape [1]; expected [2]"));
    let device = Device::Cpu;
    let message = Weights::new(&nano, &device).at("transformer").tensor("head.bias", &[3]).unwrap_err();
    assert_eq!(message.to_string(), format!("tensor `{BIAS}` has shape [1]; expected [3]"));
}

#[test]
fn every_disagreement_with_a_configuration_is_named() {
    let nano = nano();
    let mut config = nano.config().unwrap();
    config.vision.depths = [1, 1, 1, 2];
    config.text.layers = 2;
    config.decoder.dims[2] = 32;
    let message = nano.check(&config).unwrap_err().to_string();
    let visual = "sem_seg_head.predictor.clip_model.visual.trunk.stages";
    for expected in [
        format!("tensor `{visual}.3.blocks.1.gamma` is missing; expected it with shape [128]"),
        "tensor `sem_seg_head.predictor.transformer.decoder3.conv.double_conv.1.weight` has shape [16]; expected [32]"
            .to_owned(),
    ] {
        assert!(message.contains(&expected), "{message}");
    }
    config.decoder.dims[2] = 16;
    config.vision.depths = [1, 1, 1, 1];
    let message = nano.check(&config).unwrap_err().to_string();
    assert!(
        message.contains(&format!("tensor `{visual}.2.blocks.1.gamma` with shape [64] is unknown")),
        "{message}"
    );
    let message = nano.check(&SedConfig::sed_b()).unwrap_err().to_string();
    assert!(message.lines().count() == 22 && message.contains("more"), "{message}");
}

#[test]
fn a_wrong_prefix_is_told_from_a_damaged_model() {
    let bytes = state_dict(&[("backbone.conv1.weight", Storage::f32(&[1.0, 2.0]), &[2])]);
    let checkpoint = Checkpoint::from_bytes(bytes, "other.pth").unwrap();
    for error in [checkpoint.config().unwrap_err(), checkpoint.check(&SedConfig::sed_b()).unwrap_err()] {
        let message = error.to_string();
        assert!(
            message.contains("backbone.conv1.weight") && message.contains("sem_seg_head.predictor"),
            "{message}"
        );
    }
}

#[test]
fn a_bare_state_dict_and_a_wrapped_one_are_read() {
    for prefix in ["", "module.", "_orig_mod.", "model.", "module._orig_mod.", "model.module."] {
        let name = format!("{prefix}a.weight");
        let bytes = state_dict(&[(&name, Storage::f32(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), &[2, 3])]);
        let checkpoint = Checkpoint::from_bytes(bytes, "test").unwrap();
        assert_eq!(checkpoint.values("a.weight", &[2, 3]).unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }
    let names = [("model.a", Storage::f32(&[1.0]), &[1][..]), ("b", Storage::f32(&[1.0]), &[1])];
    let checkpoint = Checkpoint::from_bytes(state_dict(&names), "test").unwrap();
    assert!(
        checkpoint.names_and_shapes().keys().eq(["b", "model.a"]),
        "a prefix of some is part of the names"
    );
}

/// A dictionary at the root with these keys, each a dictionary with a tensor `w` that holds its key's index.
fn containers(keys: &[&str]) -> Result<Checkpoint> {
    let pickle = build::Builder::new().dict(|mut b| {
        b = b.text("epoch").size(7).text("args").dict(|b| b.text("lr").size(1));
        for (index, key) in keys.iter().enumerate() {
            b = b.text(key).dict(|b| b.text("w").tensor("FloatStorage", "0", 10, index, &[1], &[1]));
        }
        b
    });
    let numbers: Vec<f32> = (0..10).map(|i| i as f32).collect();
    Checkpoint::from_bytes(pth(&pickle.finish(), &[("0", Storage::f32(&numbers).bytes)]), "train.pth")
}

#[test]
fn the_usual_containers_are_read() {
    for key in ["model", "state_dict", "model_state_dict", "ema", "model_ema", "student"] {
        let checkpoint = containers(&[key]).unwrap();
        assert_eq!(checkpoint.values("w", &[1]).unwrap(), [0.0], "{key}");
        assert_eq!(checkpoint.ignored(), ["args", "epoch"], "{key}");
    }
    // Not the averaged weights, nor any that happen to be there, where there are those that were trained.
    let checkpoint = containers(&["ema", "teacher", "state_dict"]).unwrap();
    assert_eq!(checkpoint.values("w", &[1]).unwrap(), [2.0]);
    assert_eq!(checkpoint.ignored(), ["args", "ema", "epoch", "teacher"]);
    let message = containers(&["student", "teacher"]).unwrap_err().to_string();
    assert!(
        message.contains("under several keys, `student`, `teacher`, and none is a usual one"),
        "{message}"
    );
    let message = containers(&[]).unwrap_err().to_string();
    assert!(message.contains("it holds no tensors (its keys are `epoch`, `args`)"), "{message}");
}

#[test]
fn a_container_in_a_container_is_read() {
    let inner = |b: build::Builder| b.text("w").tensor("FloatStorage", "0", 1, 0, &[1], &[1]);
    let nested = build::Builder::new()
        .dict(|b| b.text("state_dict").dict(|b| b.text("model").dict(inner).text("step").size(1)));
    let bytes = pth(&nested.finish(), &[("0", Storage::f32(&[4.0]).bytes)]);
    let checkpoint = Checkpoint::from_bytes(bytes, "test").unwrap();
    assert_eq!(checkpoint.values("w", &[1]).unwrap(), [4.0]);
    assert_eq!(checkpoint.ignored(), ["step"]);
}

#[test]
fn archives_of_other_things_are_named() {
    let archive =
        |names: &[&str]| build::archive(&names.iter().map(|&name| (name, &b"x"[..])).collect::<Vec<_>>());
    let message = |bytes| Checkpoint::from_bytes(bytes, "file").unwrap_err().to_string();
    let script = message(archive(&["m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"]));
    assert!(script.contains("TorchScript") && script.contains("state_dict()"), "{script}");
    let zipped = message(archive(&["readme.txt", "weights/sed_b.pth"]));
    assert!(zipped.contains("a zip archive with `weights/sed_b.pth` in it (unpack it"), "{zipped}");
    let other = message(archive(&["a.txt"]));
    assert!(other.contains("a zip archive without `data.pkl`"), "{other}");
}

/// The reduced model with some values of tensors replaced.
fn nano_with(values: &[(&str, usize, f32)]) -> Checkpoint {
    let mut bytes = std::fs::read(golden("sed_nano.safetensors")).unwrap();
    for &(name, index, value) in values {
        let at = nano().tensors[name].range.start + 4 * index;
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    Checkpoint::from_bytes(bytes, "damaged").unwrap()
}

const CONV: &str = "sem_seg_head.predictor.transformer.conv1.weight";

#[test]
fn weights_that_are_not_finite_are_named_and_counted() {
    nano().check_finite().unwrap();
    let damaged = nano_with(&[(BIAS, 0, f32::NAN), (CONV, 3, f32::INFINITY), (CONV, 9, f32::NEG_INFINITY)]);
    let config = nano().config().unwrap();
    let of = nano().tensors[CONV].range.len() / 4;
    let expected = format!(
        "the checkpoint holds values that are not finite (NaN or infinite): tensor `{CONV}`: 2 of {of} values, tensor \
         `{BIAS}`: 1 of 1 values; train or export it again"
    );
    assert_eq!(damaged.check_finite().unwrap_err().to_string(), expected);
    let error = crate::SedModel::load_as(&damaged, config.clone(), &Device::Cpu, DType::F32).unwrap_err();
    assert_eq!(error.to_string(), expected);
    let out = tempfile::tempdir().unwrap();
    let error = convert(&damaged, &config, out.path(), |_| {}).unwrap_err();
    assert_eq!(error.to_string(), expected);
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
    damaged.accepting_not_finite().check_finite().unwrap();
}

#[test]
fn half_formats_that_are_not_finite_are_counted() {
    let f16 = [half::f16::INFINITY, half::f16::from_f32(1.0), half::f16::NAN].map(half::f16::to_le_bytes);
    let bf16 = [half::bf16::NAN, half::bf16::MAX, half::bf16::MIN].map(half::bf16::to_le_bytes);
    for (class, bytes, found) in [("HalfStorage", f16.concat(), 2), ("BFloat16Storage", bf16.concat(), 1)] {
        let file = state_dict(&[("w", Storage { class, bytes }, &[3])]);
        let message = Checkpoint::from_bytes(file, "test").unwrap().check_finite().unwrap_err().to_string();
        assert!(message.contains(&format!("tensor `w`: {found} of 3 values")), "{message}");
    }
}

#[test]
fn a_weight_that_a_format_does_not_reach_is_named() {
    let large = nano_with(&[(CONV, 0, 70_000.0), (CONV, 1, -1e6)]);
    let shape = large.tensors[CONV].shape.clone();
    let of: usize = shape.iter().product();
    for dtype in [DType::F32, DType::BF16] {
        large.tensor_as(CONV, &shape, dtype).unwrap();
    }
    let device = Device::Cpu;
    let weights = Weights::new(&large, &device).with_matrices(DType::F16).at("transformer");
    let message = weights.matrix("conv1.weight", &shape).unwrap_err().to_string();
    let expected =
        format!("tensor `{CONV}` has 2 of {of} values that are too large for f16; choose bf16 or f32");
    assert!(message.starts_with(&expected), "{message}");
    let message = nano_with(&[(CONV, 0, f32::MAX)]).tensor_as(CONV, &shape, DType::BF16).unwrap_err();
    assert!(message.to_string().contains("1 of"), "{message}");
}

#[test]
fn a_file_that_is_truncated_while_it_is_open_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    std::fs::copy(golden("sed_nano.safetensors"), &path).unwrap();
    std::fs::copy(golden("config.json"), folder.path().join("config.json")).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let config = checkpoint.config().unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(100_000).unwrap();
    let message = checkpoint.digest(&config).unwrap_err().to_string();
    let expected = format!("cannot read {}: the file has become shorter while it was read", path.display());
    assert_eq!(message, expected);
    assert_eq!(crate::SedModel::load(&checkpoint, &Device::Cpu).unwrap_err().to_string(), expected);
}

#[test]
fn half_precision_is_read_as_f32() {
    let values = [1.5, -2.0, 0.25, 1024.0];
    let f16: Vec<u8> = values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect();
    let bf16: Vec<u8> = values.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect();
    for (class, bytes) in [("HalfStorage", f16), ("BFloat16Storage", bf16)] {
        let storage = Storage { class, bytes };
        let checkpoint = Checkpoint::from_bytes(state_dict(&[("w", storage, &[4])]), "test").unwrap();
        assert_eq!(checkpoint.tensor("w", &[4]).unwrap().to_vec1::<f32>().unwrap(), values);
    }
}

#[test]
fn other_kinds_of_numbers_are_refused_by_name() {
    let storage = Storage { class: "LongStorage", bytes: vec![0; 8] };
    let error = Checkpoint::from_bytes(state_dict(&[("steps", storage, &[1])]), "test").unwrap_err();
    assert_eq!(error.to_string(), "tensor `steps` is stored as torch.LongStorage; expected f32, f16 or bf16");
}

#[test]
fn a_parts_view_of_a_storage_is_read_where_it_is() {
    let numbers: Vec<f32> = (0..10).map(|i| i as f32).collect();
    let pickle =
        build::Builder::new().dict(|b| b.text("w").tensor("FloatStorage", "0", 10, 4, &[2, 3], &[3, 1]));
    let bytes = pth(&pickle.finish(), &[("0", Storage::f32(&numbers).bytes)]);
    let checkpoint = Checkpoint::from_bytes(bytes, "test").unwrap();
    assert_eq!(checkpoint.values("w", &[2, 3]).unwrap(), [4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
}

#[test]
fn converts_to_safetensors_that_hold_the_same() {
    let checkpoint = Checkpoint::open(&golden("sed_nano.pth")).unwrap();
    let config = checkpoint.config().unwrap();
    let out = tempfile::tempdir().unwrap();
    let mut reports = Vec::new();
    let converted = convert(&checkpoint, &config, out.path(), |progress| reports.push(progress)).unwrap();
    let again = Checkpoint::open(&converted.weights).unwrap();
    assert_eq!(again.digest(&config).unwrap(), checkpoint.digest(&config).unwrap());
    assert_eq!(again.digest(&config).unwrap(), converted.digest);
    assert_eq!(again.config().unwrap(), config);
    assert!(candle_core::safetensors::load(&converted.weights, &Device::Cpu).unwrap().contains_key(BIAS));
    let line = std::fs::read_to_string(&converted.file_digest).unwrap();
    let file = std::fs::read(&converted.weights).unwrap();
    assert_eq!(line, format!("{}  sed-nano.safetensors\n", HEXLOWER.encode(&Sha256::digest(&file))));
    let last = reports.last().unwrap();
    assert!(reports.len() > 100 && last.written == last.total && last.total < file.len() as u64);
    let files = std::fs::read_dir(out.path()).unwrap().count();
    assert_eq!(files, 3, "no temporary file stays");
}

#[test]
fn what_does_not_fit_is_not_converted() {
    let out = tempfile::tempdir().unwrap();
    let error = convert(&nano(), &SedConfig::sed_b(), out.path(), |_| {}).unwrap_err();
    assert!(matches!(error, ModelError::DoesNotFit { .. }));
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
    let blocked = out.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    let nano = nano();
    let error = convert(&nano, &nano.config().unwrap(), &blocked, |_| {}).unwrap_err().to_string();
    assert!(error.starts_with("cannot write ") && error.contains("file"), "{error}");
}
