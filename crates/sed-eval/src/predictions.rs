//! The index masks of a run's pictures in a folder.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use sed_image::{
    IndexMap,
    mask::png::{self, IndexDepth},
};

use crate::{
    error::{Cause, Error, Result},
    run::Run,
};

/// The file in the folder that says of which run the masks are.
const RUN: &str = "run.json";
/// The most categories whose indices fit into 8 bits beside the value of unlabelled pixels.
const MOST_IN_8_BITS: usize = 255;

/// A folder of masks: for `x/y.jpg` the file `x/y.png`.
#[derive(Debug)]
pub(crate) struct Predictions {
    folder: PathBuf,
    replaced: AtomicU64,
}

impl Predictions {
    /// Makes the folder, or opens that of an equal run, for pictures with these names.
    ///
    /// # Errors
    /// The folder cannot be written, holds the masks of another run or files of other origin with the names
    /// of masks, or two pictures would have one mask.
    pub(crate) fn open(folder: &Path, run: &Run, pictures: &[String]) -> Result<Self> {
        let this = Self { folder: folder.to_owned(), replaced: AtomicU64::new(0) };
        if let Some(around) = run.folders().into_iter().find(|around| is_inside(folder, around)) {
            return Err(Error::Inside(folder.to_owned(), around.to_owned()));
        }
        let mut files: Vec<(PathBuf, &str)> =
            pictures.iter().map(|picture| (this.file(picture), picture.as_str())).collect();
        files.sort();
        if let Some([(file, first), (_, second)]) = files.array_windows().find(|[(a, _), (b, _)]| a == b) {
            let pictures = [first, second].map(|&name| name.to_owned());
            return Err(Error::OneMask { file: file.clone(), pictures });
        }
        let header = folder.join(RUN);
        if header.is_file() {
            let read = || -> Result<Run, Cause> { Ok(serde_json::from_slice(&fs::read(&header)?)?) };
            let earlier = read().map_err(|source| Error::Saved { file: header.clone(), source })?;
            let differences = run.differences(&earlier);
            if !differences.is_empty() {
                return Err(Error::OtherRun { file: header, differences });
            }
        } else if let Some((taken, _)) = files.into_iter().find(|(file, _)| file.exists()) {
            return Err(Error::Taken(taken));
        } else {
            let json = serde_json::to_vec_pretty(run).map_err(|source| Error::Encoding { source })?;
            write(&header, &json)?;
        }
        Ok(this)
    }

    /// Reports whether a picture's mask is there.
    pub(crate) fn has(&self, picture: &str) -> bool {
        self.file(picture).is_file()
    }

    /// The number of masks that were there before and are written again.
    pub(crate) fn replaced(&self) -> u64 {
        self.replaced.load(Ordering::Relaxed)
    }

    /// Encodes the mask of an answer to `words` categories, in 8 bits if they suffice for all.
    pub(crate) fn encode(map: &IndexMap, words: usize) -> Result<Vec<u8>> {
        let depth = if words <= MOST_IN_8_BITS { IndexDepth::Bits8 } else { IndexDepth::Bits16 };
        Ok(png::encode(map, depth)?)
    }

    /// Writes the encoded mask of a picture.
    pub(crate) fn write(&self, picture: &str, png: &[u8]) -> Result<()> {
        let file = self.file(picture);
        self.replaced.fetch_add(u64::from(file.exists()), Ordering::Relaxed);
        write(&file, png)
    }

    fn file(&self, picture: &str) -> PathBuf {
        self.folder.join(picture).with_extension("png")
    }
}

/// Reports whether `folder`, which is perhaps not there yet, is or lies in the folder `around`.
fn is_inside(folder: &Path, around: &Path) -> bool {
    let (Ok(folder), Ok(around)) = (std::path::absolute(folder), fs::canonicalize(around)) else {
        return false;
    };
    let existing = folder.ancestors().find_map(|part| Some((part, fs::canonicalize(part).ok()?)));
    existing.is_some_and(|(part, real)| {
        real.join(folder.strip_prefix(part).unwrap_or(Path::new(""))).starts_with(around)
    })
}

/// Writes a file as a whole, and makes its folder.
fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    let part = file.with_extension("part");
    let folder = file.parent().map_or(Ok(()), fs::create_dir_all);
    let done = folder.and_then(|()| fs::write(&part, bytes)).and_then(|()| fs::rename(&part, file));
    done.map_err(|source| Error::Prediction { file: file.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use sed_image::UNLABELLED;

    use super::*;
    use crate::run::tests::{run, run_on};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn depth_is_that_of_the_categories_and_subfolders_are_made() {
        let root = tempfile::tempdir().unwrap();
        let masks = Predictions::open(root.path(), &run("a"), &names(&["x/y.jpg"])).unwrap();
        for (words, depth) in [(255, png::IndexDepth::Bits8), (256, png::IndexDepth::Bits16)] {
            let map = IndexMap::new(3, 1, vec![0, 254, UNLABELLED]).unwrap();
            let bytes = Predictions::encode(&map, words).unwrap();
            assert_eq!(bytes, png::encode(&map, depth).unwrap());
            masks.write("x/y.jpg", &bytes).unwrap();
            let written = fs::read(root.path().join("x/y.png")).unwrap();
            assert_eq!(png::decode(&written, 3).unwrap(), map);
        }
        assert!(masks.has("x/y.jpg") && !masks.has("y.jpg"));
        assert_eq!(masks.replaced(), 1);
    }

    #[test]
    fn a_folder_among_the_pictures_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let run = run_on(root.path());
        for inside in ["", "masks", "a/../masks/deeper"] {
            let error = Predictions::open(&root.path().join(inside), &run, &[]).unwrap_err().to_string();
            assert!(error.contains("would count as pictures"), "{inside}: {error}");
        }
        let beside = tempfile::tempdir().unwrap();
        Predictions::open(&beside.path().join("masks"), &run, &[]).unwrap();
    }

    #[test]
    fn files_of_other_runs_and_of_other_origin_are_not_replaced() {
        let root = tempfile::tempdir().unwrap();
        let open = |model: &str, pictures: &[&str]| {
            Predictions::open(root.path(), &run(model), &names(pictures)).map(drop)
        };
        fs::write(root.path().join("x.png"), "mine").unwrap();
        let error = open("a", &["x.jpg"]).unwrap_err().to_string();
        assert!(error.contains("x.png is there already"), "{error}");
        let error = open("a", &["y.jpg", "y.png"]).unwrap_err().to_string();
        assert!(error.contains("y.jpg and y.png would both be the mask"), "{error}");
        assert!(!root.path().join(RUN).exists());
        open("a", &["z.jpg"]).unwrap();
        open("a", &["z.jpg", "w.jpg"]).unwrap();
        let error = open("b", &["z.jpg"]).unwrap_err().to_string();
        assert!(error.contains("model was a (sha256:a) and is b"), "{error}");
    }
}
