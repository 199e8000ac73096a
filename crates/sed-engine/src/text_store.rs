//! Text embeddings in a directory, so that restarts and replicas share them. Each phrase is one file, written
//! whole or not at all, and believed only if its checksum and its origin are right.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{error::EngineError, metrics, stages::ModelInfo};

/// The first bytes of every file; the digit is the version of the format.
const MAGIC: &[u8; 8] = b"SEDTEXT1";
/// The largest header that is read: a phrase has at most some kilobytes.
const MOST_HEADER: usize = 1 << 20;
/// Embeddings that may wait to be written; those beyond are not kept.
const MOST_PENDING: usize = 256;

/// The share of the capacity that is written before the folder is measured again: others write there too.
const MEASURED_EACH: u64 = 32;
/// How long a folder that was found full is believed to be.
const BELIEVED_FULL: Duration = Duration::from_secs(60);

/// What stands before the embedding's bytes, as JSON.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    /// Digest of the weights and number format.
    model: String,
    templates: String,
    phrase: String,
    bytes: usize,
    sha256: String,
}

/// A directory of embeddings of one model.
#[derive(Debug)]
struct TextStore {
    folder: PathBuf,
    /// As in [`Header`].
    model: String,
    templates: String,
    /// Bytes of all files, of other models too: as last measured, and what was written since.
    bytes: u64,
    /// What was written since.
    written: u64,
    measured: Instant,
    /// Nothing more is written beyond this.
    capacity: u64,
}

/// What is asked of the thread.
enum Command {
    Read(Arc<str>),
    Write(Arc<str>, Vec<u8>),
}

/// The thread that reads and writes, so that the device does not wait for disks. It ends with this handle, once
/// everything that was to be kept is written.
#[derive(Debug)]
pub(crate) struct TextStoreThread {
    /// `None` only while the handle is dropped.
    commands: Option<mpsc::Sender<Command>>,
    pending_writes: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for TextStoreThread {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread for stored text embeddings panicked");
        }
    }
}

