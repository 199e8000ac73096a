//! The pictures to segment: files, and those in folders.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::output_files::ENDINGS;

/// Endings of the files that are read from a folder. A file named on the command line may have any ending.
const EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"];

/// The files among `paths`, and the pictures in the folders among them, sorted by name.
pub(crate) fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut pictures = Vec::new();
    for path in paths {
        let kind =
            std::fs::metadata(path).with_context(|| format!("cannot find the picture {}", path.display()))?;
        if kind.is_dir() {
            pictures.extend(in_folder(path)?);
        } else {
            pictures.push(path.clone());
        }
    }
    Ok(pictures)
}

fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
    };
    let mut pictures = list().with_context(|| format!("cannot list the folder {}", folder.display()))?;
    pictures.retain(|path| is_picture(path) && path.is_file());
    pictures.sort();
    if pictures.is_empty() {
        bail!("the folder {} holds no pictures ({})", folder.display(), EXTENSIONS.join(", "));
    }
    Ok(pictures)
}

/// Reports whether a file in a folder is a picture by its name, and none of our results.
pub(crate) fn is_picture(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    EXTENSIONS.contains(&extension)
        && !is_hidden(path)
        && !ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Reports whether a file's name begins with a dot, as that of macOS's `._x.png` beside `x.png` does.
fn is_hidden(path: &Path) -> bool {
    path.file_name().unwrap_or_default().as_encoded_bytes().starts_with(b".")
}

/// A file's name without folder and extension, for the names of its results.
pub(crate) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
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
