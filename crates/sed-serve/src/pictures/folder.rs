//! The content of one folder, sorted out.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, DirEntry},
    io,
    path::Path,
};

use anyhow::{Context, Result};

use crate::output_files;

/// Endings of the files that are read from a folder. A file named on the command line may have any ending.
const EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"];
/// The same, for messages.
pub(super) const NAMED: &str = "jpg, jpeg, png, webp, gif, bmp, tif, tiff";

/// The entries of a folder by their kind, each list sorted. Hidden ones, whose names begin with a dot, are in none;
/// macOS's `._x.png` beside `x.png` is hidden, too.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub(super) pictures: Vec<Listed>,
    pub(super) folders: Vec<OsString>,
    /// Links to folders, which may lead in circles.
    pub(super) links: Vec<OsString>,
    /// Files and folders that an earlier run of this program wrote.
    pub(super) results: Vec<OsString>,
    /// Files that are no pictures, by their endings.
    pub(super) others: Vec<OsString>,
}

/// A picture of a folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) name: OsString,
    /// True if another picture of the folder differs in its ending only.
    pub(super) has_twin: bool,
}

impl Folder {
    /// Lists a folder.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn list(folder: &Path) -> Result<Self> {
        let list = || -> io::Result<Self> {
            let mut all = Self::default();
            for entry in fs::read_dir(folder)? {
                all.add(&entry?)?;
            }
            Ok(all)
        };
        let mut all = list().with_context(|| format!("cannot list the folder {}", folder.display()))?;
        all.sort();
        Ok(all)
    }

    fn add(&mut self, entry: &DirEntry) -> io::Result<()> {
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            return Ok(());
        }
        let kind = entry.file_type()?;
        // A link that leads nowhere is neither a folder nor a file.
        let target = if kind.is_symlink() { fs::metadata(entry.path()).ok() } else { None };
        let is_link_to_folder = target.as_ref().is_some_and(fs::Metadata::is_dir);
        let is_file = kind.is_file() || target.is_some_and(|target| target.is_file());
        if output_files::is_result(&name.to_string_lossy()) {
            self.results.push(name);
        } else if kind.is_dir() {
            self.folders.push(name);
        } else if is_link_to_folder {
            self.links.push(name);
        } else if is_file && is_picture(&name) {
            self.pictures.push(Listed { name, has_twin: false });
        } else {
            self.others.push(name);
        }
        Ok(())
    }

    fn sort(&mut self) {
        for names in [&mut self.folders, &mut self.links, &mut self.results, &mut self.others] {
            names.sort();
        }
        // By the name without its ending, so that twins are neighbours.
        self.pictures.sort_by_cached_key(|picture| (stem(&picture.name), picture.name.clone()));
        for at in 1..self.pictures.len() {
            if stem(&self.pictures[at - 1].name) == stem(&self.pictures[at].name) {
                self.pictures[at - 1].has_twin = true;
                self.pictures[at].has_twin = true;
            }
        }
    }
}

/// A name without its ending, by which files are compared: some file systems do not tell case apart.
fn stem(name: &OsStr) -> OsString {
    Path::new(name).file_stem().unwrap_or(name).to_ascii_lowercase()
}

/// Reports whether a name has the ending of a picture.
pub(super) fn is_picture(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().unwrap_or_default().to_ascii_lowercase();
    EXTENSIONS.iter().any(|known| *known == extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_has_its_kind() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["x.jpg", "x.a.jpg", "X.png", "y.tif", "a.mask.png", "notes.txt", "png", ".z.png"] {
            fs::write(path(name), "").unwrap();
        }
        for name in ["deeper.png", "a.categories", ".git"] {
            fs::create_dir(path(name)).unwrap();
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(path("deeper.png"), path("link")).unwrap();
            std::os::unix::fs::symlink("nowhere", path("dead.png")).unwrap();
            std::os::unix::fs::symlink("x.jpg", path("y2.jpg")).unwrap();
        }
        let found = Folder::list(folder.path()).unwrap();
        let pictures = found.pictures.iter().map(|one| (one.name.to_str().unwrap(), one.has_twin));
        let want =
            [("X.png", true), ("x.jpg", true), ("x.a.jpg", false), ("y.tif", false), ("y2.jpg", false)];
        assert_eq!(pictures.filter(|one| cfg!(unix) || one.0 != "y2.jpg").collect::<Vec<_>>(), want);
        assert_eq!(
            (found.folders, found.results),
            (vec!["deeper.png".into()], vec!["a.categories".into(), "a.mask.png".into()])
        );
        #[cfg(unix)]
        assert_eq!(
            (found.links, found.others),
            (vec!["link".into()], ["dead.png", "notes.txt", "png"].map(Into::into).to_vec())
        );
    }
}
