//! The words to look for: on the command line, in a file, or a vocabulary by its name.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use sed_client::v1;
use sed_model::prompts::Category;

use super::words_file::{self, Synonyms, parse_category};

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

impl WordsArgs {
    /// Returns the vocabulary for a request.
    pub(crate) fn vocabulary(&self) -> Result<v1::Vocabulary> {
        match (&self.source.words, &self.source.words_file, &self.source.vocabulary) {
            (Some(Words(categories)), ..) => Ok(to_proto(categories)),
            (_, Some(path), _) => {
                let synonyms = if self.official_words { Synonyms::Commas } else { Synonyms::Bars };
                Ok(to_proto(&words_file::read(path, synonyms)?))
            }
            (_, _, Some(name)) => Ok(sed_client::named(name)),
            // The command line's parser asks for one of the three.
            (None, None, None) => bail!("no words; give --words, --words-file or --vocabulary"),
        }
    }
}

/// Converts categories into the vocabulary of a request.
fn to_proto(categories: &[Category]) -> v1::Vocabulary {
    let categories = categories.iter().cloned();
    sed_client::categories(categories.map(|Category { name, synonyms }| (name, synonyms)))
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
    fn commas_part_categories_and_bars_synonyms() {
        let Words(words) = parse_words(" cat | kitty,grass , blue  sky").unwrap();
        assert_eq!(phrases(&words), [vec!["cat", "kitty"], vec!["grass"], vec!["blue  sky"]]);
        for wrong in ["", "cat,,dog", "cat,", "cat||kitty", "|cat"] {
            assert!(parse_words(wrong).is_err(), "{wrong:?}");
        }
    }
}
