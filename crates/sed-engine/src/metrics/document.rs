//! `METRICS.md`, made of the inventory.

use std::fmt::Write;

use super::{ALL, definition::Metric};

const HEAD: &str = "\
# Metrics

What `/metrics` of the operations port serves, in the Prometheus text format. This file is made of
`src/metrics/inventory.rs`; a test fails when it is stale and says how to write it again. Every combination of
labels exists from the start, at zero.

| name | type | labels and values | buckets | meaning |
|---|---|---|---|---|
";

/// The whole file.
pub(super) fn markdown() -> String {
    let mut text = HEAD.to_string();
    for metric in ALL {
        let definition = metric.definition();
        let buckets: Vec<_> = definition.buckets.iter().map(f64::to_string).collect();
        let name = format!("`{}`", definition.name);
        let kind = definition.kind.as_str().to_string();
        let cells = [name, kind, labels(*metric), buckets.join(", "), definition.help_line()];
        let row: String =
            cells.map(|cell| if cell.is_empty() { " |".into() } else { format!(" {cell} |") }).concat();
        writeln!(text, "|{row}").unwrap();
    }
    text
}

fn labels(metric: &dyn Metric) -> String {
    let one = |(key, values): (&str, Vec<&str>)| match values.as_slice() {
        [] => format!("`{key}`: free"),
        values => format!("`{key}`: {}", values.join(", ")),
    };
    metric.labels().into_iter().map(one).collect::<Vec<_>>().join("; ")
}
