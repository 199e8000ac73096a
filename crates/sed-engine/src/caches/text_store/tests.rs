//! The store as the engine uses it, over directories that are sound, damaged or hang.

use std::{
    collections::HashMap,
    fs,
    sync::{Condvar, Mutex, mpsc::Receiver},
    time::{Duration, Instant},
};

use super::{
    folder::{Found, Listing},
    origin::Name,
    *,
};
use crate::{
    metrics,
    stages::{
        fake::{FakeReader, model_info},
        phrases::ReadPhrases,
    },
};

/// A ceiling that only a failure reaches.
const CEILING: Duration = Duration::from_secs(20);

pub(crate) fn phrase(text: &str) -> TokenPhrase {
    TokenPhrase::new(text, FakeReader.read(text).ids)
}

pub(super) fn origin() -> Origin {
    Origin::of(&model_info())
}

/// A directory in memory of which some calls hang.
#[derive(Default)]
pub(crate) struct Hanging {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    files: HashMap<Name, Vec<u8>>,
    /// Reads of these files hang.
    held: Vec<Name>,
    /// So many of the next calls hang, whatever they are.
    next: usize,
    /// Calls that hang now.
    hanging: usize,
    calls: usize,
    released: bool,
}

impl Hanging {
    pub(crate) fn hold(&self, text: &str) {
        self.state.lock().unwrap().held.push(origin().name(&phrase(text)));
    }

    pub(crate) fn hold_next(&self, calls: usize) {
        self.state.lock().unwrap().next = calls;
    }

    pub(crate) fn release(&self) {
        self.state.lock().unwrap().released = true;
        self.changed.notify_all();
    }

    /// Calls that hang now, and all calls so far.
    pub(crate) fn calls(&self) -> (usize, usize) {
        let state = self.state.lock().unwrap();
        (state.hanging, state.calls)
    }

    pub(crate) fn put(&self, text: &str, embedding: &[u8]) {
        let (origin, phrase) = (origin(), phrase(text));
        let content = origin.content(&phrase, embedding).unwrap();
        self.state.lock().unwrap().files.insert(origin.name(&phrase), content);
    }

    fn call<T>(
        &self,
        name: Option<Name>,
        work: impl FnOnce(&mut HashMap<Name, Vec<u8>>) -> T,
    ) -> io::Result<T> {
        let mut state = self.state.lock().unwrap();
        state.calls += 1;
        let hangs = state.next > 0 || name.is_some_and(|name| state.held.contains(&name));
        state.next = state.next.saturating_sub(1);
        if hangs {
            state.hanging += 1;
            state = self.changed.wait_while(state, |state| !state.released).unwrap();
            state.hanging -= 1;
        }
        Ok(work(&mut state.files))
    }
}

impl Storage for Hanging {
    fn open(&self) -> io::Result<()> {
        self.call(None, |_| ())
    }

    fn read(&self, name: Name) -> io::Result<Found> {
        self.call(Some(name), |files| files.get(&name).cloned().map_or(Found::Nothing, Found::Content))
    }

    fn write(&self, name: Name, content: &[u8]) -> io::Result<u64> {
        self.call(None, |files| files.insert(name, content.to_vec()).map_or(0, |old| old.len() as u64))
    }

    fn remove(&self, name: Name) -> io::Result<()> {
        self.call(None, |files| drop(files.remove(&name)))
    }

    fn list(&self) -> io::Result<Listing> {
        self.call(None, |files| Listing {
            files: files.iter().map(|(name, content)| (*name, content.len() as u64)).collect(),
            bytes: files.values().map(|content| content.len() as u64).sum(),
            leftovers: 0,
        })
    }

    fn names(&self) -> io::Result<Vec<Name>> {
        self.call(None, |files| files.keys().copied().collect())
    }
}

type Answers = Receiver<(TokenPhrase, Option<Vec<u8>>)>;

