//! The directory itself: plain calls of the operating system, any of which may hang on a network file system.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::origin::Name;

/// The beginning of the names of files that are being written.
const UNFINISHED: &str = ".part-";
/// An unfinished file that is older was left by a process that ended: writing one takes milliseconds.
const ABANDONED: Duration = Duration::from_secs(600);
/// The largest file that is read; an embedding has some hundred kilobytes.
const MOST_BYTES: u64 = 16 << 20;

/// The result of looking for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    Content(Vec<u8>),
    /// Something that is no file of ours, and why.
    Foreign(&'static str),
}

/// The content of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// The text embeddings of all models, the oldest first, with their bytes.
    pub(crate) files: Vec<(Name, u64)>,
    /// Bytes of all files, of others too.
    pub(crate) bytes: u64,
    /// Unfinished files that were removed, because their processes have ended.
    pub(crate) leftovers: u64,
}

/// A directory that stores embeddings, or a test's double of one. Any call may block for any time.
pub(crate) trait Storage: Send + Sync + 'static {
    /// Makes the directory if it is not there.
    fn open(&self) -> io::Result<()>;
    /// The file of a name.
    fn read(&self, name: Name) -> io::Result<Found>;
    /// Writes a file whole or not at all; returns the bytes of the one that it replaces.
    fn write(&self, name: Name, content: &[u8]) -> io::Result<u64>;
    /// Removes a file; one that is gone already is no error.
    fn remove(&self, name: Name) -> io::Result<()>;
    /// Lists the files, and removes what processes that have ended left unfinished. Looks at every file.
    fn list(&self) -> io::Result<Listing>;
    /// Lists the names of the text embeddings alone.
    fn names(&self) -> io::Result<Vec<Name>>;
}

/// A directory of the file system.
#[derive(Clone, Debug)]
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    fn path(&self, name: Name) -> PathBuf {
        self.0.join(name.file())
    }
}

impl Storage for Folder {
    fn open(&self) -> io::Result<()> {
        // A directory baked into an image may be read-only; then it is only read.
        fs::create_dir_all(&self.0)?;
        fs::read_dir(&self.0).map(|_| ())
    }

    fn read(&self, name: Name) -> io::Result<Found> {
        let file = match open_at_once(&self.path(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        let facts = file.metadata()?;
        if !facts.is_file() {
            return Ok(Found::Foreign("it is no regular file"));
        }
        if facts.len() > MOST_BYTES {
            return Ok(Found::Foreign("it is too large"));
        }
        let mut content = Vec::with_capacity(facts.len() as usize);
        file.take(MOST_BYTES).read_to_end(&mut content)?;
        Ok(Found::Content(content))
    }

    fn write(&self, name: Name, content: &[u8]) -> io::Result<u64> {
        let path = self.path(name);
        // A name of its own until it is whole: another process that writes the same phrase does no harm.
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.0)?;
        file.write_all(content)?;
        let replaced = fs::symlink_metadata(&path).map_or(0, |old| old.len());
        file.persist(&path).map_err(|error| error.error)?;
        Ok(replaced)
    }

    fn remove(&self, name: Name) -> io::Result<()> {
        removed(fs::remove_file(self.path(name)))
    }

    fn list(&self) -> io::Result<Listing> {
        let now = SystemTime::now();
        let mut listing = Listing::default();
        let mut dated = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            // A file that has gone in the meantime is none.
            let Ok(facts) = entry.metadata() else { continue };
            let (file, bytes) = (entry.file_name(), facts.len());
            let file = file.to_string_lossy();
            let modified = facts.modified().unwrap_or(now);
            let age = now.duration_since(modified).unwrap_or_default();
            if file.starts_with(UNFINISHED)
                && age > ABANDONED
                && removed(fs::remove_file(entry.path())).is_ok()
            {
                listing.leftovers += 1;
                continue;
            }
            listing.bytes += bytes;
            if let Some(name) = Name::of_file(&file) {
                dated.push((modified, name, bytes));
            }
        }
        dated.sort_unstable();
        listing.files = dated.into_iter().map(|(_, name, bytes)| (name, bytes)).collect();
        Ok(listing)
    }

