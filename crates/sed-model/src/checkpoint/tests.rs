mod build;
mod hostile;

use std::path::PathBuf;

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
    let digest = pth.digest(&config);
    assert_eq!(digest, safe.digest(&config));
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
    let digest = |bytes: Vec<u8>| Checkpoint::from_bytes(bytes, "test").unwrap().digest(&config);
    assert_eq!(digest(bytes.clone()), nano().digest(&config));
    assert_ne!(digest(changed), digest(bytes));
}

#[test]
fn the_digest_tells_any_change_of_the_sizes_but_not_of_the_name() {
    let (nano, usual) = (nano(), nano().config().unwrap());
    let mut digests = vec![nano.digest(&usual)];
    // No shape of a tensor tells these.
    let mut heads = usual.clone();
    heads.text.heads = if usual.text.heads == 2 { 4 } else { 2 };
    let mut attention = usual.clone();
    attention.decoder.attention_heads = if usual.decoder.attention_heads == 2 { 4 } else { 2 };
    let larger = SedConfig { image_size: usual.image_size * 2, ..usual.clone() };
    for changed in [heads, attention, larger] {
        changed.validate().unwrap();
        nano.check(&changed).unwrap();
        let digest = nano.digest(&changed);
        assert!(!digests.contains(&digest), "{changed:?}");
        digests.push(digest);
    }
    let renamed = SedConfig { name: "another".into(), ..usual };
    assert_eq!(nano.digest(&renamed), digests[0]);
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
fn a_bare_state_dict_and_a_parallel_one_are_read() {
    for prefix in ["", "module."] {
        let name = format!("{prefix}a.weight");
        let bytes = state_dict(&[(&name, Storage::f32(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), &[2, 3])]);
        let checkpoint = Checkpoint::from_bytes(bytes, "test").unwrap();
        assert_eq!(checkpoint.values("a.weight", &[2, 3]).unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }
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
    assert_eq!(again.digest(&config), checkpoint.digest(&config));
    assert_eq!(again.digest(&config), converted.digest);
    assert_eq!(again.config().unwrap(), config);
    assert!(candle_core::safetensors::load(&converted.weights, &Device::Cpu).unwrap().contains_key(BIAS));
    let line = std::fs::read_to_string(&converted.file_digest).unwrap();
    let file = std::fs::read(&converted.weights).unwrap();
    assert_eq!(line, format!("{}  sed-nano.safetensors\n", hex(&Sha256::digest(&file))));
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
