//! The vocabularies that the server knows by name: those that came with it, and those that callers
//! registered.
//!
//! The vocabularies that callers register have one bound for all callers together. When it is reached, the
//! caller with the largest part makes room with those that were not used for the longest time: one caller
//! alone may use all of it, and none can keep others out.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use data_encoding::HEXLOWER;
use sed_engine::{Category, TokenPhrase, Vocabulary};

use crate::{caller::Caller, metrics::ServerMetrics};

/// Digits of a registered vocabulary's name: 16 bytes of its digest.
const NAME_BYTES: usize = 16;
/// The beginning of such a name.
const PREFIX: &str = "voc-";
/// Memory that the words of all registered vocabularies may take together, in bytes.
pub const REGISTERED_VOCABULARY_BYTES: usize = 64 << 20;

/// Vocabularies by name, shared by all calls.
#[derive(Debug)]
pub(crate) struct VocabularyRegistry {
    built_in: BTreeMap<String, Vocabulary>,
    registered: Mutex<Registered>,
    most: usize,
    most_bytes: usize,
}

/// The callers' vocabularies. All callers without a name count as one, which is `None`.
#[derive(Debug)]
struct Registered {
    named: BTreeMap<String, Entry>,
    bytes: usize,
    /// Counts uses, to order them.
    uses: u64,
    metrics: Arc<ServerMetrics>,
}

#[derive(Debug)]
struct Entry {
    vocabulary: Vocabulary,
    bytes: usize,
    owner: Option<Caller>,
    last_use: u64,
}

/// The part of one caller.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    count: usize,
    bytes: usize,
}

/// The limit for which a vocabulary can never be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// Of their number, which is 0.
    Count(usize),
    /// Of the bytes of all together.
    Bytes(usize),
}

/// The outcome of removing a vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// It is removed, perhaps since an earlier call.
    Done,
    /// It came with the server.
    BuiltIn,
    /// Another caller has registered it.
    OfAnother,
    /// No vocabulary can have this name.
    Unknown,
}

/// One vocabulary in the order of a list: built-in ones first, then by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) registered: bool,
    pub(crate) name: String,
}

/// A part of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// Positions, each with its vocabulary.
    pub(crate) entries: Vec<(Position, Vocabulary)>,
    /// True if others follow.
    pub(crate) more: bool,
}

impl VocabularyRegistry {
    pub(crate) fn new(
        built_in: BTreeMap<String, Vocabulary>,
        most: usize,
        metrics: Arc<ServerMetrics>,
    ) -> Self {
        let registered = Registered { named: BTreeMap::new(), bytes: 0, uses: 0, metrics };
        Self { built_in, registered: Mutex::new(registered), most, most_bytes: REGISTERED_VOCABULARY_BYTES }
    }

    /// Returns the vocabulary of a name, and whether it came with the server.
    pub(crate) fn get(&self, name: &str) -> Option<(Vocabulary, bool)> {
        if let Some(vocabulary) = self.built_in.get(name) {
            return Some((vocabulary.clone(), true));
        }
        self.lock().used(name).map(|vocabulary| (vocabulary, false))
    }

    /// Refuses a vocabulary that can never be registered.
    fn check_room(&self, vocabulary: &Vocabulary) -> Result<(), Full> {
        if self.most == 0 {
            return Err(Full::Count(0));
        }
        if bytes_of(vocabulary) > self.most_bytes {
            return Err(Full::Bytes(self.most_bytes));
        }
        Ok(())
    }

    /// Registers a vocabulary for a caller; returns its name, and whether it was known already.
    pub(crate) fn register(
        &self,
        vocabulary: &Vocabulary,
        caller: Option<Caller>,
    ) -> Result<(String, bool), Full> {
        let name = name_of(vocabulary);
        let mut registered = self.lock();
        if registered.used(&name).is_some() {
            return Ok((name, true));
        }
        self.check_room(vocabulary)?;
        let bytes = bytes_of(vocabulary);
        while registered.named.len() >= self.most || registered.bytes + bytes > self.most_bytes {
            let by_count = registered.named.len() >= self.most;
            if !registered.evict(caller.as_ref(), by_count) {
                break; // there is nothing left, so it fits
            }
        }
        registered.insert(name.clone(), vocabulary.clone(), bytes, caller);
        Ok((name, false))
    }

    /// Forgets a vocabulary that this caller has registered. Requests that have it already keep it.
    pub(crate) fn remove(&self, name: &str, caller: Option<&Caller>) -> Removal {
        if self.built_in.contains_key(name) {
            return Removal::BuiltIn;
        }
        let mut registered = self.lock();
        match registered.named.get(name) {
            Some(entry) if entry.owner.as_ref() != caller => Removal::OfAnother,
            Some(_) => {
                registered.forget(name);
                Removal::Done
            }
            None if is_registered_name(name) => Removal::Done,
            None => Removal::Unknown,
        }
    }

