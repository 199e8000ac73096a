//! The thread between the engine and the directory. It makes no call that can hang, so that every question is
//! answered in time: by a lane's thread, or with "not there" once that thread hangs.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use super::{
    folder::{Found, Storage},
    index::StoredPhrases,
    keeper::Keeper,
    lane::Lane,
    origin::Origin,
};
use crate::{metrics::EngineMetrics, stages::phrases::TokenPhrase};

/// After so many calls in a row that hang, the directory is left alone.
pub(super) const MOST_TIMEOUTS: u32 = 3;

/// The times after which the supervisor does not wait any longer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// A phrase that is not read after this time is computed.
    pub(crate) read: Duration,
    /// A write, or a look at all files, that takes longer hangs.
    pub(crate) write: Duration,
    /// A directory that does not answer is left alone for so long.
    pub(crate) suspension: Duration,
    /// The names of the files are read again after so long, while words are missed.
    pub(crate) refresh: Duration,
}

/// The times of a server.
pub(crate) const PATIENCE: Patience = Patience {
    read: Duration::from_millis(200),
    write: Duration::from_secs(5),
    suspension: Duration::from_secs(30),
    refresh: Duration::from_secs(15),
};

/// Messages to the supervisor.
pub(super) enum Message {
    Read(TokenPhrase),
    Write(TokenPhrase, Vec<u8>),
    /// A call of the reading lane has ended.
    WasRead {
        generation: u64,
        phrase: TokenPhrase,
        found: io::Result<Found>,
    },
    /// A call of the writing lane has ended.
    WasWritten {
        generation: u64,
    },
    /// Ends once what waits is written.
    Close,
}

/// A call of the writing lane.
enum Chore {
    /// Makes the directory, and reports the outcome.
    Open(mpsc::Sender<io::Result<()>>),
    Measure,
    Refresh,
    Write(TokenPhrase, Vec<u8>),
}

/// Calls that wait, counted together with the handle.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) reads: AtomicUsize,
    pub(super) writes: AtomicUsize,
}

/// Everything that the lanes' threads share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) origin: Arc<Origin>,
    pub(super) index: StoredPhrases,
    pub(super) pending: Arc<Pending>,
    pub(super) capacity: u64,
    pub(super) patience: Patience,
    pub(super) metrics: Arc<EngineMetrics>,
}

/// The supervisor's own part. `answer` gets what was read of a phrase, or `None`.
pub(super) struct Supervisor<A> {
    shared: Shared,
    answer: A,
    /// For the lanes' threads.
    reports: mpsc::Sender<Message>,
    messages: mpsc::Receiver<Message>,
    reading: Lane<TokenPhrase>,
    /// The phrase that is being read.
    current: Option<TokenPhrase>,
    writing: Lane<Chore>,
    /// Calls in a row that hung.
    timeouts: u32,
    suspended: Option<Instant>,
    refreshed: Instant,
    closing: bool,
}

impl<A: Fn(TokenPhrase, Option<Vec<u8>>)> Supervisor<A> {
    /// A supervisor that begins with opening the directory, and reports the outcome to `opened`.
    pub(super) fn new(
        shared: Shared,
        answer: A,
        (reports, messages): (mpsc::Sender<Message>, mpsc::Receiver<Message>),
        opened: mpsc::Sender<io::Result<()>>,
    ) -> Self {
        let mut writing = Lane::new(shared.patience.write);
        writing.push(Chore::Open(opened));
        writing.push(Chore::Measure);
        Self {
            reading: Lane::new(shared.patience.read),
            shared,
            answer,
            reports,
            messages,
            current: None,
            writing,
            timeouts: 0,
            suspended: None,
            refreshed: Instant::now(),
            closing: false,
        }
    }

    /// Works until it is closed.
    pub(super) fn run(mut self) {
        loop {
            self.advance();
            if self.closing && (self.writing.is_idle() || self.writing.is_blocked()) {
                return;
            }
            match self.messages.recv_timeout(self.wait()) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
                // It holds a sender itself.
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.give_up_on_stuck();
            self.refresh();
        }
    }

