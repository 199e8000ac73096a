//! The vocabularies of a mix.

use std::collections::HashSet;

use sed_client::v1;
use sed_model::prompts::{Category, builtin_vocabularies, builtin_vocabulary};

use crate::error::{Error, Result};

/// A vocabulary, and its weight when requests draw one.
#[derive(Clone, Debug)]
pub struct WeightedWords {
    /// The vocabulary.
    pub words: WordSource,
    /// Its share of the requests, relative to the others.
    pub weight: u32,
}

/// The source of a request's categories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WordSource {
    /// A vocabulary that the server knows by this name.
    Named(String),
    /// Categories that are written out in the request.
    Inline(Vec<Category>),
}

impl WordSource {
    /// Returns the vocabulary for a request.
    pub fn to_proto(&self) -> v1::Vocabulary {
        match self {
            Self::Named(name) => sed_client::named(name),
            Self::Inline(categories) => {
                let categories = categories.iter().cloned();
                sed_client::categories(categories.map(|Category { name, synonyms }| (name, synonyms)))
            }
        }
    }

    /// Returns the categories; a name is looked up among the built-in vocabularies.
    ///
    /// # Errors
    /// There is no such name.
    pub fn categories(&self) -> Result<Vec<Category>> {
        match self {
            Self::Inline(categories) => Ok(categories.clone()),
            Self::Named(name) => builtin_vocabulary(name).ok_or_else(|| {
                let known: Vec<&str> = builtin_vocabularies().collect();
                Error::NoVocabulary { name: name.clone(), known: known.join(", ") }
            }),
        }
    }

    /// Wraps the source with weight 1: it is drawn as often as the others.
    pub fn once(self) -> WeightedWords {
        WeightedWords { words: self, weight: 1 }
    }
}

/// The server's named vocabularies, small ones more often than large ones: four times as often with up to 64
/// categories, twice with up to 256.
///
/// # Errors
/// There are none.
pub fn server_mixture(named: &[v1::NamedVocabulary]) -> Result<Vec<WeightedWords>> {
    if named.is_empty() {
        return Err(Error::NoVocabularies);
    }
    let weighted = |vocabulary: &v1::NamedVocabulary| WeightedWords {
        words: WordSource::Named(vocabulary.name.clone()),
        weight: match vocabulary.size {
            0..=64 => 4,
            65..=256 => 2,
            _ => 1,
        },
    };
    Ok(named.iter().map(weighted).collect())
}

/// Vocabularies of the given sizes from a shuffled list of words. A smaller one is the beginning of a larger
/// one, so that the server embeds no more words than the largest has.
///
/// # Errors
/// A size is 0, or larger than the list.
pub fn of_sizes(sizes: &[usize], seed: u64) -> Result<Vec<WeightedWords>> {
    let mut words = word_list();
    let most = words.len();
    fastrand::Rng::with_seed(seed).shuffle(&mut words);
    let first = |&size: &usize| match words.get(..size).filter(|words| !words.is_empty()) {
        Some(words) => Ok(WordSource::Inline(words.iter().map(Category::new).collect()).once()),
        None => Err(Error::VocabularySize { size, most }),
    };
    sizes.iter().map(first).collect()
}

/// Every phrase of the built-in vocabularies, each once.
fn word_list() -> Vec<String> {
    let vocabularies = builtin_vocabularies().filter_map(builtin_vocabulary);
    let phrases = vocabularies.flatten().flat_map(|category| {
        let phrases: Vec<String> = category.phrases().map(str::to_owned).collect();
        phrases
    });
    let mut seen = HashSet::new();
    let new = |phrase: &String| {
        // Phrases that are the same to the server are the same here.
        let folded = phrase.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        !folded.is_empty() && seen.insert(folded)
    };
    phrases.filter(new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_drawn_from_one_shuffled_list() {
        let drawn = of_sizes(&[5, 20], 3).unwrap();
        let lists: Vec<_> = drawn.iter().map(|drawn| drawn.words.categories().unwrap()).collect();
        assert_eq!([lists[0].len(), lists[1].len()], [5, 20]);
        assert_eq!(lists[0], lists[1][..5]);
        let other = of_sizes(&[5], 4).unwrap()[0].words.categories().unwrap();
        assert_ne!(other, lists[0]);
        assert!(of_sizes(&[0], 1).is_err() && of_sizes(&[100_000], 1).is_err());
    }

    #[test]
    fn the_word_list_is_long_and_has_no_word_twice() {
        let words = word_list();
        let folded: HashSet<String> = words.iter().map(|word| word.to_lowercase()).collect();
        assert_eq!(folded.len(), words.len());
        assert!(words.len() > 1000, "{}", words.len());
    }

    #[test]
    fn small_vocabularies_of_the_server_come_more_often() {
        let named =
            |name: &str, size| v1::NamedVocabulary { name: name.to_owned(), size, ..Default::default() };
        let mixture = server_mixture(&[named("a", 20), named("b", 150), named("c", 847)]).unwrap();
        assert!(mixture.iter().map(|words| words.weight).eq([4, 2, 1]));
        assert!(server_mixture(&[]).is_err());
    }
}