    fn names(&self) -> io::Result<Vec<Name>> {
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.map(|entry| Name::of_file(&entry.file_name().to_string_lossy())).transpose()
        };
        fs::read_dir(&self.0)?.filter_map(name).collect()
    }
}

/// Accepts the removal of a file that is gone: another process was faster.
fn removed(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Opens a file to read it, without waiting for the other end of a pipe.
#[cfg(unix)]
fn open_at_once(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed()).open(path)
}

#[cfg(not(unix))]
fn open_at_once(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caches::text_store::tests::{origin, phrase};

    fn folder() -> (tempfile::TempDir, Folder, Name) {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder(place.path().to_owned());
        (place, folder, origin().name(&phrase("cat")))
    }

    #[test]
    fn what_was_written_is_read_until_it_is_removed() {
        let (_place, folder, name) = folder();
        assert_eq!(folder.read(name).unwrap(), Found::Nothing);
        assert_eq!(folder.write(name, b"first").unwrap(), 0);
        assert_eq!(folder.write(name, b"other one").unwrap(), 5);
        assert_eq!(folder.read(name).unwrap(), Found::Content(b"other one".to_vec()));
        folder.remove(name).unwrap();
        folder.remove(name).unwrap();
        assert_eq!(folder.read(name).unwrap(), Found::Nothing);
    }

    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let (place, folder, name) = folder();
        let path = folder.path(name);
        fs::create_dir(&path).unwrap();
        assert!(matches!(folder.read(name).unwrap(), Found::Foreign(_)));
        fs::remove_dir(&path).unwrap();
        File::create(&path).unwrap().set_len(MOST_BYTES + 1).unwrap();
        assert!(matches!(folder.read(name).unwrap(), Found::Foreign(_)));
        // A file that is a link is as good as what it leads to.
        fs::remove_file(&path).unwrap();
        fs::write(place.path().join("elsewhere"), "embedding").unwrap();
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(place.path().join("elsewhere"), &path).unwrap();
            assert_eq!(folder.read(name).unwrap(), Found::Content(b"embedding".to_vec()));
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
            assert!(matches!(folder.read(name).unwrap(), Found::Foreign(_)));
            fs::remove_file(&path).unwrap();
            assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
            assert!(matches!(folder.read(name).unwrap(), Found::Foreign(_)), "a pipe without a writer");
            folder.write(name, b"in its place").unwrap();
            assert_eq!(folder.read(name).unwrap(), Found::Content(b"in its place".to_vec()));
        }
    }

    #[test]
    fn the_oldest_are_listed_first_and_leftovers_are_removed() {
        let (place, folder, cat) = folder();
        let dog = origin().name(&phrase("dog"));
        let aged = |path: PathBuf, seconds: u64| {
            let then = SystemTime::now() - Duration::from_secs(seconds);
            OpenOptions::new().write(true).open(path).unwrap().set_modified(then).unwrap();
        };
        for (name, bytes) in [(cat, 3), (dog, 4)] {
            folder.write(name, &vec![1; bytes]).unwrap();
        }
        aged(folder.path(dog), 50);
        for (file, seconds) in [(".part-dead", 4000), (".part-alive", 5), ("notes.txt", 4000)] {
            fs::write(place.path().join(file), "12345").unwrap();
            aged(place.path().join(file), seconds);
        }
        let listing = folder.list().unwrap();
        assert_eq!(listing, Listing { files: vec![(dog, 4), (cat, 3)], bytes: 17, leftovers: 1 });
        let mut names = folder.names().unwrap();
        names.sort_unstable_by_key(|name| *name != dog);
        assert_eq!(names, [dog, cat]);
        assert!(!place.path().join(".part-dead").exists() && place.path().join(".part-alive").exists());
        assert_eq!(folder.list().unwrap().leftovers, 0);
    }
}
