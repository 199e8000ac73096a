//! A walk over files and folders, one folder at a time.

use std::{
    collections::HashSet,
    ffi::OsString,
    path::{Path, PathBuf},
    vec,
};

use anyhow::Result;

use super::{
    folder::{Folder, Listed},
    is_folder,
    left_out::LeftOut,
};

/// A picture to segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    /// Its file.
    pub(crate) file: PathBuf,
    /// The path of its results below the output folder, without an ending. No two pictures have the same.
    pub(crate) name: PathBuf,
    /// Its path below the folder that was given; where several paths were given, with the one that led to it.
    pub(crate) listed_as: PathBuf,
}

/// The pictures of files and folders, in their order. Of all folders only one list of names is held in memory.
#[derive(Debug)]
pub(crate) struct Walk {
    recursive: bool,
    /// The output folder as the file system names it.
    output: Option<PathBuf>,
    /// Not walked yet, the next one last.
    pending: Vec<Step>,
    current: Option<(Place, vec::IntoIter<Listed>)>,
    left_out: LeftOut,
}

#[derive(Clone, Debug)]
enum Step {
    File(Picture),
    Folder(Place),
}

/// A folder, and the paths of its pictures' results and names.
#[derive(Clone, Debug)]
struct Place {
    folder: PathBuf,
    name: PathBuf,
    listed_as: PathBuf,
}

impl Walk {
    /// A walk over `paths`, which leaves out the folder `output`. A single folder is the root of the results'
    /// paths; several paths are distinguished by their last parts.
    ///
    /// # Errors
    /// A path is not there.
    pub(crate) fn over(paths: &[PathBuf], recursive: bool, output: Option<&Path>) -> Result<Self> {
        let mut names = Names::default();
        let mut pending = Vec::new();
        for path in paths {
            pending.push(match (is_folder(path)?, paths.len()) {
                (true, 1) => Step::Folder(Place {
                    folder: path.clone(),
                    name: PathBuf::new(),
                    listed_as: PathBuf::new(),
                }),
                (true, _) => Step::Folder(Place {
                    folder: path.clone(),
                    name: names.free(last_part(path)),
                    listed_as: path.clone(),
                }),
                (false, _) => Step::File(Picture {
                    file: path.clone(),
                    name: names.free(path.file_stem().unwrap_or(path.as_os_str()).to_owned()),
                    listed_as: path.clone(),
                }),
            });
        }
        pending.reverse();
        // An output folder that is not there yet cannot be met.
        let output = output.and_then(|output| output.canonicalize().ok());
        Ok(Self { recursive, output, pending, current: None, left_out: LeftOut::default() })
    }

    /// Walks to the end, and returns the number of pictures and what is left out.
    ///
    /// # Errors
    /// A folder cannot be listed.
    pub(crate) fn survey(mut self) -> Result<(u64, LeftOut)> {
        let mut count = 0;
        for picture in self.by_ref() {
            picture?;
            count += 1;
        }
        Ok((count, self.left_out))
    }

    /// Lists a folder, whose pictures come next and then its subfolders.
    fn enter(&mut self, place: Place) -> Result<()> {
        let Folder { pictures, mut folders, links, mut results, others } = Folder::list(&place.folder)?;
        if let Some(output) = &self.output {
            let is_output = |name: &OsString| {
                place.folder.join(name).canonicalize().is_ok_and(|folder| folder == *output)
            };
            results.extend(folders.extract_if(.., |name| is_output(name)));
        }
        self.left_out.others.add(&place.folder, &others);
        self.left_out.links.add(&place.folder, &links);
        self.left_out.results.add(&place.folder, &results);
        if self.recursive {
            let below = folders.iter().rev().map(|folder| Step::Folder(place.below(folder)));
            self.pending.extend(below);
        } else {
            self.left_out.folders.add(&place.folder, &folders);
        }
        self.current = Some((place, pictures.into_iter()));
        Ok(())
    }
}

