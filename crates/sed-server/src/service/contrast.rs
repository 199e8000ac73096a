//! Contrast words of the server's choice: common words, less those that are near the words asked for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use sed_engine::{
    COMMON_WORDS, Category, ReadPhrases, Vocabulary, VocabularyDigest, VocabularyError, builtin_vocabularies,
    far_from,
};

use super::{Context, refusal::Refusal};

/// Vocabularies whose choice is remembered, of at most 64 numbers each.
const MOST_CHOICES: usize = 1024;

/// The list of words to choose from, and the choices that were made.
#[derive(Debug)]
pub(crate) struct ContrastChoices {
    list: Vocabulary,
    chosen: Mutex<Chosen>,
}

/// The choices for vocabularies, as indices into the list.
#[derive(Debug, Default)]
struct Chosen {
    of: HashMap<VocabularyDigest, Choice>,
    /// Counts uses, to order them.
    uses: u64,
}

#[derive(Debug)]
struct Choice {
    words: Arc<[usize]>,
    last_use: u64,
}

impl ContrastChoices {
    /// Reads the list.
    ///
    /// # Errors
    /// The list is no vocabulary.
    pub(crate) fn new(reader: &dyn ReadPhrases) -> Result<Self, VocabularyError> {
        let list = builtin_vocabularies().get(COMMON_WORDS).unwrap_or_default().to_vec();
        let list = Vocabulary::built_in(list, reader)?;
        Ok(Self { list, chosen: Mutex::default() })
    }

    /// The list.
    pub(crate) fn list(&self) -> &Vocabulary {
        &self.list
    }

    /// The contrast words for a vocabulary without any: as many as the limits leave room for.
    ///
    /// # Errors
    /// The engine cannot compare the words by the deadline.
    pub(crate) async fn choose(
        &self,
        context: &Context,
        asked: &Vocabulary,
        deadline: Instant,
    ) -> Result<Vec<Category>, Refusal> {
        let known = self.lock().get(&asked.digest());
        let chosen = match known {
            Some(chosen) => chosen,
            None => {
                let list = context.engine.directions(&self.list, Some(deadline)).await?;
                let words = context.engine.directions(asked, Some(deadline)).await?;
                // A word that is asked for is near itself, however many synonyms it has beside it.
                let is_asked = |word: &usize| asked.phrases().contains(&self.list.phrases()[*word]);
                let far = far_from(&list, &words).into_iter();
                let chosen: Arc<[usize]> = far.filter(|word| !is_asked(word)).collect();
                self.lock().keep(asked.digest(), Arc::clone(&chosen));
                chosen
            }
        };
        let limits = context.settings.vocabulary_limits();
        let room = limits.categories.saturating_sub(asked.size());
        let room = room.min(limits.phrases.saturating_sub(asked.phrases().len()));
        Ok(chosen.iter().take(room).map(|word| self.list.categories()[*word].clone()).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Chosen> {
        // Nothing under the lock leaves the choices half changed.
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chosen {
    /// The choice for a vocabulary, which thereby becomes the most recently used.
    fn get(&mut self, digest: &VocabularyDigest) -> Option<Arc<[usize]>> {
        self.uses += 1;
        let choice = self.of.get_mut(digest)?;
        choice.last_use = self.uses;
        Some(Arc::clone(&choice.words))
    }

    /// Stores a choice. The least recently used one makes room.
    fn keep(&mut self, digest: VocabularyDigest, words: Arc<[usize]>) {
        let oldest = self.of.iter().min_by_key(|(_, choice)| choice.last_use).map(|(digest, _)| *digest);
        if let Some(oldest) = oldest.filter(|_| self.of.len() >= MOST_CHOICES) {
            self.of.remove(&oldest);
        }
        self.of.insert(digest, Choice { words, last_use: self.uses });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_that_was_not_used_for_the_longest_time_makes_room() {
        let digest = |number: usize| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_le_bytes());
            VocabularyDigest(digest)
        };
        let mut chosen = Chosen::default();
        for number in 0..MOST_CHOICES {
            assert_eq!(chosen.get(&digest(number)), None);
            chosen.keep(digest(number), [number].into());
        }
        assert_eq!(chosen.get(&digest(0)).as_deref(), Some([0].as_slice()));
        assert_eq!(chosen.get(&digest(MOST_CHOICES)), None);
        chosen.keep(digest(MOST_CHOICES), [7].into());
        assert_eq!(chosen.of.len(), MOST_CHOICES);
        assert_eq!(chosen.get(&digest(1)), None);
        assert!(chosen.get(&digest(0)).is_some() && chosen.get(&digest(MOST_CHOICES)).is_some());
    }
}
