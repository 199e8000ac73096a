//! The words to look for: on the command line, in a file, or a vocabulary by its name.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::{ArgGroup, Args};
use sed_client::v1;
use sed_model::prompts::{self, Category};

use super::words_file::{self, Synonyms, parse_category};
use crate::print;

/// The words' flags; exactly one source is given.
#[derive(Debug, Args)]
#[command(next_help_heading = "Words")]
pub(crate) struct WordsArgs {
    #[command(flatten)]
    source: WordsSource,

    /// The words file is an official category list: one category a line (or a JSON array of them), its
    /// synonyms separated by a comma and a space.
    #[arg(long, requires = "words_file")]
    official_words: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct WordsSource {
    /// The words, separated by commas, synonyms by `|`: "cat|kitty, grass, blue sky".
    #[arg(long, value_name = "WORDS", value_parser = parse_words)]
    words: Option<Words>,

    /// A file with one category a line, its synonyms separated by `|`; empty lines are skipped. Or JSON: an
    /// array of such lines, or of objects with `name` and `synonyms`.
    #[arg(long, value_name = "FILE")]
    words_file: Option<PathBuf>,

    /// A vocabulary that the server knows by name, such as `ade20k-150`; see `sed-serve vocabulary list`.
    #[arg(long, value_name = "NAME")]
    vocabulary: Option<String>,
}

/// Categories of `--words`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words(pub(crate) Vec<Category>);

/// Words that are written out: on the command line, or in a file.
#[derive(Debug, Args)]
#[command(next_help_heading = "Words")]
struct WrittenWords {
    /// The words, separated by commas, synonyms by `|`: "cat|kitty, grass, blue sky".
    #[arg(long, value_name = "WORDS", value_parser = parse_words, group = SOURCE)]
    words: Option<Words>,

    /// A file with one category a line, its synonyms separated by `|`; or JSON, as `segment` reads it.
    #[arg(long, value_name = "FILE", group = SOURCE)]
    words_file: Option<PathBuf>,

    /// The words file is an official category list: one category a line (or a JSON array of them), its
    /// synonyms separated by a comma and a space.
    #[arg(long, requires = "words_file")]
    official_words: bool,
}

/// The group of the flags of which one names the words.
const SOURCE: &str = "source_of_words";

/// One vocabulary by its name, or words.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new(SOURCE).required(true)))]
pub(crate) struct OneVocabularyArgs {
    /// A vocabulary by its name, such as `ade20k-150`; see `sed-serve vocabulary list`.
    #[arg(value_name = "NAME", group = SOURCE)]
    name: Option<String>,

    #[command(flatten)]
    written: WrittenWords,
}

/// Vocabularies by their names, or words.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new(SOURCE).required(true)))]
pub(crate) struct VocabulariesArgs {
    /// Vocabularies by their names, such as `ade20k-150`; see `sed-serve vocabulary list`.
    #[arg(value_name = "NAME", group = SOURCE)]
    names: Vec<String>,

    #[command(flatten)]
    written: WrittenWords,
}

/// The words of a vocabulary, or its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Named(String),
    Written(Vec<Category>),
}

impl WordsArgs {
    /// Returns the vocabulary for a request.
    pub(crate) fn vocabulary(&self) -> Result<v1::Vocabulary> {
        let WordsSource { words, words_file, vocabulary } = &self.source;
        let written = written(words.as_ref(), words_file.as_deref(), self.official_words)?;
        Ok(one_of(vocabulary.as_ref(), written)?.to_proto())
    }
}

impl OneVocabularyArgs {
    /// Returns the words or the name.
    pub(crate) fn source(&self) -> Result<Source> {
        one_of(self.name.as_ref(), self.written.read()?)
    }
}

impl VocabulariesArgs {
    /// Returns the words, or the names.
    pub(crate) fn sources(&self) -> Result<Vec<Source>> {
        if self.names.is_empty() {
            return Ok(vec![one_of(None, self.written.read()?)?]);
        }
        Ok(self.names.iter().cloned().map(Source::Named).collect())
    }
}

impl WrittenWords {
    fn read(&self) -> Result<Option<Vec<Category>>> {
        written(self.words.as_ref(), self.words_file.as_deref(), self.official_words)
    }
}

impl Source {
    /// The vocabulary of a request.
    pub(crate) fn to_proto(&self) -> v1::Vocabulary {
        match self {
            Self::Named(name) => sed_client::named(name),
            Self::Written(categories) => {
                let categories = categories.iter().cloned();
                sed_client::categories(categories.map(|Category { name, synonyms }| (name, synonyms)))
            }
        }
    }

    /// The categories, those of a name from the lists of this program.
    pub(crate) fn categories(self) -> Result<Vec<Category>> {
        match self {
            Self::Named(name) => built_in(&name),
            Self::Written(categories) => Ok(categories),
        }
    }

    /// The vocabulary's name, or a description of the words.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Named(name) => name.clone(),
            Self::Written(categories) => {
                print::some(categories.iter().map(|category| category.name.as_str()), 40)
            }
        }
    }
}

/// The categories of a built-in vocabulary.
pub(crate) fn built_in(name: &str) -> Result<Vec<Category>> {
    prompts::builtin_vocabulary(name).with_context(|| {
        let known: Vec<&str> = prompts::builtin_vocabularies().collect();
        format!("there is no built-in vocabulary {name:?}; there are {}", known.join(", "))
    })
}

/// The different names and synonyms of categories.
pub(crate) fn different_phrases(categories: &[Category]) -> BTreeSet<&str> {
    categories.iter().flat_map(Category::phrases).map(str::trim).collect()
}

fn written(words: Option<&Words>, file: Option<&Path>, official: bool) -> Result<Option<Vec<Category>>> {
    let synonyms = if official { Synonyms::Commas } else { Synonyms::Bars };
    match (words, file) {
        (Some(Words(categories)), _) => Ok(Some(categories.clone())),
        (None, Some(file)) => words_file::read(file, synonyms).map(Some),
        (None, None) => Ok(None),
    }
}

fn one_of(name: Option<&String>, written: Option<Vec<Category>>) -> Result<Source> {
    let named = name.cloned().map(Source::Named);
    // The command line's parser asks for one of them.
    written
        .map(Source::Written)
        .or(named)
        .context("no words; give them, a file of them, or a vocabulary's name")
}

/// Parses the value of `--words`.
pub(crate) fn parse_words(text: &str) -> Result<Words, String> {
    text.split(',').map(parse_category).collect::<Option<_>>().map(Words).ok_or_else(|| {
        "a word is empty; put one word or phrase between two commas, and beside every `|`".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrases(categories: &[Category]) -> Vec<Vec<&str>> {
        categories.iter().map(|category| category.phrases().collect()).collect()
    }

    #[test]
    fn a_phrase_of_two_categories_counts_once() {
        let Words(words) = parse_words("cat|kitty, dog|puppy, puppy").unwrap();
        assert_eq!(Vec::from_iter(different_phrases(&words)), ["cat", "dog", "kitty", "puppy"]);
        assert_eq!(different_phrases(&built_in("ade20k-847").unwrap()).len(), 1235);
    }

    #[test]
    fn commas_part_categories_and_bars_synonyms() {
        let Words(words) = parse_words(" cat | kitty,grass , blue  sky").unwrap();
        assert_eq!(phrases(&words), [vec!["cat", "kitty"], vec!["grass"], vec!["blue  sky"]]);
        for wrong in ["", "cat,,dog", "cat,", "cat||kitty", "|cat"] {
            assert!(parse_words(wrong).is_err(), "{wrong:?}");
        }
    }
}
