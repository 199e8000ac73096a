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
        let path = match entry {
            Ok(entry) if !entry.file_type().is_file() => continue,
            Ok(entry) => entry.into_path(),
            // A link that leads nowhere is a file that cannot be read: it fails when its turn comes.
            Err(error) => dead_link(&error).ok_or_else(|| unreadable(folder, error))?,
        };
        if !keep(&path) {
            continue;
        }
        let relative = path.strip_prefix(folder).ok().filter(|path| !path.as_os_str().is_empty());
        let relative = relative.or(path.file_name().map(Path::new)).unwrap_or(&path);
        if let Some(name) = name(&slashed(relative)?).strip_suffix(suffix) {
            named.entry(name.to_owned()).or_default().push(path);
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

/// The path of a link in a folder that leads nowhere, if that is the error.
fn dead_link(error: &walkdir::Error) -> Option<PathBuf> {
    let path = error.path().filter(|_| error.depth() > 0)?;
    let leads_nowhere = path.is_symlink() && !path.exists() && error.loop_ancestor().is_none();
    leads_nowhere.then(|| path.to_owned())
}

/// A path with `/` between its parts.
///
/// # Errors
/// It is not UTF-8: replaced bytes would give two files one name.
fn slashed(path: &Path) -> Result<String> {
    let parts: Option<Vec<_>> = path.components().map(|part| part.as_os_str().to_str()).collect();
    parts.map(|parts| parts.join("/")).ok_or_else(|| Error::NotUtf8(path.to_owned()))
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
        std::os::unix::fs::symlink("nowhere.png", root.path().join("dead_end.png")).unwrap();
        assert_eq!(names("_end"), ["dead"]);
        let error = files(&root.path().join("none"), root.path(), "", |_| true).unwrap_err().to_string();
        assert!(error.contains("cannot list the folder") && error.contains("none"), "{error}");
    }

    #[test]
    fn names_that_are_not_utf_8_are_refused() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(OsStr::from_bytes(b"a\xff.png")), "").unwrap();
        let error = files(root.path(), Path::new("labels"), "", |_| true).unwrap_err().to_string();
        assert!(error.contains("is not UTF-8"), "{error}");
    }

    #[test]
    fn only_the_last_dot_of_the_last_part_begins_the_ending() {
        for (path, want) in [("a.b/c", "a.b/c"), ("a.b/c.d.png", "a.b/c.d"), ("a/.x", "a/.x"), ("", "")] {
            assert_eq!(name(path), want);
        }
    }
}
