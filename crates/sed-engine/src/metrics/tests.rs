//! The inventory keeps Prometheus' rules and its document.

use std::{collections::HashSet, path::Path};

use metrics::Unit;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

use super::*;
use crate::Stage;

fn recorder() -> PrometheusRecorder {
    let mut builder = PrometheusBuilder::new();
    for (name, buckets) in histogram_buckets() {
        builder = builder.set_buckets_for_metric(Matcher::Full(name.into()), buckets).unwrap();
    }
    builder.build_recorder()
}

fn rendered(what: impl FnOnce()) -> String {
    let recorder = recorder();
    metrics::with_local_recorder(&recorder, what);
    exposed(recorder.handle().render())
}

fn is_snake_case(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
        && !text.contains("__")
}

#[test]
fn names_keep_the_rules() {
    let mut seen = HashSet::new();
    for Definition { name, kind, unit, help, .. } in definitions() {
        assert!(seen.insert(name), "{name} occurs twice");
        assert!(name.starts_with("sed_") && is_snake_case(name), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        let stem = name.trim_end_matches("_total");
        assert_eq!(stem.ends_with("_seconds"), *unit == Unit::Seconds, "{name}");
        assert_eq!(stem.ends_with("_bytes"), *unit == Unit::Bytes, "{name}");
        for reserved in ["_count", "_sum", "_bucket"] {
            assert!(!name.ends_with(reserved), "{name}: the suffix belongs to histograms");
        }
        assert!(help.ends_with('.') && !help.contains('|'), "{name}: {help}");
    }
}

#[test]
fn every_histogram_has_rising_buckets_and_nothing_else_has_any() {
    for Definition { name, kind, buckets, .. } in definitions() {
        assert_eq!(buckets.is_empty(), *kind != Kind::Histogram, "{name}");
        assert!(buckets.is_sorted_by(|lower, upper| lower < upper), "{name}");
    }
}

#[test]
fn labels_have_short_distinct_names_and_values() {
    for metric in ALL {
        let name = metric.definition().name;
        let labels = metric.labels();
        let keys: HashSet<_> = labels.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys.len(), labels.len(), "{name}");
        for (key, values) in labels {
            assert!(is_snake_case(key) && key != "le", "{name}: {key}");
            let distinct: HashSet<_> = values.iter().collect();
            assert_eq!(distinct.len(), values.len(), "{name}: {key}");
        }
    }
}

/// All series that `register_all` must create: name and labels.
fn expected_series(metric: &dyn Metric) -> Vec<String> {
    let Definition { name, kind, buckets, .. } = metric.definition();
    let labels = metric.labels();
    if labels.iter().any(|(_, values)| values.is_empty()) {
        return Vec::new();
    }
    let mut combinations = vec![Vec::new()];
    for (key, values) in labels {
        let extend = |have: Vec<String>| {
            values.iter().map(move |value| [have.clone(), vec![format!("{key}=\"{value}\"")]].concat())
        };
        combinations = combinations.into_iter().flat_map(extend).collect();
    }
    let series = |suffix: &str, labels: &[String]| match labels {
        [] => format!("{name}{suffix}"),
        labels => format!("{name}{suffix}{{{}}}", labels.join(",")),
    };
    let of = |labels: Vec<String>| {
        if *kind != Kind::Histogram {
            return vec![series("", &labels)];
        }
        let bounds = buckets.iter().map(f64::to_string).chain(["+Inf".into()]);
        let bucket = |bound| series("_bucket", &[labels.as_slice(), &[format!("le=\"{bound}\"")]].concat());
        bounds.map(bucket).chain([series("_sum", &labels), series("_count", &labels)]).collect()
    };
    combinations.into_iter().flat_map(of).collect()
}

#[test]
fn everything_is_there_at_zero_from_the_start() {
    let text = rendered(register_all);
    let samples: HashSet<_> =
        text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let mut expected = 0;
    for metric in ALL {
        let Definition { name, kind, .. } = metric.definition();
        let series = expected_series(*metric);
        for one in &series {
            assert!(samples.contains(format!("{one} 0").as_str()), "{one} is missing or not zero");
        }
        expected += series.len();
        if !series.is_empty() {
            assert!(text.contains(&format!("# TYPE {name} {}\n", kind.as_str())), "{name}");
            assert!(text.contains(&format!("# HELP {name} {}\n", metric.definition().help_line())), "{name}");
        }
    }
    assert_eq!(samples.len(), expected);
}

#[test]
fn what_is_recorded_is_rendered() {
    let text = rendered(|| {
        REQUESTS.add(Method::Segment, Code::Cancelled, 2);
        REQUESTS_IN_FLIGHT.add(3.0);
        REQUESTS_IN_FLIGHT.add(-1.0);
        BATCH_IMAGES.record(Stage::Encode, 3.0);
        STAGE_DURATION.record(RequestStage::MaskEncoding, std::time::Duration::from_millis(20));
        DEVICE_BUSY.add(std::time::Duration::from_millis(250));
        DEVICE_BUSY.add(std::time::Duration::from_millis(500));
        MODEL_INFO.set(["sed-b", "sha256:0", "f32", "cpu"]);
        register_all(); // later than the first events: it must not undo them
    });
    for line in [
        "sed_requests_total{method=\"Segment\",code=\"CANCELLED\"} 2",
        "sed_requests_in_flight 2",
        "sed_batch_images_bucket{stage=\"encode\",le=\"2\"} 0",
        "sed_batch_images_bucket{stage=\"encode\",le=\"3\"} 1",
        "sed_stage_duration_seconds_sum{stage=\"mask_encoding\"} 0.02",
        "# TYPE sed_device_busy_seconds_total counter",
        "sed_device_busy_seconds_total 0.75",
        "sed_model_info{name=\"sed-b\",digest=\"sha256:0\",dtype=\"f32\",device=\"cpu\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "no line {line} in\n{text}");
    }
}

#[test]
fn codes_have_their_numbers() {
    assert_eq!(Code::from_number(0), Code::Ok);
    assert_eq!(Code::from_number(1), Code::Cancelled);
    assert_eq!(Code::from_number(16), Code::Unauthenticated);
    assert_eq!(Code::from_number(17), Code::Unknown);
    assert_eq!(Code::from_number(-1), Code::Unknown);
}

#[test]
fn the_document_is_fresh() {
    const COMMAND: &str =
        "SED_WRITE_METRICS_MD=1 cargo test --release --workspace --lib metrics::tests::the_document_is_fresh";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("METRICS.md");
    let expected = document::markdown();
    if std::env::var_os("SED_WRITE_METRICS_MD").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "METRICS.md is stale; write it again: {COMMAND}");
}