    /// Hands calls to threads that are free.
    fn advance(&mut self) {
        let next = self.reading.next().cloned();
        if self
            .reading
            .advance(|generation, calls| start_reader(&self.shared, &self.reports, generation, calls))
        {
            self.current = next;
        } else if self.reading.is_blocked() {
            self.give_reads_up();
        }
        self.writing
            .advance(|generation, calls| start_writer(&self.shared, &self.reports, generation, calls));
    }

    /// Returns the time until something has to be looked at, whatever comes.
    fn wait(&self) -> Duration {
        let refresh = self.refreshed + self.shared.patience.refresh;
        let deadlines = [self.reading.deadline(), self.writing.deadline()];
        let next = deadlines.into_iter().flatten().fold(refresh, Instant::min);
        next.saturating_duration_since(Instant::now())
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Read(phrase) if self.is_suspended() || self.closing => self.reply(phrase, None),
            Message::Read(phrase) => self.reading.push(phrase),
            Message::Write(phrase, embedding) if !self.is_suspended() => {
                self.writing.push(Chore::Write(phrase, embedding));
            }
            Message::Write(..) => drop(self.shared.pending.writes.fetch_sub(1, Ordering::Relaxed)),
            Message::WasRead { generation, phrase, found } => self.was_read(generation, phrase, found),
            Message::WasWritten { generation } => {
                if self.writing.ended(generation) {
                    self.works();
                }
            }
            Message::Close => {
                self.closing = true;
                self.give_reads_up();
            }
        }
    }

    fn was_read(&mut self, generation: u64, phrase: TokenPhrase, found: io::Result<Found>) {
        let found = self.sound(&phrase, found);
        let in_time = self.reading.ended(generation);
        if in_time {
            self.works();
        }
        if in_time && self.current.take().is_some() {
            self.reply(phrase, found);
        } else if found.is_some() {
            // It was given up and answered before, but what comes too late does no harm.
            (self.answer)(phrase, found);
        }
    }

    /// The embedding of a file, if it is sound. A damaged or foreign one counts as absent, and is replaced
    /// once the embedding has been computed.
    fn sound(&self, phrase: &TokenPhrase, found: io::Result<Found>) -> Option<Vec<u8>> {
        let name = self.shared.origin.name(phrase);
        let trouble = match found {
            Ok(Found::Content(content)) => match self.shared.origin.parse(phrase, &content) {
                Some(embedding) => {
                    self.shared.metrics.text_store_reads.add(1);
                    self.shared.index.insert(name);
                    return Some(embedding);
                }
                None => Some("it does not have the content that its name says"),
            },
            Ok(Found::Foreign(reason)) => Some(reason),
            Ok(Found::Nothing) => None,
            Err(error) => {
                tracing::warn!(file = name.file(), %error, "cannot read a text embedding");
                None
            }
        };
        if let Some(reason) = trouble {
            self.shared.metrics.text_store_damaged.add(1);
            tracing::warn!(
                file = name.file(),
                reason,
                "a stored text embedding is damaged; computing it again"
            );
        }
        self.shared.index.remove(name);
        None
    }

    fn reply(&self, phrase: TokenPhrase, found: Option<Vec<u8>>) {
        self.shared.pending.reads.fetch_sub(1, Ordering::Relaxed);
        (self.answer)(phrase, found);
    }

    /// Answers all that waits to be read with "not there".
    fn give_reads_up(&mut self) {
        let waiting: Vec<_> = self.reading.drain().collect();
        for phrase in self.current.take().into_iter().chain(waiting) {
            self.reply(phrase, None);
        }
    }

    /// A call that hangs is left to its thread. What waits behind it has waited long enough, too.
    fn give_up_on_stuck(&mut self) {
        let (read_hangs, write_hangs) = (self.reading.abandon_if_stuck(), self.writing.abandon_if_stuck());
        self.count_timeouts(u32::from(read_hangs) + u32::from(write_hangs));
        if read_hangs || self.is_suspended() {
            self.give_reads_up();
        }
        if write_hangs {
            let chores: Vec<Chore> = self.writing.drain().collect();
            let writes = chores.iter().filter(|chore| matches!(chore, Chore::Write(..))).count();
            self.shared.pending.writes.fetch_sub(writes, Ordering::Relaxed);
        }
    }

    /// Leaves the directory alone after too many calls in a row that hung.
    fn count_timeouts(&mut self, hung: u32) {
        if hung == 0 {
            return;
        }
        self.shared.metrics.text_store_timeouts.add(u64::from(hung));
        self.timeouts += hung;
        if self.timeouts >= MOST_TIMEOUTS {
            if self.suspended.is_none() {
                let seconds = self.shared.patience.suspension.as_secs();
                tracing::warn!(
                    seconds,
                    "the directory of text embeddings does not answer; left alone for some time"
                );
            }
            self.suspended = Some(Instant::now());
            self.shared.index.suspend(true);
        }
    }

    /// Reports whether the directory is left alone now. Afterwards it is tried again by the next call.
    fn is_suspended(&self) -> bool {
        self.suspended.is_some_and(|since| since.elapsed() < self.shared.patience.suspension)
    }

    /// A call has ended in time.
    fn works(&mut self) {
        self.timeouts = 0;
        if self.suspended.take().is_some() {
            tracing::info!("the directory of text embeddings answers again");
            self.shared.index.suspend(false);
        }
    }

    /// Reads the names of the files again from time to time, while phrases are missed that others may have
    /// written.
    fn refresh(&mut self) {
        if self.refreshed.elapsed() < self.shared.patience.refresh {
            return;
        }
        self.refreshed = Instant::now();
        let wanted = self.shared.index.has_missed() || self.suspended.is_some();
        if wanted && !self.closing && self.writing.is_idle() && !self.is_suspended() {
            self.writing.push(Chore::Refresh);
        }
    }
}

