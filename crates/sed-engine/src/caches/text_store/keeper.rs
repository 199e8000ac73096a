//! Writes to the directory within its capacity: the oldest files make room for new ones.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    folder::Storage,
    index::StoredPhrases,
    origin::{Name, Origin},
};
use crate::{metrics::EngineMetrics, stages::phrases::TokenPhrase};

/// The share of the capacity that is written before the directory is measured again, since others write there
/// too, and that is freed when it is full.
const SHARE: u64 = 32;
/// The time for which a directory full of other files is believed to stay so.
const BELIEVED_FULL: Duration = Duration::from_secs(60);

/// An account of the directory's bytes.
#[derive(Debug)]
pub(super) struct Keeper {
    /// At most so many bytes, of files of other models too.
    capacity: u64,
    index: StoredPhrases,
    /// Bytes of all files, as last measured, and those that were written since.
    bytes: u64,
    /// Bytes that were written since.
    written: u64,
    /// The files that go first, the oldest in front, with their bytes.
    oldest: VecDeque<(Name, u64)>,
    measured: bool,
    /// The time at which it was last found full although nothing could be removed.
    full: Option<Instant>,
    metrics: Arc<EngineMetrics>,
}

impl Keeper {
    /// An account that begins with a measurement.
    pub(super) fn new(capacity: u64, index: StoredPhrases, metrics: Arc<EngineMetrics>) -> Self {
        Self {
            capacity,
            index,
            bytes: 0,
            written: 0,
            oldest: VecDeque::new(),
            measured: false,
            full: None,
            metrics,
        }
    }

    /// Stores an embedding, unless there is no room for it.
    pub(super) fn write(
        &mut self,
        storage: &dyn Storage,
        origin: &Origin,
        phrase: &TokenPhrase,
        embedding: &[u8],
    ) -> io::Result<()> {
        let (name, content) = (origin.name(phrase), origin.content(phrase, embedding)?);
        let size = content.len() as u64;
        if !self.make_room(storage, size)? {
            return Ok(());
        }
        let replaced = storage.write(name, &content)?;
        self.bytes = (self.bytes + size).saturating_sub(replaced);
        self.written += size;
        self.index.insert(name);
        self.metrics.text_store_writes.add(1);
        Ok(())
    }

    /// Measures the directory and updates the index.
    pub(super) fn measure(&mut self, storage: &dyn Storage) -> io::Result<()> {
        let listing = storage.list()?;
        self.metrics.text_store_leftovers.add(listing.leftovers);
        self.index.replace(listing.files.iter().map(|(name, _)| *name));
        (self.bytes, self.oldest) = (listing.bytes, listing.files.into());
        (self.written, self.measured) = (0, true);
        Ok(())
    }

    /// Updates the index with what other processes have written and removed.
    pub(super) fn refresh(&mut self, storage: &dyn Storage) -> io::Result<()> {
        self.index.replace(storage.names()?);
        Ok(())
    }

    /// Reports whether `size` more bytes fit, once the oldest files have made room for them.
    fn make_room(&mut self, storage: &dyn Storage, size: u64) -> io::Result<bool> {
        if size > self.capacity || self.full.is_some_and(|since| since.elapsed() < BELIEVED_FULL) {
            return Ok(false);
        }
        if !self.measured || self.written > self.capacity / SHARE {
            self.measure(storage)?;
        }
        if self.bytes + size <= self.capacity {
            return Ok(true);
        }
        // By this measurement, files that were written since are not among the oldest.
        self.measure(storage)?;
        let goal = self.capacity - size.max(self.capacity / SHARE);
        while self.bytes > goal
            && let Some((name, bytes)) = self.oldest.pop_front()
        {
            storage.remove(name)?;
            self.index.remove(name);
            self.bytes = self.bytes.saturating_sub(bytes);
            self.metrics.text_store_evictions.add(1);
        }
        let fits = self.bytes + size <= self.capacity;
        self.full = (!fits).then(Instant::now);
        if !fits {
            tracing::warn!(
                capacity = self.capacity,
                "the directory of text embeddings is full of other files"
            );
        }
        Ok(fits)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::{
        caches::text_store::{
            folder::{Folder, Found},
            tests::{origin, phrase},
        },
        metrics,
    };

    fn folder_bytes(folder: &Path) -> u64 {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    }

    struct Writer {
        keeper: Keeper,
        origin: Origin,
        folder: Folder,
    }

    impl Writer {
        fn new(folder: &Path, capacity: u64) -> Self {
            let origin = origin();
            let index = StoredPhrases::new(origin.clone().into());
            Self {
                keeper: Keeper::new(capacity, index, metrics::off()),
                origin,
                folder: Folder(folder.to_owned()),
            }
        }

        fn write(&mut self, text: &str, bytes: usize) {
            self.keeper.write(&self.folder, &self.origin, &phrase(text), &vec![1; bytes]).unwrap();
        }

        fn holds(&self, text: &str) -> bool {
            let name = self.origin.name(&phrase(text));
            let found = matches!(self.folder.read(name).unwrap(), Found::Content(_));
            assert_eq!(
                self.keeper.index.missing([&phrase(text)]).is_empty(),
                found,
                "{text}: the index is wrong"
            );
            found
        }
    }

    #[test]
    fn the_oldest_make_room_in_a_full_directory() {
        let place = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(place.path(), 5000);
        for number in 0..40 {
            writer.write(&format!("phrase {number}"), 200);
            // Clocks of file systems are coarse.
            let then = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + number);
            let path = place.path().join(writer.origin.name(&phrase(&format!("phrase {number}"))).file());
            fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
            assert_eq!(writer.keeper.bytes, folder_bytes(place.path()));
            assert!(writer.keeper.bytes <= 5000);
        }
        let held: Vec<bool> = (0..40).map(|number| writer.holds(&format!("phrase {number}"))).collect();
        let first = held.iter().position(|held| *held).unwrap();
        assert!((30..38).contains(&first), "{first}");
        assert!(held[first..].iter().all(|held| *held), "{held:?}");
    }

    #[test]
    fn files_of_others_are_not_removed() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("notes.txt"), vec![0; 4900]).unwrap();
        let mut writer = Writer::new(place.path(), 5000);
        writer.write("cat", 200);
        assert!(!writer.holds("cat") && place.path().join("notes.txt").exists());
        // An embedding that can never fit does not empty the directory either.
        fs::remove_file(place.path().join("notes.txt")).unwrap();
        let mut writer = Writer::new(place.path(), 5000);
        writer.write("cat", 200);
        writer.write("dog", 5000);
        assert!(writer.holds("cat") && !writer.holds("dog"));
    }

    #[test]
    fn several_writers_fill_a_directory_little_more_than_one() {
        let place = tempfile::tempdir().unwrap();
        let capacity = 100_000;
        let mut writers: Vec<Writer> = (0..4).map(|_| Writer::new(place.path(), capacity)).collect();
        for number in 0..150 {
            for (of, writer) in writers.iter_mut().enumerate() {
                writer.write(&format!("phrase {number} of {of}"), 500);
            }
            let bytes = folder_bytes(place.path());
            assert!(bytes <= capacity + 4 * (capacity / SHARE + 1000), "{bytes}");
        }
        assert!(folder_bytes(place.path()) > capacity / 2);
    }
}
