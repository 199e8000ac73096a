//! The pictures to work on: files, and those in folders.

mod folder;
mod left_out;
mod walk;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use self::folder::{Folder, NAMED};
pub(crate) use self::walk::{Picture, Walk};
use crate::output_files;

/// The files among `paths`, and the pictures in the folders among them, sorted by name.
pub(crate) fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut pictures = Vec::new();
    for path in paths {
        if is_folder(path)? { pictures.extend(in_folder(path)?) } else { pictures.push(path.clone()) }
    }
    Ok(pictures)
}

fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = Folder::list(folder)?;
    if listed.pictures.is_empty() {
        bail!("the folder {} holds no pictures ({NAMED})", folder.display());
    }
    let mut pictures: Vec<_> = listed.pictures.into_iter().map(|picture| folder.join(picture.name)).collect();
    pictures.sort();
    Ok(pictures)
}

/// Reports whether a file in a folder is a picture by its name: neither hidden nor a result of this program.
pub(crate) fn is_picture(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    let is_hidden = name.as_encoded_bytes().starts_with(b".");
    !is_hidden && folder::is_picture(name) && !output_files::is_result(&name.to_string_lossy())
}

/// Reports whether a path of the command line is a folder.
fn is_folder(path: &Path) -> Result<bool> {
    let kind =
        std::fs::metadata(path).with_context(|| format!("cannot find the picture {}", path.display()))?;
    Ok(kind.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_give_their_pictures_but_neither_hidden_files_nor_our_results() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.JPG", "a.png", "a.overlay.png", "a.mask.png", "notes.txt", "png", "._a.png", ".b.jpg"]
        {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        std::fs::create_dir(folder.path().join("deeper.png")).unwrap();
        let found = find(&[folder.path().to_owned()]).unwrap();
        assert_eq!(found, ["a.png", "b.JPG"].map(|name| folder.path().join(name)));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = find(&[PathBuf::from("no/such.png")]).unwrap_err();
        assert!(error.to_string().contains("no/such.png"), "{error}");
        let empty = tempfile::tempdir().unwrap();
        assert!(find(&[empty.path().to_owned()]).is_err());
    }
}
