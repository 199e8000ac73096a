//! Files that are there whole or not at all, also where the program is ended while it writes.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// The ending of what is not finished yet.
pub(crate) const UNFINISHED: &str = ".part";

/// `path` with more at its end.
pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut longer = path.as_os_str().to_owned();
    longer.push(ending);
    longer.into()
}

/// Writes a file, and replaces an existing one at the end.
///
/// # Errors
/// It cannot be written; the error names it.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<()> {
    write_with(path, |unfinished| Ok(fs::write(unfinished, content)?))
}

/// Has a file written to another path, and moves it to `path`, where it replaces an existing one.
///
/// # Errors
/// As [`write`].
pub(crate) fn write_with(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let unfinished = with_ending(path, UNFINISHED);
    let written = write(&unfinished).and_then(|()| Ok(fs::rename(&unfinished, path)?));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&unfinished);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a folder of files, and replaces an existing one at the end.
///
/// # Errors
/// As [`write`].
pub(crate) fn write_folder(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    let unfinished = with_ending(folder, UNFINISHED);
    let written = || -> io::Result<()> {
        remove_folder(&unfinished)?;
        fs::create_dir(&unfinished)?;
        for (name, content) in files {
            fs::write(unfinished.join(name), content)?;
        }
        remove_folder(folder)?;
        fs::rename(&unfinished, folder)
    };
    written().with_context(|| format!("cannot write {}", folder.display()))
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn what_fails_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        write(&path, b"old").unwrap();
        let failed = write_with(&path, |unfinished| {
            fs::write(unfinished, "half")?;
            bail!("no more room")
        });
        let error = format!("{:#}", failed.unwrap_err());
        assert!(error.contains("a.png: no more room"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_folder_is_replaced_with_all_that_was_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.categories");
        write_folder(&path, &[("cat.png".into(), vec![1])]).unwrap();
        write_folder(&path, &[("dog.png".into(), vec![2])]).unwrap();
        let names: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["dog.png"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
