//! Files in a folder and the folders in it, named by their way from it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use walkdir::{DirEntry, WalkDir};

use crate::error::{Error, Result};

/// Files by name: the path from their folder with `/` between its parts, without ending and suffix.
pub(crate) type Named = BTreeMap<String, Vec<PathBuf>>;

/// Finds the files in `folder` and the folders in it that `keep` accepts and whose names without ending end
/// in `suffix`. Leaves out hidden files and folders, and the folder `other`, which may lie inside.
///
/// # Errors
/// A folder cannot be listed.
pub(crate) fn files(
    folder: &Path,
    other: &Path,
    suffix: &str,
    keep: impl Fn(&Path) -> bool,
) -> Result<Named> {
    let other = fs::canonicalize(other).ok();
    let is_other = |path: &Path| other.is_some() && fs::canonicalize(path).ok() == other;
    // Hidden: `.DS_Store`, macOS's `._x.png` beside `x.png`, `.ipynb_checkpoints`. The folder itself may be.
    let is_wanted = |entry: &DirEntry| {
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let is_out = is_hidden || entry.file_type().is_dir() && is_other(entry.path());
        entry.depth() == 0 || !is_out
    };
    let mut named = Named::new();
    for entry in WalkDir::new(folder).follow_links(true).into_iter().filter_entry(is_wanted) {
        let entry = entry.map_err(|error| unreadable(folder, error))?;
        if !entry.file_type().is_file() || !keep(entry.path()) {
            continue;
        }
        let relative = entry.path().strip_prefix(folder).ok().filter(|path| !path.as_os_str().is_empty());
        let relative = relative.unwrap_or(Path::new(entry.file_name()));
        if let Some(name) = name(&slashed(relative)).strip_suffix(suffix) {
            named.entry(name.to_owned()).or_default().push(entry.into_path());
        }
    }
    named.values_mut().for_each(|paths| paths.sort());
    Ok(named)
}

fn unreadable(folder: &Path, error: walkdir::Error) -> Error {
    let folder = error.path().unwrap_or(folder).to_owned();
    // Without the path, which the error above it names. Only a circle of links has no such error.
    let circle = error.to_string();
    Error::Folder { folder, source: error.into_io_error().unwrap_or_else(|| io::Error::other(circle)) }
}

/// A path with `/` between its parts.
fn slashed(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

/// A path without its ending, the part of the last name from its last dot on.
pub(crate) fn name(path: &str) -> &str {
    let last = path.rfind('/').map_or(0, |slash| slash + 1);
    // A name that begins with a dot has no ending there.
    path[last..].rfind('.').filter(|dot| *dot > 0).map_or(path, |dot| &path[..last + dot])
}

/// Reports whether a file's ending is one of `endings`, in any case.
pub(crate) fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| endings.contains(&ending.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_way_from_the_folder_without_suffix_and_ending() {
        let root = tempfile::tempdir().unwrap();
        let files_there = [
            "a.b.PNG",
            "ulm/c_left.png",
            "ulm/c_right.png",
            "ulm/.DS_Store",
            "ulm/._c_left.png",
            ".hidden/d_left.png",
            "labels/c_left.png",
        ];
        for file in files_there {
            fs::create_dir_all(root.path().join(file).parent().unwrap()).unwrap();
            fs::write(root.path().join(file), "").unwrap();
        }
        let names = |suffix: &str| -> Vec<String> {
            let keep = |path: &Path| has_ending(path, &["png"]);
            let found = files(root.path(), &root.path().join("labels"), suffix, keep).unwrap();
            found.into_keys().collect()
        };
        assert_eq!(names(""), ["a.b", "ulm/c_left", "ulm/c_right"]);
        assert_eq!(names("_left"), ["ulm/c"]);
        let one = root.path().join("ulm/c_left.png");
        let found = files(&one, Path::new("labels"), "", |_| true).unwrap();
        assert_eq!(found, Named::from([("c_left".to_owned(), vec![one])]));
        let error = files(&root.path().join("none"), root.path(), "", |_| true).unwrap_err().to_string();
        assert!(error.contains("cannot list the folder") && error.contains("none"), "{error}");
    }

    #[test]
    fn only_the_last_dot_of_the_last_part_begins_the_ending() {
        for (path, want) in [("a.b/c", "a.b/c"), ("a.b/c.d.png", "a.b/c.d"), ("a/.x", "a/.x"), ("", "")] {
            assert_eq!(name(path), want);
        }
    }
}
