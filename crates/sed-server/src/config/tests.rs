use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, FromArgMatches};
use sed_engine::EngineConfig;

use super::*;

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

/// Settings as they would stand in a file.
fn written(text: &str) -> Result<Written, ConfigError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Written::in_file(file.path())
}

fn check(text: &str) -> Result<ServerConfig, ConfigError> {
    ServerConfig::read(&written(text)?)
}

fn refusal(text: &str) -> String {
    check(text).unwrap_err().to_string()
}

#[test]
fn the_defaults_pass_their_own_check() {
    let config = load(None, no_environment(), Written::default()).unwrap();
    assert_eq!(config, ServerConfig::default());
    assert_eq!(config, ServerConfig::check(&Settings::default()).unwrap());
    let automatic = config.settings.max_request_memory_bytes; // follows from the machine
    assert!((128 << 20..=16 << 30).contains(&automatic), "{automatic}");
    assert_eq!(config.listen, SocketAddr::from(([127, 0, 0, 1], 50051)));
    assert_eq!(config.engine.queue_capacity, config.settings.max_concurrent_requests);
}

#[test]
fn the_crates_below_have_the_same_defaults() {
    let config = ServerConfig::default();
    assert_eq!(config.engine, EngineConfig::default());
    assert_eq!(config.settings.image_limits(), sed_image::DecodeLimits::default());
    assert_eq!(config.settings.vocabulary_limits(), sed_engine::VocabularyLimits::default());
}

#[test]
fn every_value_can_be_written_and_read_again() {
    let settings = Settings::default();
    assert_eq!(Written::try_from(&settings).unwrap().parse().unwrap(), settings);
    let effective = ServerConfig::default().settings;
    assert_eq!(Written::try_from(&*effective).unwrap().parse().unwrap(), *effective);
}

#[test]
fn flags_go_over_the_environment_and_that_over_the_file() {
    let file = TempFile::new("layers", "max_top_k = 30\nmax_synonyms = 30\nmax_phrases = 30\n");
    let variables = environment(&[("SED_MAX_SYNONYMS", "20"), ("SED_MAX_PHRASES", "20")]);
    let settings = load(Some(&file.0), variables, written("max_phrases = 10").unwrap()).unwrap().settings;
    assert_eq!((settings.max_top_k, settings.max_synonyms, settings.max_phrases), (30, 20, 10));
}

#[test]
fn flags_are_those_that_were_given() {
    let command = || Written::augment_args(clap::Command::new("serve"));
    let given = |line: &[&str]| {
        let matches = command().try_get_matches_from(["serve"].iter().chain(line)).unwrap();
        Written::from_arg_matches(&matches).unwrap()
    };
    assert_eq!(given(&[]), Written::default());
    let line = ["--grpc-web", "--max-top-k", "30", "--compression", "gzip", "--compression=zstd"];
    let file = "grpc_web = true\nmax_top_k = 30\ncompression = [\"gzip\", \"zstd\"]";
    assert_eq!(given(&line), written(file).unwrap());
    let error = command().try_get_matches_from(["serve", "--max-top-k=0"]).unwrap_err().to_string();
    assert!(error.contains("'0' for '--max-top-k <N>': must be between 1 and 65535"), "{error}");
}

#[test]
fn switches_have_the_same_spellings_everywhere() {
    for (texts, on) in
        [(["true", "YES", "On", "1", "t", "y"], true), (["false", "No", "OFF", "0", "f", "n"], false)]
    {
        for text in texts {
            let variables = environment(&[("SED_GRPC_WEB", text)]);
            let config = load(None, variables, Written::default()).unwrap();
            assert_eq!(config.transport.web.is_some(), on, "{text}");
            assert_eq!(check(&format!("grpc_web = {text:?}")).unwrap().transport.web.is_some(), on, "{text}");
        }
    }
    assert_eq!(check("grpc_web = 1").unwrap(), check("grpc_web = true").unwrap());
    assert_eq!(refusal("grpc_web = \"maybe\""), "grpc_web is maybe, but must be true or false");
}

#[test]
fn sizes_may_have_a_unit() {
    for text in ["1048576", "\"1048576\"", "\"1024 KiB\"", "\"1MiB\""] {
        let settings = check(&format!("text_cache_bytes = {text}")).unwrap().settings;
        assert_eq!(settings.text_cache_bytes, 1 << 20, "{text}");
    }
    for text in ["1 MB", "-1", "1.5 GiB", "MiB", "17179869184 GiB"] {
        assert!(check(&format!("text_cache_bytes = {text:?}")).is_err(), "{text}");
    }
}

