//! Advice on the words of a vocabulary that takes their text embeddings.

use super::{Vocabulary, VocabularyWarning};
use crate::similarity::{CategoryPair, ClosestPairs, Directions};

/// Pairs of categories that are reported at most.
const MOST_PAIRS: usize = 50;

/// Warns of the pairs of asked categories that the model will hardly tell apart, the closest first, 50 at
/// most. `directions` are those of the vocabulary; `common` are those of the common words, by which a
/// vocabulary of fewer than 16 categories is measured if they are known.
pub fn advice(
    vocabulary: &Vocabulary,
    directions: &Directions,
    common: Option<&Directions>,
) -> Vec<VocabularyWarning> {
    let closest = ClosestPairs::of(directions, common, MOST_PAIRS);
    let name = |category: usize| vocabulary.categories().get(category).map(|category| category.name.clone());
    let warning = |pair: &CategoryPair| {
        let &CategoryPair { first, second, similarity } = pair;
        let (first_name, second_name) = (name(first)?, name(second)?);
        let threshold = closest.threshold;
        Some(VocabularyWarning::Alike { first, second, first_name, second_name, similarity, threshold })
    };
    closest.alike().iter().filter_map(warning).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{requests::vocabulary::Category, stages::fake::FakeReader};

    /// A vocabulary of so many words, whose directions differ by right angles but for those of the last two
    /// words.
    fn vocabulary(words: usize) -> (Vocabulary, Directions) {
        let names = (0..words).map(|word| Category::new(format!("word {word}"))).collect();
        let row = |word| {
            let mut row = vec![0.0; words];
            row[word] = 1.0;
            row
        };
        let mut rows: Vec<Vec<f32>> = (0..words).map(row).collect();
        (rows[words - 1][words - 2], rows[words - 1][words - 1]) = (0.8, 0.6);
        (Vocabulary::built_in(names, &FakeReader).unwrap(), Directions::new(&rows, words))
    }

    #[test]
    fn a_pair_that_is_alike_is_named_with_what_to_do() {
        let (words, directions) = vocabulary(20);
        let advice = advice(&words, &directions, None);
        let messages: Vec<String> = advice.iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            ["categories 18 and 19, `word 18` and `word 19`, are hardly different to the model (similarity \
              0.800, alike from 0.750); if they mean the same, make them synonyms of one category"]
        );
    }

    #[test]
    fn a_small_vocabulary_needs_the_common_words() {
        let (common_words, common) = vocabulary(64);
        assert_eq!(common_words.size(), 64);
        let (words, directions) = vocabulary(2);
        assert_eq!(advice(&words, &directions, Some(&common)).len(), 1);
        assert_eq!(advice(&words, &directions, None), []);
    }

    #[test]
    fn at_most_fifty_pairs_are_named() {
        // The first 12 of 40 words are one and the same: 66 pairs.
        let axis = |word: usize| if word < 12 { 0 } else { word };
        let row = |word| {
            let mut row = vec![0.0; 40];
            row[axis(word)] = 1.0;
            row
        };
        let rows: Vec<Vec<f32>> = (0..40).map(row).collect();
        let found = advice(&vocabulary(40).0, &Directions::new(&rows, 40), None);
        assert_eq!(found.len(), 50);
        assert!(
            matches!(found[49], VocabularyWarning::Alike { first: 5, second: 10, .. }),
            "{:?}",
            found[49]
        );
    }
}
