//! Text embeddings in a directory, so that restarts and replicas share them. Each phrase is one file, written
//! whole or not at all, and believed only if its checksum and its origin are right.
//!
//! The directory may be on a network and hang: the engine's threads never wait for it. What is not read in
//! time is computed, and a directory that does not answer is left alone for some time.

mod folder;
mod index;
mod keeper;
mod lane;
mod origin;
mod supervisor;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use crate::{
    metrics::EngineMetrics,
    requests::error::EngineError,
    stages::{ModelInfo, phrases::TokenPhrase},
};
use folder::{Folder, Storage};
pub(crate) use index::StoredPhrases;
use origin::Origin;
use supervisor::{Message, PATIENCE, Patience, Pending, Shared, Supervisor};

/// Embeddings that may wait to be written; those beyond are not kept.
const MOST_WRITES: usize = 256;
/// Phrases that may wait to be read; those beyond are computed.
const MOST_READS: usize = 65_536;

/// The way to the thread that reads and writes, so that the device does not wait for disks. The thread ends
/// with this handle, once everything that was to be kept is written or the directory hangs.
#[derive(Debug)]
pub(crate) struct TextStoreThread {
    messages: mpsc::Sender<Message>,
    pending: Arc<Pending>,
    stored: StoredPhrases,
    /// `None` only while the handle is dropped.
    thread: Option<JoinHandle<()>>,
}

impl Drop for TextStoreThread {
    fn drop(&mut self) {
        // It is only gone already after a panic, which joining shows.
        let _ = self.messages.send(Message::Close);
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
        metrics: &Arc<EngineMetrics>,
        answer: impl Fn(TokenPhrase, Option<Vec<u8>>) + Send + 'static,
    ) -> Result<Self, EngineError> {
        let storage = Arc::new(Folder(folder.to_owned()));
        Self::start_with(storage, capacity, PATIENCE, model, metrics, answer)
            .map_err(|error| EngineError::TextStore { folder: folder.to_owned(), message: error.to_string() })
    }

    /// The same with any storage and other times.
    pub(crate) fn start_with(
        storage: Arc<dyn Storage>,
        capacity: u64,
        patience: Patience,
        model: &ModelInfo,
        metrics: &Arc<EngineMetrics>,
        answer: impl Fn(TokenPhrase, Option<Vec<u8>>) + Send + 'static,
    ) -> io::Result<Self> {
        let origin = Arc::new(Origin::of(model));
        let stored = StoredPhrases::new(Arc::clone(&origin));
        let pending = Arc::<Pending>::default();
        let shared = Shared {
            storage,
            origin,
            index: stored.clone(),
            pending: Arc::clone(&pending),
            capacity,
            patience,
            metrics: Arc::clone(metrics),
        };
        let (messages, receiver) = mpsc::channel();
        let (opened, outcome) = mpsc::channel();
        let supervisor = Supervisor::new(shared, answer, (messages.clone(), receiver), opened);
        let thread = std::thread::Builder::new().name("text-store".into()).spawn(move || supervisor.run())?;
        let store = Self { messages, pending, stored, thread: Some(thread) };
        // A directory that hangs may answer later; it is left alone until then.
        outcome.recv_timeout(patience.write).unwrap_or(Ok(()))?;
        Ok(store)
    }

    /// The phrases that the directory is believed to hold.
    pub(crate) fn stored(&self) -> StoredPhrases {
        self.stored.clone()
    }

    /// Asks for a phrase; false if too many wait already, or the thread has gone.
    pub(crate) fn read(&self, phrase: TokenPhrase) -> bool {
        self.send(&self.pending.reads, MOST_READS, Message::Read(phrase))
    }

    /// Stores an embedding, unless too many wait for it already.
    pub(crate) fn write(&self, phrase: TokenPhrase, embedding: Vec<u8>) {
        self.send(&self.pending.writes, MOST_WRITES, Message::Write(phrase, embedding));
    }

    fn send(&self, pending: &AtomicUsize, most: usize, message: Message) -> bool {
        let sent = pending.fetch_add(1, Ordering::Relaxed) < most && self.messages.send(message).is_ok();
        if !sent {
            pending.fetch_sub(1, Ordering::Relaxed);
        }
        sent
    }
}