#[test]
fn numbers_and_text_come_from_the_environment() {
    let variables = environment(&[
        ("SED_LISTEN", "0.0.0.0:7000"),
        ("SED_MAX_TIMEOUT_SECONDS", "2.5"),
        ("SED_MAX_IMAGE_PIXELS", "1000000"),
    ]);
    let config = load(None, variables, Written::default()).unwrap();
    assert_eq!(config.listen.port(), 7000);
    assert_eq!(config.settings.max_timeout(), Duration::from_millis(2500));
    assert_eq!(config.settings.max_image_pixels, 1_000_000);
}

#[test]
fn a_stream_reads_no_further_than_the_server_works() {
    for (asked, given) in [("", 8), ("max_stream_requests = 100", 8), ("max_stream_requests = 3", 3)] {
        let config = check(&format!("max_concurrent_requests = 8\n{asked}")).unwrap();
        assert_eq!(config.settings.max_stream_requests, given);
    }
}

#[test]
fn variables_of_others_are_let_alone() {
    let variables = environment(&[("SED_SERVE_PORT_50051_TCP", "tcp://10.0.0.1:50051"), ("SED_PORT", "x")]);
    assert_eq!(load(None, variables, Written::default()), Ok(ServerConfig::default()));
}

#[test]
fn an_unknown_key_in_a_file_is_an_error_that_names_it() {
    let file = TempFile::new("unknown", "max_topk = 3\n");
    let error = load(Some(&file.0), no_environment(), Written::default()).unwrap_err().to_string();
    assert_eq!(error, "there is no setting \"max_topk\"; did you mean \"max_top_k\"?");
    let file = TempFile::new("strange", "[limits]\nmax_top_k = 3\n");
    let error = load(Some(&file.0), no_environment(), Written::default()).unwrap_err().to_string();
    assert_eq!(error, "there is no setting \"limits\"");
}

#[test]
fn a_value_of_the_wrong_kind_is_an_error_that_names_its_key() {
    let variables = environment(&[("SED_MAX_TOP_K", "many")]);
    let error = load(None, variables, Written::default()).unwrap_err().to_string();
    assert_eq!(error, "max_top_k is many, but must be between 1 and 65535");
    assert_eq!(refusal("max_top_k = [1]"), "max_top_k is a TOML array, but must be a single value");
}

#[test]
fn a_missing_file_is_an_error_that_names_it() {
    let path = PathBuf::from("/nonexistent/sed.toml");
    let error = load(Some(&path), no_environment(), Written::default()).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/sed.toml"), "{error}");
}

#[test]
fn values_out_of_range_name_the_key_and_the_range() {
    let cases = [
        ("max_categories = 65536", "max_categories is 65536, but must be between 1 and 65535"),
        ("max_timeout_seconds = nan", "max_timeout_seconds is NaN, but must be between 0.001 and 86400"),
        ("max_message_bytes = 5", "max_message_bytes is 5, but must be between 1024 and 1073741824"),
        (
            "max_request_memory_bytes = 1",
            "max_request_memory_bytes is 1, but must be between 67108864 and 1125899906842624",
        ),
        (
            "max_request_memory_bytes = 134217728\nmax_connections = 129",
            "max_connections is 129, but must be between 1 and 128",
        ),
        (
            "listen = \"localhost\"",
            "listen is \"localhost\", but must be an ip address and a port, for example 127.0.0.1:50051",
        ),
    ];
    for (text, error) in cases {
        assert_eq!(refusal(text), error);
    }
    let settings = Settings { max_timeout_seconds: f64::NAN, ..Settings::default() };
    assert!(ServerConfig::check(&settings).is_err());
}

#[test]
fn the_operations_port_can_be_moved_and_turned_off() {
    let check = |text: &str| check(&format!("ops_listen = {text:?}"));
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
    let empty: Vec<(String, String)> = keys().map(|key| (variable(key), String::new())).collect();
    let config = load(Some(&file), empty.clone(), Written::default()).unwrap();
    assert_eq!(config, load(Some(&file), [], Written::default()).unwrap());
    assert_eq!((config.settings.max_top_k, config.transport.compression.len()), (30, 1));
    assert_eq!(load(None, empty, Written::default()).unwrap(), ServerConfig::default());
}

#[test]
fn zero_leaves_batches_to_the_engine_and_an_empty_folder_is_none() {
    let automatic = check("batch_images = 0\ntext_cache_dir = \"\"").unwrap().engine;
    assert_eq!((automatic.batch_images, automatic.batch_pairs, automatic.text_cache_dir), (None, None, None));
    let set = ServerConfig::check(&Settings {
        batch_images: 3,
        batch_pairs: 40,
        batch_delay_ms: 2.5,
        queue_pairs: 9,
        text_cache_dir: "/tmp/embeddings".into(),
        image_cache_bytes: 7,
        ..Settings::default()
    });
    let set = set.unwrap().engine;
    assert_eq!((set.batch_images, set.batch_pairs, set.queue_pairs), (Some(3), Some(40), 9));
    assert_eq!(set.batch_delay, Duration::from_micros(2500));
    assert_eq!((set.text_cache_dir, set.image_cache_bytes), (Some(PathBuf::from("/tmp/embeddings")), 7));
}

