//! The names of the files in the directory, in memory: admission predicts by them without touching a disk.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::origin::{Name, Origin};
use crate::stages::phrases::TokenPhrase;

/// The phrases that the directory is believed to hold. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct StoredPhrases {
    origin: Arc<Origin>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    names: HashSet<Name>,
    /// The directory does not answer: what it holds is of no use.
    suspended: bool,
    /// A phrase was looked for and not found since the directory was listed.
    missed: bool,
}

impl StoredPhrases {
    pub(super) fn new(origin: Arc<Origin>) -> Self {
        Self { origin, inner: Arc::default() }
    }

    /// The phrases that the directory does not hold.
    pub(crate) fn missing<'a>(
        &self,
        phrases: impl IntoIterator<Item = &'a TokenPhrase>,
    ) -> Vec<&'a TokenPhrase> {
        let mut missing: Vec<&TokenPhrase> = phrases.into_iter().collect();
        let names: Vec<Name> = missing.iter().map(|phrase| self.origin.name(phrase)).collect();
        let mut inner = self.lock();
        if inner.suspended {
            return missing;
        }
        let mut held = names.iter().map(|name| inner.names.contains(name));
        missing.retain(|_| held.next() == Some(false));
        drop(held);
        inner.missed |= !missing.is_empty();
        missing
    }

    /// Replaces the list of all files.
    pub(super) fn replace(&self, names: impl IntoIterator<Item = Name>) {
        let names = names.into_iter().collect();
        let mut inner = self.lock();
        (inner.names, inner.missed) = (names, false);
    }

    pub(super) fn insert(&self, name: Name) {
        self.lock().names.insert(name);
    }

    pub(super) fn remove(&self, name: Name) {
        self.lock().names.remove(&name);
    }

    pub(super) fn suspend(&self, suspended: bool) {
        self.lock().suspended = suspended;
    }

    /// Reports whether another list of the files may hold more of what is looked for.
    pub(super) fn has_missed(&self) -> bool {
        self.lock().missed
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under the lock leaves the names half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
