use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::*;
use crate::limits::Limits;

fn no_environment() -> Vec<(String, String)> {
    Vec::new()
}

fn environment(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// A file that is gone when the test ends.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sed-server-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn the_defaults_pass_their_own_check() {
    let config = load(None, no_environment(), RawConfig::default()).unwrap();
    assert_eq!(config, ServerConfig::default());
    let automatic = config.limits.request_memory_bytes; // follows from the machine
    assert!((128 << 20..=16 << 30).contains(&automatic), "{automatic}");
    assert_eq!(config.limits, Limits { request_memory_bytes: automatic, ..Limits::default() });
    assert_eq!(config.listen, SocketAddr::from(([127, 0, 0, 1], 50051)));
    assert_eq!(config.engine.queue_capacity, config.limits.concurrent_requests);
}

#[test]
fn flags_go_over_the_environment_and_that_over_the_file() {
    let file = TempFile::new("layers", "max_top_k = 30\nmax_synonyms = 30\nmax_phrases = 30\n");
    let variables = environment(&[("SED_MAX_SYNONYMS", "20"), ("SED_MAX_PHRASES", "20")]);
    let flags = RawConfig { max_phrases: Some(10), ..RawConfig::default() };
    let limits = load(Some(&file.0), variables, flags).unwrap().limits;
    assert_eq!((limits.top_k, limits.vocabulary.synonyms, limits.vocabulary.phrases), (30, 20, 10));
}

#[test]
fn numbers_and_text_come_from_the_environment() {
    let variables = environment(&[
        ("SED_LISTEN", "0.0.0.0:7000"),
        ("SED_MAX_TIMEOUT_SECONDS", "2.5"),
        ("SED_MAX_IMAGE_PIXELS", "1000000"),
    ]);
    let config = load(None, variables, RawConfig::default()).unwrap();
    assert_eq!(config.listen.port(), 7000);
    assert_eq!(config.limits.timeout, Duration::from_millis(2500));
    assert_eq!(config.limits.image.max_pixels, 1_000_000);
}

#[test]
fn a_stream_reads_no_further_than_the_server_works() {
    let raw = |stream| RawConfig {
        max_concurrent_requests: Some(8),
        max_stream_requests: stream,
        ..RawConfig::default()
    };
    for (asked, given) in [(None, 8), (Some(100), 8), (Some(3), 3)] {
        assert_eq!(load(None, no_environment(), raw(asked)).unwrap().limits.stream_requests, given);
    }
}

#[test]
fn variables_of_others_are_let_alone() {
    let variables = environment(&[("SED_SERVE_PORT_50051_TCP", "tcp://10.0.0.1:50051"), ("SED_PORT", "x")]);
    assert_eq!(load(None, variables, RawConfig::default()), Ok(ServerConfig::default()));
}

#[test]
fn an_unknown_key_in_a_file_is_an_error_that_names_it() {
    let file = TempFile::new("unknown", "max_topk = 3\n");
    let error = load(Some(&file.0), no_environment(), RawConfig::default()).unwrap_err().to_string();
    assert!(error.contains("max_topk"), "{error}");
}

#[test]
fn a_value_of_the_wrong_kind_is_an_error_that_names_its_key() {
    let variables = environment(&[("SED_MAX_TOP_K", "many")]);
    let error = load(None, variables, RawConfig::default()).unwrap_err().to_string();
    assert!(error.contains("max_top_k"), "{error}");
}

#[test]
fn a_missing_file_is_an_error_that_names_it() {
    let path = PathBuf::from("/nonexistent/sed.toml");
    let error = load(Some(&path), no_environment(), RawConfig::default()).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/sed.toml"), "{error}");
}

#[test]
fn values_out_of_range_name_the_key_and_the_range() {
    let check = |raw| ServerConfig::check(raw).unwrap_err().to_string();
    assert_eq!(
        check(RawConfig { max_categories: Some(65_536), ..RawConfig::default() }),
        "max_categories is 65536, but must be between 1 and 65535"
    );
    assert_eq!(
        check(RawConfig { max_timeout_seconds: Some(f64::NAN), ..RawConfig::default() }),
        "max_timeout_seconds is NaN, but must be between 0.001 and 86400"
    );
    assert_eq!(
        check(RawConfig { listen: Some("localhost".into()), ..RawConfig::default() }),
        "listen is \"localhost\", but must be an ip address and a port, for example 127.0.0.1:50051"
    );
}

#[test]
fn the_operations_port_can_be_moved_and_turned_off() {
    let check =
        |text: &str| ServerConfig::check(RawConfig { ops_listen: Some(text.into()), ..RawConfig::default() });
    assert_eq!(ServerConfig::default().ops_listen, Some(SocketAddr::from(([127, 0, 0, 1], 9464))));
    assert_eq!(check("0.0.0.0:80").unwrap().ops_listen, Some(SocketAddr::from(([0, 0, 0, 0], 80))));
    assert_eq!(check("off").unwrap().ops_listen, None);
    let error = check("no").unwrap_err().to_string();
    assert!(error.starts_with("ops_listen is \"no\"") && error.ends_with("or the word off"), "{error}");
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sed.toml");
    std::fs::write(&file, "max_top_k = 30\ngrpc_web = true\ncompression = [\"zstd\"]\n").unwrap();
    let empty: Vec<(String, String)> =
        RawConfig::KEYS.iter().map(|key| (format!("SED_{}", key.to_uppercase()), String::new())).collect();
    let config = load(Some(&file), empty.clone(), RawConfig::default()).unwrap();
    assert_eq!(config, load(Some(&file), [], RawConfig::default()).unwrap());
    assert_eq!((config.limits.top_k, config.transport.compression.len()), (30, 1));
    assert_eq!(load(None, empty, RawConfig::default()).unwrap(), ServerConfig::default());
}