#[test]
fn vocabularies_to_preload_are_found_by_name() {
    let file = TempFile::new("preload", "preload_vocabulary = [\"pascal-voc-20\"]\n");
    let config = load(Some(&file.0), no_environment(), Written::default()).unwrap();
    assert_eq!(config.engine.preload[0].len(), 20);
    // In the environment it is one text.
    let variables = environment(&[("SED_PRELOAD_VOCABULARY", "ade20k-150, pascal-voc-20,")]);
    let config = load(Some(&file.0), variables, Written::default()).unwrap();
    assert_eq!(config.settings.preload_vocabulary, ["ade20k-150", "pascal-voc-20"]);
    assert_eq!(config.engine.preload.len(), 2);

    let file = TempFile::new("prepare", "prepare_vocabulary = [\"pascal-voc-20\"]\n");
    let config = load(Some(&file.0), [], Written::default()).unwrap();
    assert_eq!((config.prepared[0].0.as_str(), config.prepared[0].1.len()), ("pascal-voc-20", 20));
    assert!(config.engine.preload.is_empty());
    let error = refusal("prepare_vocabulary = [\"planets\"]");
    assert!(error.starts_with("prepare_vocabulary is \"planets\""), "{error}");

    let error = refusal("preload_vocabulary = [\"planets\"]");
    assert!(
        error.starts_with("preload_vocabulary is \"planets\"") && error.contains("ade20k-150"),
        "{error}"
    );
}

#[test]
fn values_must_fit_each_other() {
    let error = refusal("max_message_bytes = 2000\nmax_image_bytes = 3000");
    assert!(error.starts_with("max_image_bytes is 3000, more than max_message_bytes"), "{error}");
    let error = refusal("default_top_k = 9\nmax_top_k = 8");
    assert!(error.starts_with("default_top_k is 9, more than max_top_k"), "{error}");
    // What is only a default makes room by itself.
    let settings = check("max_message_bytes = 2000\nmax_top_k = 4").unwrap().settings;
    assert_eq!((settings.max_image_bytes(), settings.default_top_k()), (2000, 4));
}

#[test]
fn what_is_of_no_use_without_another_says_which() {
    let cases = [
        ("tls_certificate = \"file\"", "tls_certificate", "tls_key"),
        ("tls_key = \"file\"", "tls_key", "tls_certificate"),
        ("tls_client_ca = \"file\"", "tls_client_ca", "tls_certificate"),
        ("health_needs_token = true", "health_needs_token", "tokens"),
        ("grpc_web_origins = [\"*\"]", "grpc_web_origins", "grpc_web"),
    ];
    for (text, key, other) in cases {
        assert_eq!(refusal(text), format!("{key} is set, but {other} is not; set both or neither"));
    }
}

#[test]
fn words_that_are_unknown_are_told_with_those_that_are_known() {
    let error = refusal("compression = [\"brotli\"]");
    assert_eq!(error, "compression has \"brotli\", but must be gzip, zstd, or off alone");
    for origin in ["example.org", "https://example.org/", "https://example.org/page", ""] {
        let error = refusal(&format!("grpc_web = true\ngrpc_web_origins = [{origin:?}]"));
        assert!(error.starts_with("grpc_web_origins has"), "{origin:?}: {error}");
    }
    assert_eq!(check("compression = []").unwrap().transport.compression, []);
    // In the environment a list is one text.
    let variables = environment(&[
        ("SED_GRPC_WEB", "true"),
        ("SED_GRPC_WEB_ORIGINS", "https://example.org, http://localhost:3000"),
        ("SED_COMPRESSION", "zstd"),
    ]);
    let transport = load(None, variables, Written::default()).unwrap().transport;
    assert_eq!(transport.web.unwrap().origins, ["https://example.org", "http://localhost:3000"]);
    assert_eq!(transport.compression, [Compression::Zstd]);
    let variables = environment(&[("SED_COMPRESSION", "off")]);
    assert_eq!(load(None, variables, Written::default()).unwrap().transport.compression, []);
}

#[test]
fn a_value_that_the_limit_of_its_name_cannot_hold_is_an_error_that_names_both() {
    let settings = Settings { max_categories: 1 << 32, ..Settings::default() };
    let error = settings.published_limits().unwrap_err().to_string();
    assert!(error.contains("integer `4294967296`") && error.ends_with("in `max_categories`"), "{error}");
}