    /// At most `most` vocabularies behind a position, or from the start.
    pub(crate) fn page(&self, behind: Option<&Position>, most: usize) -> Page {
        let registered = self.lock();
        let position = |registered, name: &str| Position { registered, name: name.to_owned() };
        let built_in = self.built_in.iter().map(|(name, found)| (position(false, name), found));
        let named = registered.named.iter();
        let named = named.map(|(name, found)| (position(true, name), &found.vocabulary));
        let mut rest =
            built_in.chain(named).filter(|(position, _)| behind.is_none_or(|behind| position > behind));
        let entries = rest.by_ref().take(most).map(|(position, found)| (position, found.clone())).collect();
        Page { entries, more: rest.next().is_some() }
    }

    fn lock(&self) -> MutexGuard<'_, Registered> {
        // Nothing under the lock leaves the list half changed.
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registered {
    /// The vocabulary of a name, which thereby becomes the most recently used.
    fn used(&mut self, name: &str) -> Option<Vocabulary> {
        self.uses += 1;
        let entry = self.named.get_mut(name)?;
        entry.last_use = self.uses;
        Some(entry.vocabulary.clone())
    }

    fn insert(&mut self, name: String, vocabulary: Vocabulary, bytes: usize, owner: Option<Caller>) {
        self.bytes += bytes;
        self.named.insert(name, Entry { vocabulary, bytes, owner, last_use: self.uses });
        self.metrics.registered_vocabularies.set(self.named.len() as f64);
    }

    fn forget(&mut self, name: &str) {
        if let Some(entry) = self.named.remove(name) {
            self.bytes -= entry.bytes;
            self.metrics.registered_vocabularies.set(self.named.len() as f64);
        }
    }

    /// Forgets the least recently used vocabulary of the caller with the largest part: of `newcomer`, if no
    /// other has more. Reports whether there was one.
    fn evict(&mut self, newcomer: Option<&Caller>, by_count: bool) -> bool {
        let mut parts: HashMap<Option<&Caller>, Part> = HashMap::new();
        for entry in self.named.values() {
            let part = parts.entry(entry.owner.as_ref()).or_default();
            (part.count, part.bytes) = (part.count + 1, part.bytes + entry.bytes);
        }
        let size = |part: &Part| if by_count { part.count } else { part.bytes };
        let largest = parts.iter().max_by_key(|(owner, part)| (size(part), **owner == newcomer));
        let Some(owner) = largest.map(|(owner, _)| owner.cloned()) else { return false };
        let own = self.named.iter().filter(|(_, entry)| entry.owner == owner);
        let Some(oldest) = own.min_by_key(|(_, entry)| entry.last_use).map(|(name, _)| name.clone()) else {
            return false;
        };
        self.forget(&oldest);
        self.metrics.registered_vocabulary_evictions.add(1);
        true
    }
}

/// The name of a vocabulary, derived from its words: the same on every server.
fn name_of(vocabulary: &Vocabulary) -> String {
    format!("{PREFIX}{}", HEXLOWER.encode(&vocabulary.digest().0[..NAME_BYTES]))
}

/// Reports whether some vocabulary may have been registered under a name.
fn is_registered_name(name: &str) -> bool {
    let digits = name.strip_prefix(PREFIX).and_then(|digits| HEXLOWER.decode(digits.as_bytes()).ok());
    digits.is_some_and(|bytes| bytes.len() == NAME_BYTES)
}

/// Memory that a vocabulary holds.
pub(crate) fn bytes_of(vocabulary: &Vocabulary) -> usize {
    let categories = vocabulary.all_categories();
    let phrases = categories.iter().flat_map(Category::phrases);
    let text: usize = phrases.map(|phrase| phrase.len() + size_of::<String>()).sum();
    let tokens = vocabulary.phrases().iter().map(|phrase| phrase.bytes() + size_of::<TokenPhrase>());
    text + tokens.sum::<usize>() + size_of_val(categories)
}

#[cfg(test)]
mod tests {
    use sed_engine::fake::FakeReader;

    use super::*;
    use crate::metrics;

    fn vocabulary(name: &str) -> Vocabulary {
        Vocabulary::built_in(vec![Category::new(name)], &FakeReader).unwrap()
    }

    fn registry(most: usize, most_bytes: usize) -> VocabularyRegistry {
        let built_in = ["b", "a"].map(|name| (name.to_owned(), vocabulary(name))).into();
        VocabularyRegistry { most_bytes, ..VocabularyRegistry::new(built_in, most, metrics::off()) }
    }

    fn caller(name: &str) -> Option<Caller> {
        Some(name.into())
    }

    fn register(registry: &VocabularyRegistry, word: &str, owner: Option<Caller>) -> String {
        registry.register(&vocabulary(word), owner).unwrap().0
    }

