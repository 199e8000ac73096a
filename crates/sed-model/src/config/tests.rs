use std::collections::BTreeMap;

use super::*;

/// The keys and shapes of an official state dict: name, tab, `[a, b]`.
fn official_keys(name: &str) -> BTreeMap<String, Vec<usize>> {
    let path = format!("{}/../../tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let parse = |line: &str| {
        let (name, shape) = line.split_once('\t').unwrap();
        (name.to_owned(), serde_json::from_str(shape).unwrap())
    };
    text.lines().map(parse).collect()
}

#[test]
fn the_expected_tensors_are_those_of_the_official_models() {
    for (config, keys, count) in
        [(SedConfig::sed_b(), "keys_sed_b.txt", 608), (SedConfig::sed_l(), "keys_sed_l.txt", 658)]
    {
        let expected = config.expected_tensors();
        assert_eq!(expected.len(), count);
        let unused: Vec<&str> =
            expected.iter().filter(|tensor| !tensor.used).map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(unused, ["sem_seg_head.predictor.clip_model.logit_scale"]);
        let expected: BTreeMap<String, Vec<usize>> =
            expected.into_iter().map(|tensor| (tensor.name, tensor.shape)).collect();
        assert_eq!(expected, official_keys(keys));
    }
}

#[test]
fn the_official_models_are_recognised_from_their_shapes() {
    assert_eq!(SedConfig::from_tensors(&official_keys("keys_sed_b.txt")).unwrap(), SedConfig::sed_b());
    assert_eq!(SedConfig::from_tensors(&official_keys("keys_sed_l.txt")).unwrap(), SedConfig::sed_l());
}

#[test]
fn any_other_size_is_recognised_too() {
    let mut config = SedConfig::sed_l();
    config.name = "custom".to_owned();
    config.vision.dims = [32, 64, 96, 160];
    config.vision.depths = [1, 2, 3, 1];
    config.text.layers = 3;
    config.text.vocab_size = 8192;
    config.decoder.corr_guidance_dims = [16, 8, 4];
    let shapes = config.expected_tensors().into_iter().map(|tensor| (tensor.name, tensor.shape)).collect();
    assert_eq!(SedConfig::from_tensors(&shapes).unwrap(), config);
}

#[test]
fn tensors_of_something_else_are_not_sed() {
    let shapes = BTreeMap::from([("layer1.weight".to_owned(), vec![2, 3])]);
    let message = SedConfig::from_tensors(&shapes).unwrap_err().to_string();
    assert!(message.contains("`layer1.weight`") && message.contains("sem_seg_head.predictor"), "{message}");
}

#[test]
fn json_round_trips() {
    for config in [SedConfig::sed_b(), SedConfig::sed_l()] {
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(SedConfig::from_json(&json, "test").unwrap(), config);
    }
}

#[test]
fn json_errors_name_the_field_and_the_origin() {
    let json = serde_json::to_string(&SedConfig::sed_b()).unwrap();
    let with = |from: &str, to: &str| {
        assert!(json.contains(from));
        SedConfig::from_json(&json.replace(from, to), "config.json").unwrap_err().to_string()
    };
    let cases = [
        (r#""image_size":768"#, r#""image_size":770"#, "`image_size` must be a multiple of 32"),
        (r#""name":"sed-b""#, r#""name":"SED B""#, "`name` must be 1 to 64 characters"),
        (r#""heads":10"#, r#""heads":9"#, "`text.heads` must divide"),
        (r#""heads":10"#, r#""heads":0"#, "`text.heads` must divide"),
        (r#""vocab_size":49408"#, r#""vocab_size":50000"#, "`text.vocab_size` must be"),
        (r#""context_length":77"#, r#""context_length":2"#, "`text.context_length` must be"),
        (r#""dims":[64,32,16]"#, r#""dims":[64,32,20]"#, "`decoder.dims` must be multiples of 16"),
        (r#""guidance_dims":[32"#, r#""guidance_dims":[128"#, "`decoder.guidance_dims` must each be smaller"),
        (r#""kernel_size":9"#, r#""kernel_size":8"#, "`decoder.kernel_size` must be odd"),
        (r#""attention_heads":4"#, r#""attention_heads":3"#, "`decoder.attention_heads` must divide"),
        (r#""depths":[3,3,27,3]"#, r#""depths":[3,0,27,3]"#, "`vision.depths` must be from 1"),
        (r#""depths":[3,3,27,3]"#, r#""depths":[3,3,257,3]"#, "`vision.depths` must be from 1 to 256"),
        (r#""layers":12"#, r#""layers":65536"#, "`text.layers` must be from 1 to 256"),
        (r#""layers":12"#, r#""layers":-1"#, "config.json: invalid value"),
        (r#""embed_dim":640"#, r#""embed_dims":640"#, "unknown field `embed_dims`"),
        (r#""type":"linear""#, r#""type":"cubic""#, "unknown variant `cubic`"),
    ];
    for (from, to, expected) in cases {
        let message = with(from, to);
        assert!(message.contains(expected), "{to}: {message}");
    }
}

#[test]
fn a_file_is_read_up_to_a_bound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let json = serde_json::to_string(&SedConfig::sed_b()).unwrap();
    std::fs::write(&path, &json).unwrap();
    assert_eq!(SedConfig::from_file(&path).unwrap(), SedConfig::sed_b());
    std::fs::write(&path, format!("{json}{}", " ".repeat(70_000))).unwrap();
    let message = SedConfig::from_file(&path).unwrap_err().to_string();
    assert_eq!(message, format!("cannot read {}: it has more than 65536 bytes", path.display()));
    #[cfg(unix)]
    assert!(SedConfig::from_file(Path::new("/dev/zero")).is_err());
}