fn start_reader(
    shared: &Shared,
    reports: &mpsc::Sender<Message>,
    generation: u64,
    calls: mpsc::Receiver<TokenPhrase>,
) -> io::Result<()> {
    let (shared, reports) = (shared.clone(), reports.clone());
    let work = move || {
        for phrase in calls {
            let found = shared.storage.read(shared.origin.name(&phrase));
            if reports.send(Message::WasRead { generation, phrase, found }).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("text-store-read".into()).spawn(work).map(drop)
}

fn start_writer(
    shared: &Shared,
    reports: &mpsc::Sender<Message>,
    generation: u64,
    calls: mpsc::Receiver<Chore>,
) -> io::Result<()> {
    let (shared, reports) = (shared.clone(), reports.clone());
    let work = move || {
        let mut keeper = Keeper::new(shared.capacity, shared.index.clone(), Arc::clone(&shared.metrics));
        let mut in_trouble = false;
        for chore in calls {
            let outcome = do_chore(&shared, &mut keeper, chore);
            // Once, until it works again: a read-only directory refuses every write.
            if let Err(error) = &outcome
                && !in_trouble
            {
                tracing::warn!(%error, "cannot keep text embeddings");
            }
            in_trouble = outcome.is_err();
            if reports.send(Message::WasWritten { generation }).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("text-store-write".into()).spawn(work).map(drop)
}

fn do_chore(shared: &Shared, keeper: &mut Keeper, chore: Chore) -> io::Result<()> {
    let storage = &*shared.storage;
    match chore {
        Chore::Open(opened) => {
            // The starter may not have waited.
            let _ = opened.send(storage.open());
            Ok(())
        }
        Chore::Measure => keeper.measure(storage),
        Chore::Refresh => keeper.refresh(storage),
        Chore::Write(phrase, embedding) => {
            let written = keeper.write(storage, &shared.origin, &phrase, &embedding);
            shared.pending.writes.fetch_sub(1, Ordering::Relaxed);
            written
        }
    }
}