    fn known(registry: &VocabularyRegistry, words: &[&str]) -> Vec<bool> {
        let page = registry.page(None, usize::MAX);
        let names: Vec<_> = page.entries.into_iter().map(|(position, _)| position.name).collect();
        words.iter().map(|word| names.contains(&name_of(&vocabulary(word)))).collect()
    }

    #[test]
    fn the_name_is_made_of_the_words() {
        let registry = registry(2, 10_000);
        let (name, existed) = registry.register(&vocabulary("dog"), None).unwrap();
        assert!(name.len() == 36 && name.starts_with("voc-") && !existed, "{name}");
        assert_eq!(registry.register(&vocabulary("dog"), caller("b")), Ok((name.clone(), true)));
        assert_eq!(registry.get(&name), Some((vocabulary("dog"), false)));
        assert_eq!(registry.get("a"), Some((vocabulary("a"), true)));
    }

    #[test]
    fn the_least_recently_used_makes_room() {
        let registry = registry(2, 100_000);
        let dog = register(&registry, "dog", None);
        register(&registry, "cat", None);
        assert!(registry.get(&dog).is_some());
        register(&registry, "cow", None);
        assert_eq!(known(&registry, &["dog", "cat", "cow"]), [true, false, true]);
    }

    #[test]
    fn bytes_are_bounded_like_the_number() {
        let registry = registry(9, 2 * bytes_of(&vocabulary("dog")));
        for word in ["dog", "cat", "cow"] {
            register(&registry, word, None);
        }
        assert_eq!(known(&registry, &["dog", "cat", "cow"]), [false, true, true]);
        let large = vocabulary(&"x".repeat(1000));
        assert_eq!(registry.register(&large, None), Err(Full::Bytes(registry.most_bytes)));
        assert_eq!(registry.check_room(&large), Err(Full::Bytes(registry.most_bytes)));
        assert_eq!(known(&registry, &["cat", "cow"]), [true, true], "what cannot fit drives nothing out");
    }

    #[test]
    fn a_server_may_register_none() {
        assert_eq!(registry(0, 100_000).register(&vocabulary("dog"), None), Err(Full::Count(0)));
        assert_eq!(registry(0, 100_000).check_room(&vocabulary("dog")), Err(Full::Count(0)));
    }

    #[test]
    fn a_caller_with_much_makes_room_for_others_and_loses_nothing_of_theirs() {
        let registry = registry(4, 100_000);
        register(&registry, "quiet", caller("quiet"));
        for number in 0..50 {
            register(&registry, &format!("loud {number}"), caller("loud"));
        }
        let words = ["quiet", "loud 46", "loud 47", "loud 48", "loud 49"];
        assert_eq!(known(&registry, &words), [true, false, true, true, true]);
        for word in ["another", "a third"] {
            register(&registry, word, None);
        }
        let words = ["quiet", "loud 47", "loud 48", "loud 49", "another", "a third"];
        assert_eq!(known(&registry, &words), [true, false, false, true, true, true]);
    }

    #[test]
    fn only_the_caller_that_registered_it_can_remove_a_vocabulary_and_as_often_as_it_likes() {
        let registry = registry(9, 100_000);
        assert_eq!(registry.remove("a", None), Removal::BuiltIn);
        for wrong in ["voc-", "planets", "voc-0123", &format!("voc-{}", "F".repeat(32))] {
            assert_eq!(registry.remove(wrong, None), Removal::Unknown, "{wrong}");
        }
        assert_eq!(registry.remove(&format!("voc-{}", "f".repeat(32)), None), Removal::Done);
        let name = register(&registry, "dog", caller("a"));
        for other in [caller("b"), None] {
            assert_eq!(registry.remove(&name, other.as_ref()), Removal::OfAnother);
        }
        for _ in 0..2 {
            assert_eq!(registry.remove(&name, caller("a").as_ref()), Removal::Done);
            assert_eq!(registry.get(&name), None);
        }
        assert_eq!(registry.lock().bytes, 0);
    }

    #[test]
    fn pages_go_on_behind_a_position_even_if_it_is_gone() {
        let registry = registry(9, 100_000);
        let mut names = ["x", "y", "z"].map(|word| register(&registry, word, None)).to_vec();
        names.sort();
        let first = registry.page(None, 3);
        let seen: Vec<_> = first.entries.iter().map(|(position, _)| position.name.as_str()).collect();
        assert_eq!((seen, first.more), (vec!["a", "b", names[0].as_str()], true));
        let last = &first.entries[2].0;
        assert_eq!(registry.remove(&last.name, None), Removal::Done);
        let second = registry.page(Some(last), 2);
        let seen: Vec<_> = second.entries.iter().map(|(position, _)| &position.name).collect();
        assert_eq!((seen, second.more), (vec![&names[1], &names[2]], false));
    }
}
