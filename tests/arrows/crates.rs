//! The crates of the workspace that each crate may depend on.

use std::path::Path;

const ALLOWED: [(&str, &[&str]); 11] = [
    ("sed-proto", &[]),
    ("sed-image", &[]),
    ("sed-kernels", &[]),
    ("sed-telemetry", &[]),
    ("sed-model", &["sed-kernels"]),
    ("sed-engine", &["sed-model", "sed-image", "sed-telemetry"]),
    ("sed-server", &["sed-engine", "sed-image", "sed-proto", "sed-telemetry"]),
    ("sed-client", &["sed-proto"]),
    ("sed-bench", &["sed-client", "sed-engine", "sed-image", "sed-model"]),
    ("sed-eval", &["sed-client", "sed-engine", "sed-image", "sed-model"]),
    (
        "sed-serve",
        &[
            "sed-bench",
            "sed-client",
            "sed-engine",
            "sed-eval",
            "sed-image",
            "sed-model",
            "sed-proto",
            "sed-server",
            "sed-telemetry",
        ],
    ),
];

/// The dependencies of a crate that the table does not allow, of any kind. A crate may depend on itself, which
/// turns its features on for its tests.
pub(crate) fn forbidden(name: &str, folder: &Path) -> Vec<String> {
    let Some((_, allowed)) = ALLOWED.iter().find(|(of, _)| *of == name) else {
        return vec![format!("{name} is not in the table of crates; add it with what it may import")];
    };
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let forbidden =
        dependencies(&manifest).into_iter().filter(|on| on != name && !allowed.contains(&on.as_str()));
    forbidden.map(|on| format!("{name} depends on {on}; it may depend on: {}", allowed.join(", "))).collect()
}

/// The crates of this workspace that a manifest names in any of its tables of dependencies.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if let Some(table) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = table.ends_with("dependencies");
            if let Some((kind, on)) = table.rsplit_once('.')
                && kind.ends_with("dependencies")
            {
                found.push(on.to_owned());
            }
        } else if inside {
            found.extend(line.split(['.', '=', ' ']).next().map(str::to_owned));
        }
    }
    found.retain(|on| on.starts_with("sed-"));
    found
}

#[test]
fn every_way_to_name_a_dependency_is_seen() {
    let manifest = r#"
name = "sed-none"
[dependencies]
sed-a.workspace = true
serde = "1"
[build-dependencies]
sed-b = { path = "b" }
[target.'cfg(unix)'.dependencies]
sed-c = "1"
[dependencies.sed-d]
version = "1"
[features]
sed-e = []
"#;
    assert_eq!(dependencies(manifest), ["sed-a", "sed-b", "sed-c", "sed-d"]);
}
