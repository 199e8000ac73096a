//! The arrows of the house: which crate may import which, no circle between modules that stand side by side,
//! and no module elsewhere than its name says.
//!
//! The sources are read as text. For the arrows without the code of tests: `use` declarations and paths that
//! begin with `crate`, `self` or `super`, followed through re-exports to the module that defines the name.

#![allow(clippy::unwrap_used, missing_docs)]

mod circles;
mod crates;
mod modules;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The folder of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The folder of each crate in `crates/`, by the crate's name.
fn folders() -> BTreeMap<String, PathBuf> {
    let folders = std::fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    folders
        .filter(|folder| folder.join("Cargo.toml").exists())
        .map(|folder| (folder.file_name().unwrap().to_string_lossy().into_owned(), folder))
        .collect()
}

fn fail_with(problems: &[String]) {
    assert!(problems.is_empty(), "\n\n{}\n", problems.join("\n\n"));
}

#[test]
fn crates_import_only_those_below_them() {
    let problems: Vec<String> =
        folders().iter().flat_map(|(name, folder)| crates::forbidden(name, folder)).collect();
    fail_with(&problems);
}

#[test]
fn no_modules_side_by_side_form_a_circle() {
    let mut problems = Vec::new();
    for (name, folder) in folders() {
        let circles = circles::of(&modules::read(&folder.join("src")));
        problems.extend(circles.iter().map(|circle| format!("{name}: {circle}")));
    }
    fail_with(&problems);
}

#[test]
fn modules_lie_where_their_names_say() {
    let mut problems = Vec::new();
    for file in source::files(root()) {
        let tokens = source::tokens(&std::fs::read_to_string(&file).unwrap());
        let attributes = tokens.windows(3).filter(|t| (t[0].is("#") && t[1].is("[")) && t[2].is("path"));
        problems.extend(attributes.map(|t| format!("{}:{}: #[path]", file.display(), t[0].line)));
    }
    fail_with(&problems);
}
