//! The metrics of the whole program: its own, and those of all crates.

use sed_engine::metrics::EngineMetrics;
use sed_server::metrics::ServerMetrics;
use sed_telemetry::{Definition, Gauge, Unit::Seconds, families};

families! {
    /// Families that the program itself records. The comment above each is its help text.
    pub(crate) struct ProgramMetrics {
        /// Time that loading the model took.
        model_load: Gauge = "sed_model_load_seconds", Seconds;
    }
}

/// The families of all crates, in the order of `METRICS.md`.
pub(crate) const FAMILIES: [&[Definition]; 3] =
    [&ServerMetrics::DEFINITIONS, &EngineMetrics::DEFINITIONS, &ProgramMetrics::DEFINITIONS];

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, path::Path};

    use sed_telemetry::{Kind, Telemetry, Unit, markdown};

    use super::*;

    fn is_snake_case(text: &str) -> bool {
        text.starts_with(|first: char| first.is_ascii_lowercase())
            && text
                .chars()
                .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
            && !text.contains("__")
    }

    #[test]
    fn names_keep_the_rules() {
        let mut seen = HashSet::new();
        for Definition { name, kind, unit, help, .. } in FAMILIES.concat() {
            assert!(seen.insert(name), "{name} occurs twice");
            assert!(name.starts_with("sed_") && is_snake_case(name), "{name}");
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            let stem = name.trim_end_matches("_total");
            assert_eq!(stem.ends_with("_seconds"), unit == Unit::Seconds, "{name}");
            assert_eq!(stem.ends_with("_bytes"), unit == Unit::Bytes, "{name}");
            for reserved in ["_count", "_sum", "_bucket"] {
                assert!(!name.ends_with(reserved), "{name}: the suffix belongs to histograms");
            }
            assert!(help.ends_with('.') && !help.contains('|'), "{name}: {help}");
        }
    }

    #[test]
    fn every_histogram_has_rising_buckets_and_nothing_else_has_any() {
        for Definition { name, kind, buckets, .. } in FAMILIES.concat() {
            assert_eq!(buckets.is_empty(), kind != Kind::Histogram, "{name}");
            assert!(buckets.is_sorted_by(|lower, upper| lower < upper), "{name}");
        }
    }

    #[test]
    fn labels_have_short_distinct_names_and_values() {
        for family in FAMILIES.concat() {
            let (name, labels) = (family.name, family.labels());
            let keys: HashSet<_> = labels.iter().map(|(key, _)| *key).collect();
            assert_eq!(keys.len(), labels.len(), "{name}");
            for (key, values) in labels {
                assert!(is_snake_case(key) && key != "le", "{name}: {key}");
                let distinct: HashSet<_> = values.iter().collect();
                assert_eq!(distinct.len(), values.len(), "{name}: {key}");
            }
        }
    }

    /// All series that must exist from the start: name and labels.
    fn expected_series(family: &Definition) -> Vec<String> {
        let labels = family.labels();
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
            [] => format!("{}{suffix}", family.name),
            labels => format!("{}{suffix}{{{}}}", family.name, labels.join(",")),
        };
        let of = |labels: Vec<String>| {
            if family.kind != Kind::Histogram {
                return vec![series("", &labels)];
            }
            let bounds = family.buckets.iter().map(f64::to_string).chain(["+Inf".into()]);
            let bucket =
                |bound| series("_bucket", &[labels.as_slice(), &[format!("le=\"{bound}\"")]].concat());
            bounds.map(bucket).chain([series("_sum", &labels), series("_count", &labels)]).collect()
        };
        combinations.into_iter().flat_map(of).collect()
    }

    #[test]
    fn everything_is_there_at_zero_from_the_start() {
        let text = Telemetry::new(&FAMILIES).unwrap().render().unwrap();
        let samples: HashSet<_> =
            text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        let mut expected = 0;
        for family in FAMILIES.concat() {
            let (name, series) = (family.name, expected_series(&family));
            for one in &series {
                assert!(samples.contains(format!("{one} 0").as_str()), "{one} is missing or not zero");
            }
            expected += series.len();
            if !series.is_empty() {
                assert!(text.contains(&format!("# TYPE {name} {}\n", family.kind.as_str())), "{name}");
                assert!(text.contains(&format!("# HELP {name} {}\n", family.help_line())), "{name}");
            }
        }
        assert_eq!(samples.len(), expected);
    }

    const HEAD: &str = "\
# Metrics

What `/metrics` of the operations port serves, in the Prometheus text format. This file is made of the crates'
`metrics` modules; a test fails when it is stale and says how to write it again. Every combination of labels
exists from the start, at zero.

";

    #[test]
    fn the_document_is_fresh() {
        const COMMAND: &str = "SED_WRITE_METRICS_MD=1 cargo test --release -p sed-serve --lib metrics::tests::the_document_is_fresh";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/METRICS.md");
        let expected = format!("{HEAD}{}", markdown(&FAMILIES));
        if std::env::var_os("SED_WRITE_METRICS_MD").is_some() {
            std::fs::write(&path, &expected).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == expected, "METRICS.md is stale; write it again: {COMMAND}");
    }
}