impl Iterator for Walk {
    type Item = Result<Picture>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((place, pictures)) = &mut self.current
                && let Some(listed) = pictures.next()
            {
                return Some(Ok(place.picture(&listed)));
            }
            self.current = None;
            match self.pending.pop()? {
                Step::File(picture) => return Some(Ok(picture)),
                Step::Folder(place) => {
                    if let Err(error) = self.enter(place) {
                        return Some(Err(error));
                    }
                }
            }
        }
    }
}

impl Place {
    fn below(&self, folder: &OsString) -> Self {
        let [folder, name, listed_as] =
            [&self.folder, &self.name, &self.listed_as].map(|path| path.join(folder));
        Self { folder, name, listed_as }
    }

    fn picture(&self, listed: &Listed) -> Picture {
        let whole = Path::new(&listed.name);
        // With its ending, the name of a twin is its own.
        let name = if listed.has_twin { whole.as_os_str() } else { whole.file_stem().unwrap_or_default() };
        Picture {
            file: self.folder.join(whole),
            name: self.name.join(name),
            listed_as: self.listed_as.join(whole),
        }
    }
}

/// The last part of a folder's path, also of `.` and `..`.
fn last_part(folder: &Path) -> OsString {
    let name = folder.file_name().map(ToOwned::to_owned);
    let real = || folder.canonicalize().ok()?.file_name().map(ToOwned::to_owned);
    name.or_else(real).unwrap_or_else(|| "root".into())
}

/// Names that are given once each.
#[derive(Debug, Default)]
struct Names(HashSet<OsString>);

impl Names {
    fn free(&mut self, name: OsString) -> PathBuf {
        let mut free = name.clone();
        let mut number = 1;
        while !self.0.insert(free.clone()) {
            number += 1;
            free.clone_from(&name);
            free.push(format!("-{number}"));
        }
        free.into()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(walk: Walk) -> Vec<(String, String)> {
        let text = |path: PathBuf| path.to_str().unwrap().replace('\\', "/");
        walk.map(|picture| picture.map(|picture| (text(picture.name), text(picture.listed_as))).unwrap())
            .collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, listed)| ((*name).to_owned(), (*listed).to_owned())).collect()
    }

    #[test]
    fn the_results_mirror_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["b/c", "a", "out"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        for name in ["x.png", "x.jpg", "a/x.png", "b/x.png", "b/c/x.png", "b/notes.txt", "out/x.png"] {
            fs::write(root.join(name), "").unwrap();
        }
        let paths = [root.to_owned()];
        let walk = |recursive| Walk::over(&paths, recursive, Some(&root.join("out"))).unwrap();
        let flat = [("x.jpg", "x.jpg"), ("x.png", "x.png")];
        let deep = [("a/x", "a/x.png"), ("b/x", "b/x.png"), ("b/c/x", "b/c/x.png")];
        assert_eq!(names(walk(false)), owned(&flat));
        assert_eq!(names(walk(true)), owned(&[&flat[..], &deep].concat()));

        let (count, left_out) = walk(false).survey().unwrap();
        let lines = left_out.lines().join("\n");
        assert_eq!(count, 2);
        assert!(lines.contains("2 subfolders, which --recursive includes"), "{lines}");
        assert!(lines.contains("1 result, ") && !lines.contains("notes.txt"), "{lines}");
        let (count, left_out) = walk(true).survey().unwrap();
        let lines = left_out.lines().join("\n");
        assert_eq!(count, 5);
        assert!(lines.contains("1 file, ") && lines.contains("notes.txt"), "{lines}");
    }

    #[test]
    fn several_paths_have_names_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["a/p", "b/p"] {
            fs::create_dir_all(path(name)).unwrap();
            fs::write(path(name).join("x.png"), "").unwrap();
        }
        fs::write(path("p.png"), "").unwrap();
        let walk =
            Walk::over(&[path("a/p"), path("b/p/"), path("p.png"), path("p.png")], false, None).unwrap();
        let names: Vec<_> = walk.map(|picture| picture.unwrap().name).collect();
        assert_eq!(names, ["p/x", "p-2/x", "p-3", "p-4"].map(PathBuf::from));
    }
}
