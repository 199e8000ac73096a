//! The vocabularies that the server knows by name: those that came with it, and those that callers registered.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sed_engine::{Category, Vocabulary, VocabularyBook, metrics::REGISTERED_VOCABULARIES};

use crate::{hex, limits::Limits};

/// Digits of a registered vocabulary's name: 16 bytes of its digest.
const NAME_BYTES: usize = 16;

/// Vocabularies by name, shared by all calls.
#[derive(Debug)]
pub(crate) struct VocabularyRegistry {
    built_in: VocabularyBook,
    registered: Mutex<Registered>,
    most: usize,
    most_bytes: usize,
}

#[derive(Debug, Default)]
struct Registered {
    named: BTreeMap<String, Vocabulary>,
    bytes: usize,
}

/// Why a vocabulary is not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// There are so many already.
    Count(usize),
    /// Their words take so many bytes together.
    Bytes(usize),
}

/// What became of a vocabulary that was to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// It is.
    Done,
    /// It came with the server.
    BuiltIn,
    /// Nobody knew it.
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
    /// Positions, each with its number of categories.
    pub(crate) entries: Vec<(Position, usize)>,
    /// Whether there are others behind them.
    pub(crate) more: bool,
}

impl VocabularyRegistry {
    pub(crate) fn new(built_in: VocabularyBook, limits: &Limits) -> Self {
        Self {
            built_in,
            registered: Mutex::default(),
            most: limits.registered_vocabularies,
            most_bytes: limits.registered_vocabulary_bytes,
        }
    }

    /// The vocabulary of a name, and whether it came with the server.
    pub(crate) fn get(&self, name: &str) -> Option<(Vocabulary, bool)> {
        if let Some(vocabulary) = self.built_in.get(name) {
            return Some((vocabulary.clone(), true));
        }
        self.lock().named.get(name).map(|vocabulary| (vocabulary.clone(), false))
    }

    /// Whether a vocabulary could be registered now.
    pub(crate) fn check_room(&self, vocabulary: &Vocabulary) -> Result<(), Full> {
        let registered = self.lock();
        if registered.named.contains_key(&name_of(vocabulary)) {
            return Ok(());
        }
        self.room_in(&registered, vocabulary)
    }

    /// Registers a vocabulary; gives its name, and whether it was known already.
    pub(crate) fn register(&self, vocabulary: &Vocabulary) -> Result<(String, bool), Full> {
        let name = name_of(vocabulary);
        let mut registered = self.lock();
        if registered.named.contains_key(&name) {
            return Ok((name, true));
        }
        self.room_in(&registered, vocabulary)?;
        registered.bytes += bytes_of(vocabulary);
        registered.named.insert(name.clone(), vocabulary.clone());
        REGISTERED_VOCABULARIES.set(registered.named.len() as f64);
        Ok((name, false))
    }

    /// Forgets a registered vocabulary. Requests that have it already keep it.
    pub(crate) fn remove(&self, name: &str) -> Removal {
        if self.built_in.get(name).is_some() {
            return Removal::BuiltIn;
        }
        let mut registered = self.lock();
        match registered.named.remove(name) {
            Some(vocabulary) => {
                registered.bytes -= bytes_of(&vocabulary);
                REGISTERED_VOCABULARIES.set(registered.named.len() as f64);
                Removal::Done
            }
            None => Removal::Unknown,
        }
    }

    /// At most `most` vocabularies behind a position, or from the start.
    pub(crate) fn page(&self, behind: Option<&Position>, most: usize) -> Page {
        let registered = self.lock();
        let position = |registered, name: &str| Position { registered, name: name.to_owned() };
        let built_in = self.built_in.iter().map(|(name, found)| (position(false, name), found.size()));
        let named = registered.named.iter().map(|(name, found)| (position(true, name), found.size()));
        let mut rest =
            built_in.chain(named).filter(|(position, _)| behind.is_none_or(|behind| position > behind));
        let entries = rest.by_ref().take(most).collect();
        Page { entries, more: rest.next().is_some() }
    }

