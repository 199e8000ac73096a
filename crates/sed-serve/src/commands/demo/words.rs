//! The words that each picture of the demo is asked about.

use std::collections::HashSet;

use anyhow::Result;
use sed_model::prompts;

use crate::embedded::{self, Example};

/// Words for each picture: so many that rejection has something to reject.
const COUNT: usize = 150;
/// The list that fills up what the model's own words leave.
const OTHERS: &str = "ade20k-150";
/// A word of the pictures, and one that means nearly the same: a pair to be unsure of.
const NEARLY_THE_SAME: (&str, &str) = ("mountain", "hill");
/// The broader word of the model's animals.
const ANIMAL: &str = "animal";

/// The words of a picture: its own, then other words of the model, then those of a published list.
///
/// Other animals are left out: the model looks at 10 x 10 cells and takes small ones for each other. So are
/// words that contain one that is there, or share a word with it: `palm` beside `palm tree` would divide the
/// palm, which would show nothing about rejection. One word that means nearly the same as one of the picture's
/// own comes on purpose: it shows how an answer says that it is unsure.
pub(super) fn of(example: &Example) -> Result<Vec<String>> {
    let mut words = example.words.clone();
    let (own, nearly) = NEARLY_THE_SAME;
    if words.iter().any(|word| word == own) {
        words.push(nearly.to_owned());
    }
    let own =
        embedded::taught()?.into_iter().filter(|taught| !taught.broader.iter().any(|word| word == ANIMAL));
    let others = prompts::builtin_vocabulary(OTHERS).unwrap_or_default();
    // From the end: the list begins with the most common, of which the model's words hold most.
    let others = others.into_iter().rev().map(|category| category.name.trim().to_owned());
    for word in own.map(|taught| taught.name).chain(others) {
        if words.len() < COUNT && !words.iter().any(|there| is_near(&word, there)) {
            words.push(word);
        }
    }
    Ok(words)
}

/// Reports whether a word contains another, or shares one with it.
fn is_near(word: &str, there: &str) -> bool {
    let of_there: HashSet<&str> = there.split_whitespace().collect();
    word.contains(there) || word.split_whitespace().any(|part| of_there.contains(part))
}

#[cfg(all(test, feature = "embedded-model"))]
mod tests {
    use super::*;

    #[test]
    fn every_picture_has_its_own_words_first_and_each_once() {
        for example in embedded::examples().unwrap() {
            let words = of(&example).unwrap();
            assert_eq!(words.len(), COUNT, "{}", example.file);
            assert_eq!(words[..example.words.len()], example.words);
            assert_eq!(words.iter().collect::<HashSet<_>>().len(), COUNT, "{}", example.file);
        }
    }

    #[test]
    fn a_word_is_near_what_it_contains_or_shares() {
        for (word, there) in [("waterfall", "water"), ("palm", "palm tree"), ("floor", "wooden floor")] {
            assert!(is_near(word, there), "{word} and {there}");
        }
        assert!(!is_near("water", "watermelon") && !is_near("car", "bus"));
    }
}
