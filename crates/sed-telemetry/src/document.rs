//! A page about metrics, made of their definitions.

use crate::{definition::Definition, labels::LabelValues};

/// A table of these families in Markdown: name, type, labels with their values, buckets, meaning.
pub fn markdown(families: &[&[Definition]]) -> String {
    let head = "| name | type | labels and values | buckets | meaning |\n|---|---|---|---|---|\n";
    let rows = families.concat().iter().map(row).collect::<String>();
    format!("{head}{rows}")
}

fn row(family: &Definition) -> String {
    let buckets: Vec<_> = family.buckets.iter().map(f64::to_string).collect();
    let labels: Vec<_> = family.labels().iter().map(label).collect();
    let kind = family.kind.as_str().to_owned();
    let cells =
        [format!("`{}`", family.name), kind, labels.join("; "), buckets.join(", "), family.help_line()];
    let cell = |text: String| if text.is_empty() { " |".to_owned() } else { format!(" {text} |") };
    format!("|{}\n", cells.map(cell).concat())
}

fn label((key, values): &LabelValues) -> String {
    if values.is_empty() { format!("`{key}`: free") } else { format!("`{key}`: {}", values.join(", ")) }
}