#[test]
fn zero_leaves_batches_to_the_engine_and_an_empty_folder_is_none() {
    let engine = |raw| ServerConfig::check(raw).unwrap().engine;
    let automatic =
        RawConfig { batch_images: Some(0), text_cache_dir: Some(String::new()), ..RawConfig::default() };
    let automatic = engine(automatic);
    assert_eq!((automatic.batch_images, automatic.batch_pairs, automatic.text_cache_dir), (None, None, None));
    let set = engine(RawConfig {
        batch_images: Some(3),
        batch_pairs: Some(40),
        batch_delay_ms: Some(2.5),
        queue_pairs: Some(9),
        text_cache_dir: Some("/tmp/embeddings".into()),
        image_cache_bytes: Some(7),
        ..RawConfig::default()
    });
    assert_eq!((set.batch_images, set.batch_pairs, set.queue_pairs), (Some(3), Some(40), 9));
    assert_eq!(set.batch_delay, Duration::from_micros(2500));
    assert_eq!((set.text_cache_dir, set.image_cache_bytes), (Some(PathBuf::from("/tmp/embeddings")), 7));
}

#[test]
fn vocabularies_to_preload_are_found_by_name() {
    let file = TempFile::new("preload", "preload_vocabulary = [\"pascal-voc-20\"]\n");
    let config = load(Some(&file.0), no_environment(), RawConfig::default()).unwrap();
    assert_eq!(config.engine.preload[0].len(), 20);
    // In the environment it is one text.
    let variables = environment(&[("SED_PRELOAD_VOCABULARY", "ade20k-150, pascal-voc-20,")]);
    let config = load(Some(&file.0), variables, RawConfig::default()).unwrap();
    assert_eq!(config.preload_vocabulary, ["ade20k-150", "pascal-voc-20"]);
    assert_eq!(config.engine.preload.len(), 2);

    let unknown = RawConfig { preload_vocabulary: Some(vec!["planets".into()]), ..RawConfig::default() };
    let error = load(None, no_environment(), unknown).unwrap_err().to_string();
    assert!(
        error.starts_with("preload_vocabulary is \"planets\"") && error.contains("ade20k-150"),
        "{error}"
    );
}

#[test]
fn values_must_fit_each_other() {
    let check = |raw| ServerConfig::check(raw).unwrap_err().to_string();
    let error = check(RawConfig {
        max_message_bytes: Some(2000),
        max_image_bytes: Some(3000),
        ..RawConfig::default()
    });
    assert!(error.starts_with("max_image_bytes is 3000, more than max_message_bytes"), "{error}");
    let error = check(RawConfig { default_top_k: Some(9), max_top_k: Some(8), ..RawConfig::default() });
    assert!(error.starts_with("default_top_k is 9, more than max_top_k"), "{error}");
    // What is only a default makes room by itself.
    let small = RawConfig { max_message_bytes: Some(2000), max_top_k: Some(4), ..RawConfig::default() };
    let config = ServerConfig::check(small).unwrap();
    assert_eq!((config.limits.image.max_encoded_bytes, config.default_rejection.top_k()), (2000, 4));
}

#[test]
fn what_is_of_no_use_without_another_says_which() {
    let some = || Some("file".to_owned());
    let check = |raw| ServerConfig::check(raw).unwrap_err().to_string();
    let cases = [
        (RawConfig { tls_certificate: some(), ..RawConfig::default() }, "tls_certificate", "tls_key"),
        (RawConfig { tls_key: some(), ..RawConfig::default() }, "tls_key", "tls_certificate"),
        (RawConfig { tls_client_ca: some(), ..RawConfig::default() }, "tls_client_ca", "tls_certificate"),
        (
            RawConfig { health_needs_token: Some(true), ..RawConfig::default() },
            "health_needs_token",
            "tokens",
        ),
        (
            RawConfig { grpc_web_origins: Some(vec!["*".into()]), ..RawConfig::default() },
            "grpc_web_origins",
            "grpc_web",
        ),
    ];
    for (raw, key, other) in cases {
        assert_eq!(check(raw), format!("{key} is set, but {other} is not; set both or neither"));
    }
}

#[test]
fn words_that_are_unknown_are_told_with_those_that_are_known() {
    let check = |raw| ServerConfig::check(raw).unwrap_err().to_string();
    let error = check(RawConfig { compression: Some(vec!["brotli".into()]), ..RawConfig::default() });
    assert_eq!(error, "compression has \"brotli\", but must be gzip, zstd, or off alone");
    for origin in ["example.org", "https://example.org/", "https://example.org/page", ""] {
        let origins = Some(vec![origin.to_owned()]);
        let error =
            check(RawConfig { grpc_web: Some(true), grpc_web_origins: origins, ..RawConfig::default() });
        assert!(error.starts_with("grpc_web_origins has"), "{origin:?}: {error}");
    }
    // In the environment a list is one text.
    let variables = environment(&[
        ("SED_GRPC_WEB", "true"),
        ("SED_GRPC_WEB_ORIGINS", "https://example.org, http://localhost:3000"),
        ("SED_COMPRESSION", "zstd"),
    ]);
    let transport = load(None, variables, RawConfig::default()).unwrap().transport;
    assert_eq!(transport.web.unwrap().origins, ["https://example.org", "http://localhost:3000"]);
    assert_eq!(transport.compression, [Compression::Zstd]);
    let variables = environment(&[("SED_COMPRESSION", "off")]);
    assert_eq!(load(None, variables, RawConfig::default()).unwrap().transport.compression, []);
}