/// Times that let a test end soon.
pub(crate) const SHORT: Patience = Patience {
    read: Duration::from_millis(100),
    write: Duration::from_millis(300),
    suspension: Duration::from_millis(800),
    refresh: Duration::from_millis(50),
};

fn hanging() -> (Arc<Hanging>, TextStoreThread, Answers) {
    let storage = Arc::<Hanging>::default();
    let (sender, answers) = mpsc::channel();
    let answer = move |phrase, found| sender.send((phrase, found)).unwrap_or_default();
    let store = TextStoreThread::start_with(
        Arc::clone(&storage) as _,
        1 << 20,
        SHORT,
        &model_info(),
        &metrics::off(),
        answer,
    )
    .unwrap();
    until(|| store.pending.writes.load(Ordering::Relaxed) == 0 && storage.calls().1 >= 2);
    (storage, store, answers)
}

fn on_disk(folder: &Path, model: &ModelInfo) -> (TextStoreThread, Answers) {
    let (sender, answers) = mpsc::channel();
    let answer = move |phrase, found| sender.send((phrase, found)).unwrap_or_default();
    (TextStoreThread::start(folder, 1 << 20, model, &metrics::off(), answer).unwrap(), answers)
}

fn read(store: &TextStoreThread, answers: &Answers, text: &str) -> Option<Vec<u8>> {
    assert!(store.read(phrase(text)));
    let (answered, found) = answers.recv_timeout(CEILING).unwrap();
    assert_eq!(answered, phrase(text));
    found
}

fn until(done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < CEILING, "what the test waits for did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn written(store: &TextStoreThread, text: &str, embedding: &[u8]) {
    store.write(phrase(text), embedding.to_vec());
    until(|| store.pending.writes.load(Ordering::Relaxed) == 0);
}

#[test]
fn what_was_written_is_read_by_the_same_model_only() {
    let folder = tempfile::tempdir().unwrap();
    let (one, answers) = on_disk(folder.path(), &model_info());
    assert_eq!(read(&one, &answers, "cat"), None);
    written(&one, "cat", b"embedding");
    assert_eq!(read(&one, &answers, "cat").as_deref(), Some(b"embedding".as_slice()));
    assert_eq!(
        read(&one, &answers, " CAT").as_deref(),
        Some(b"embedding".as_slice()),
        "the tokens are the same"
    );
    let (again, answers) = on_disk(folder.path(), &model_info());
    assert_eq!(read(&again, &answers, "cat").as_deref(), Some(b"embedding".as_slice()));
    let model = ModelInfo { digest: "sha256:2".into(), ..model_info() };
    let (other, answers) = on_disk(folder.path(), &model);
    assert_eq!(read(&other, &answers, "cat"), None);
    // A file of the other model under this name, as a careless copy would leave it.
    let [from, to] =
        [origin(), Origin::of(&model)].map(|origin| folder.path().join(origin.name(&phrase("cat")).file()));
    fs::copy(from, to).unwrap();
    assert_eq!(read(&other, &answers, "cat"), None);
}

#[test]
fn damage_is_seen_and_mended() {
    let folder = tempfile::tempdir().unwrap();
    let (store, answers) = on_disk(folder.path(), &model_info());
    written(&store, "cat", &[7; 300]);
    let path = folder.path().join(origin().name(&phrase("cat")).file());
    let whole = fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(7) {
        fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(read(&store, &answers, "cat"), None, "truncated to {length}");
    }
    assert_eq!(store.stored().missing([&phrase("cat")]).len(), 1, "a damaged file must be computed");
    written(&store, "cat", &[7; 300]);
    assert_eq!(read(&store, &answers, "cat"), Some(vec![7; 300]));
}