impl TextStoreThread {
    /// Opens the directory, making it if need be. `answer` gets what was read of a phrase, or `None`.
    pub(crate) fn start(
        folder: &Path,
        capacity: u64,
        model: &ModelInfo,
        answer: impl Fn(Arc<str>, Option<Vec<u8>>) + Send + 'static,
    ) -> Result<Self, EngineError> {
        let mut store = TextStore::open(folder, capacity, model).map_err(|error| EngineError::TextStore {
            folder: folder.to_owned(),
            message: error.to_string(),
        })?;
        let (commands, orders) = mpsc::channel();
        let pending_writes = Arc::new(AtomicUsize::new(0));
        let pending = Arc::clone(&pending_writes);
        let run = move || {
            for command in orders {
                match command {
                    Command::Read(phrase) => {
                        let found = store.read(&phrase);
                        answer(phrase, found);
                    }
                    Command::Write(phrase, embedding) => {
                        if let Err(error) = store.write(&phrase, &embedding) {
                            tracing::warn!(folder = %store.folder.display(), %error, "cannot keep a text embedding");
                        }
                        pending.fetch_sub(1, Ordering::Relaxed);
                    }
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("text-store".into())
            .spawn(run)
            .map_err(|error| EngineError::NoThread(error.to_string()))?;
        Ok(Self { commands: Some(commands), pending_writes, thread: Some(thread) })
    }

    /// Asks for a phrase; false if the thread has gone.
    pub(crate) fn read(&self, phrase: Arc<str>) -> bool {
        self.send(Command::Read(phrase))
    }

    /// Keeps an embedding, unless too many wait for it already.
    pub(crate) fn write(&self, phrase: Arc<str>, embedding: Vec<u8>) {
        if self.pending_writes.fetch_add(1, Ordering::Relaxed) >= MOST_PENDING
            || !self.send(Command::Write(phrase, embedding))
        {
            self.pending_writes.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn send(&self, command: Command) -> bool {
        self.commands.as_ref().is_some_and(|commands| commands.send(command).is_ok())
    }
}

impl TextStore {
    fn open(folder: &Path, capacity: u64, model: &ModelInfo) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        // A directory baked into an image may be read-only; then it is only read.
        // The number format rounds the text tower's weights.
        let (model, templates) =
            (format!("{} {}", model.digest, model.dtype), model.templates_digest.clone());
        let (folder, bytes) = (folder.to_owned(), folder_bytes(folder)?);
        Ok(Self { folder, model, templates, bytes, written: 0, measured: Instant::now(), capacity })
    }

    /// The file of a phrase: its name is a digest of everything that the embedding depends on.
    fn path(&self, phrase: &str) -> PathBuf {
        let mut hasher = Sha256::new();
        for part in [&self.model, &self.templates, phrase] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        self.folder.join(format!("{}.text", hex(&hasher.finalize())))
    }

    /// The embedding of a phrase, if a sound file holds it. A damaged or foreign one counts as absent, and is
    /// replaced once the embedding has been computed.
    fn read(&self, phrase: &str) -> Option<Vec<u8>> {
        let path = self.path(phrase);
        let file = match fs::read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "cannot read a text embedding");
                return None;
            }
        };
        let found = self.parse(phrase, &file);
        match &found {
            Some(_) => metrics::TEXT_STORE_READS.add(1),
            None => {
                metrics::TEXT_STORE_DAMAGED.add(1);
                tracing::warn!(file = %path.display(), "a stored text embedding is damaged; computing it anew");
            }
        }
        found
    }

    fn parse(&self, phrase: &str, file: &[u8]) -> Option<Vec<u8>> {
        let rest = file.strip_prefix(MAGIC)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > MOST_HEADER {
            return None;
        }
        let (header, embedding) = rest.split_at_checked(length)?;
        let header: Header = serde_json::from_slice(header).ok()?;
        (header == self.header(phrase, embedding)).then(|| embedding.to_vec())
    }

    fn header(&self, phrase: &str, embedding: &[u8]) -> Header {
        Header {
            model: self.model.clone(),
            templates: self.templates.clone(),
            phrase: phrase.to_owned(),
            bytes: embedding.len(),
            sha256: hex(&Sha256::digest(embedding)),
        }
    }

    fn write(&mut self, phrase: &str, embedding: &[u8]) -> io::Result<()> {
        let header = serde_json::to_vec(&self.header(phrase, embedding))?;
        let size = (MAGIC.len() + 4 + header.len() + embedding.len()) as u64;
        if !self.has_room_for(size)? {
            tracing::debug!(capacity = self.capacity, "the directory of text embeddings is full");
            return Ok(());
        }
        let path = self.path(phrase);
        // A name of its own until it is whole: another process that writes the same phrase does no harm.
        let mut file = tempfile::Builder::new().prefix(".part-").tempfile_in(&self.folder)?;
        for part in [MAGIC.as_slice(), &(header.len() as u32).to_le_bytes(), &header, embedding] {
            file.write_all(part)?;
        }
        let replaced = fs::metadata(&path).map_or(0, |old| old.len());
        file.persist(&path).map_err(|error| error.error)?;
        self.bytes = (self.bytes + size).saturating_sub(replaced);
        self.written += size;
        metrics::TEXT_STORE_WRITES.add(1);
        Ok(())
    }

    /// Whether so many bytes more may be written. Measures the folder anew where what others do there may matter.
    fn has_room_for(&mut self, size: u64) -> io::Result<bool> {
        let full = self.bytes + size > self.capacity;
        if self.written > self.capacity / MEASURED_EACH || (full && self.measured.elapsed() > BELIEVED_FULL) {
            (self.bytes, self.written, self.measured) = (folder_bytes(&self.folder)?, 0, Instant::now());
        }
        Ok(self.bytes + size <= self.capacity)
    }
}

fn folder_bytes(folder: &Path) -> io::Result<u64> {
    let size = |entry: io::Result<fs::DirEntry>| Ok(entry?.metadata().map_or(0, |file| file.len()));
    fs::read_dir(folder)?.map(size).sum()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn store(folder: &Path, digest: &str) -> TextStore {
        let model = ModelInfo { digest: digest.into(), ..crate::fake::model_info() };
        TextStore::open(folder, 1 << 20, &model).unwrap()
    }

    #[test]
    fn what_was_written_is_read_by_the_same_model_only() {
        let folder = tempfile::tempdir().unwrap();
        let (mut one, other) = (store(folder.path(), "sha256:1"), store(folder.path(), "sha256:2"));
        assert_eq!(one.read("cat"), None);
        one.write("cat", b"embedding").unwrap();
        assert_eq!(one.read("cat").as_deref(), Some(b"embedding".as_slice()));
        assert_eq!(store(folder.path(), "sha256:1").read("cat").as_deref(), Some(b"embedding".as_slice()));
        assert_eq!((other.read("cat"), one.read("Cat")), (None, None));
        let rounded =
            ModelInfo { digest: "sha256:1".into(), dtype: "bf16".into(), ..crate::fake::model_info() };
        assert_eq!(TextStore::open(folder.path(), 1 << 20, &rounded).unwrap().read("cat"), None);
        // A file of the other model under this name, as a careless copy would leave it.
        fs::copy(one.path("cat"), other.path("cat")).unwrap();
        assert_eq!(other.read("cat"), None);
    }

    #[test]
    fn damage_is_seen_and_mended() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(folder.path(), "sha256:1");
        store.write("cat", &[7; 300]).unwrap();
        let path = store.path("cat");
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(store.read("cat"), None, "truncated to {length}");
        }
        store.write("cat", &[7; 300]).unwrap();
        assert_eq!(store.read("cat"), Some(vec![7; 300]));
    }

    #[test]
    fn a_full_directory_takes_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(folder.path(), "sha256:1");
        store.capacity = 1000;
        for number in 0..10 {
            store.write(&format!("phrase {number}"), &[1; 200]).unwrap();
        }
        assert_eq!(store.bytes, folder_bytes(folder.path()).unwrap());
        assert!(store.bytes <= 1000);
        assert!(store.read("phrase 0").is_some() && store.read("phrase 9").is_none());
    }

    #[test]
    fn several_writers_fill_a_directory_little_more_than_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut stores: Vec<TextStore> = (0..4).map(|_| store(folder.path(), "sha256:1")).collect();
        let capacity = 100_000;
        for number in 0..400 {
            for (of, store) in stores.iter_mut().enumerate() {
                store.capacity = capacity;
                store.write(&format!("phrase {number} of {of}"), &[1; 500]).unwrap();
            }
        }
        let bytes = folder_bytes(folder.path()).unwrap();
        assert!(bytes <= capacity + 4 * (capacity / MEASURED_EACH + 1000), "{bytes}");
        assert!(bytes > capacity - 1000, "{bytes}");
        // Who makes room is believed a minute later.
        for number in 0..30 {
            fs::remove_file(stores[0].path(&format!("phrase {number} of 0"))).unwrap();
        }
        stores[0].measured = Instant::now().checked_sub(2 * BELIEVED_FULL).unwrap();
        stores[0].write("one more", &[1; 500]).unwrap();
        assert!(stores[0].read("one more").is_some());
    }

    proptest! {
        #[test]
        fn any_other_bytes_are_no_embedding(at in 0_usize..400, value in any::<u8>(), noise in any::<Vec<u8>>()) {
            let folder = tempfile::tempdir().unwrap();
            let mut store = store(folder.path(), "sha256:1");
            store.write("cat", &[7; 100]).unwrap();
            let mut file = fs::read(store.path("cat")).unwrap();
            let at = at % file.len();
            prop_assume!(file[at] != value);
            // White space and key order in the header may differ and still mean the same.
            file[at] = value;
            prop_assert!(store.parse("cat", &file).is_none_or(|embedding| embedding == [7; 100]));
            prop_assert_eq!(store.parse("cat", &noise), None);
        }
    }
}