    fn room_in(&self, registered: &Registered, vocabulary: &Vocabulary) -> Result<(), Full> {
        if registered.named.len() >= self.most {
            return Err(Full::Count(self.most));
        }
        if registered.bytes + bytes_of(vocabulary) > self.most_bytes {
            return Err(Full::Bytes(self.most_bytes));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Registered> {
        // Nothing under the lock leaves the list half changed.
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that is made of the words: the same on every server.
fn name_of(vocabulary: &Vocabulary) -> String {
    format!("voc-{}", hex::encode(&vocabulary.digest().0[..NAME_BYTES]))
}

/// Memory that a vocabulary holds.
fn bytes_of(vocabulary: &Vocabulary) -> usize {
    let phrases = vocabulary.categories().iter().flat_map(Category::phrases);
    let text: usize = phrases.map(|phrase| phrase.len() + size_of::<String>()).sum();
    text + vocabulary.size() * size_of::<Category>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary(name: &str) -> Vocabulary {
        Vocabulary::built_in(vec![Category::named(name)]).unwrap()
    }

    fn registry(most: usize, most_bytes: usize) -> VocabularyRegistry {
        let book = ["b", "a"].into_iter().map(|name| (name.to_owned(), vocabulary(name))).collect();
        let limits = Limits {
            registered_vocabularies: most,
            registered_vocabulary_bytes: most_bytes,
            ..Limits::default()
        };
        VocabularyRegistry::new(book, &limits)
    }

    #[test]
    fn the_name_is_made_of_the_words() {
        let registry = registry(2, 10_000);
        let (name, existed) = registry.register(&vocabulary("dog")).unwrap();
        assert!(name.len() == 36 && name.starts_with("voc-") && !existed, "{name}");
        assert_eq!(registry.register(&vocabulary("dog")), Ok((name.clone(), true)));
        assert_eq!(registry.get(&name), Some((vocabulary("dog"), false)));
        assert_eq!(registry.get("a"), Some((vocabulary("a"), true)));
    }

    #[test]
    fn count_and_bytes_are_bounded_and_given_back() {
        let by_count = registry(1, 10_000);
        let (name, _) = by_count.register(&vocabulary("dog")).unwrap();
        assert_eq!(by_count.register(&vocabulary("cat")), Err(Full::Count(1)));
        assert_eq!(by_count.check_room(&vocabulary("cat")), Err(Full::Count(1)));
        assert_eq!(by_count.check_room(&vocabulary("dog")), Ok(()));
        assert_eq!(by_count.remove(&name), Removal::Done);
        by_count.register(&vocabulary("cat")).unwrap();

        let by_bytes = registry(9, 2 * bytes_of(&vocabulary("dog")));
        let (name, _) = by_bytes.register(&vocabulary("dog")).unwrap();
        by_bytes.register(&vocabulary("cat")).unwrap();
        assert_eq!(by_bytes.register(&vocabulary("")), Err(Full::Bytes(by_bytes.most_bytes)));
        assert_eq!(by_bytes.remove(&name), Removal::Done);
        by_bytes.register(&vocabulary("")).unwrap();
    }

    #[test]
    fn only_registered_ones_can_be_removed() {
        let registry = registry(9, 10_000);
        assert_eq!(registry.remove("a"), Removal::BuiltIn);
        assert_eq!(registry.remove("voc-"), Removal::Unknown);
    }

    #[test]
    fn pages_go_on_behind_a_position_even_if_it_is_gone() {
        let registry = registry(9, 10_000);
        let mut names: Vec<_> =
            ["x", "y", "z"].map(|word| registry.register(&vocabulary(word)).unwrap().0).to_vec();
        names.sort();
        let first = registry.page(None, 3);
        let seen: Vec<_> = first.entries.iter().map(|(position, _)| position.name.as_str()).collect();
        assert_eq!((seen, first.more), (vec!["a", "b", names[0].as_str()], true));
        let last = &first.entries[2].0;
        assert_eq!(registry.remove(&last.name), Removal::Done);
        let second = registry.page(Some(last), 2);
        let seen: Vec<_> = second.entries.iter().map(|(position, _)| &position.name).collect();
        assert_eq!((seen, second.more), (vec![&names[1], &names[2]], false));
    }
}