#[test]
fn what_is_in_the_directory_is_known_without_reading_it() {
    let folder = tempfile::tempdir().unwrap();
    let (first, _) = on_disk(folder.path(), &model_info());
    let words: Vec<TokenPhrase> = (0..50).map(|number| phrase(&format!("word {number}"))).collect();
    words.iter().for_each(|word| first.write(word.clone(), vec![1; 10]));
    until(|| first.stored().missing(&words).is_empty());
    // Another process looks at what is there when it starts, and from time to time.
    let second = TextStoreThread::start_with(
        Arc::new(Folder(folder.path().to_owned())),
        1 << 20,
        SHORT,
        &model_info(),
        &metrics::off(),
        |_, _| (),
    );
    let second = second.unwrap().stored();
    until(|| second.missing(&words).is_empty());
    let later = phrase("written later");
    assert_eq!(second.missing([&later]).len(), 1);
    let _running = second;
}

#[test]
fn a_file_that_hangs_is_answered_in_time_and_others_are_read() {
    let (storage, store, answers) = hanging();
    storage.put("dog", &[2]);
    storage.put("cat", &[1]);
    storage.hold("cat");
    assert_eq!(read(&store, &answers, "cat"), None);
    assert_eq!(storage.calls().0, 1, "the call hangs still");
    assert_eq!(read(&store, &answers, "dog"), Some(vec![2]));
    // A late answer is of use nonetheless.
    storage.release();
    assert_eq!(answers.recv_timeout(CEILING).unwrap(), (phrase("cat"), Some(vec![1])));
    assert_eq!(store.pending.reads.load(Ordering::Relaxed), 0);
}

#[test]
fn a_directory_that_hangs_is_left_alone_and_used_again_without_its_threads() {
    let (storage, store, answers) = hanging();
    storage.put("dog", &[2]);
    let stored = store.stored();
    until(|| {
        let missing = stored.missing([&phrase("dog")]).len();
        missing == 0
    });
    let most = supervisor::MOST_TIMEOUTS as usize;
    storage.hold_next(most);
    for number in 0..most {
        assert_eq!(read(&store, &answers, &format!("word {number}")), None);
    }
    let (hanging, calls) = storage.calls();
    assert_eq!(hanging, most);
    assert_eq!(stored.missing([&phrase("dog")]).len(), 1, "what cannot be read is not known");
    for number in 0..20 {
        assert_eq!(read(&store, &answers, &format!("other word {number}")), None);
    }
    assert!(storage.calls().1 <= calls, "a directory that is left alone is not asked");
    until(|| stored.missing([&phrase("dog")]).is_empty());
    assert_eq!(storage.calls().0, most, "the threads still hang");
    assert_eq!(read(&store, &answers, "dog"), Some(vec![2]));
    storage.release();
}

#[test]
fn phrases_that_wait_behind_one_that_hangs_are_answered_with_it() {
    let (storage, store, answers) = hanging();
    storage.hold("cat");
    let words = ["cat", "dog", "cow", "sky"];
    words.iter().for_each(|word| assert!(store.read(phrase(word))));
    for word in words {
        assert_eq!(answers.recv_timeout(CEILING).unwrap(), (phrase(word), None));
    }
    storage.release();
}

#[test]
fn a_handle_does_not_wait_for_a_directory_that_hangs() {
    let (storage, store, answers) = hanging();
    storage.hold_next(2);
    store.write(phrase("cat"), vec![1]);
    assert!(store.read(phrase("dog")));
    until(|| storage.calls().0 == 2);
    let begun = Instant::now();
    drop(store);
    assert!(begun.elapsed() < CEILING);
    assert_eq!(storage.calls().0, 2);
    assert_eq!(answers.recv_timeout(CEILING).unwrap(), (phrase("dog"), None));
    storage.release();
}

#[test]
fn a_directory_that_hangs_when_it_is_opened_is_no_error() {
    let storage = Arc::<Hanging>::default();
    storage.hold_next(1);
    let store = TextStoreThread::start_with(
        Arc::clone(&storage) as _,
        1 << 20,
        SHORT,
        &model_info(),
        &metrics::off(),
        |_, _| (),
    );
    assert!(store.is_ok());
    drop(store);
    storage.release();
}
