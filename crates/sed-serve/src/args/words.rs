//! The words to look for: on the command line, in a file, or a vocabulary by its name.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use sed_model::prompts::Category;
use sed_proto::v1;

/// What parts the phrases of one category.
const SYNONYM: char = '|';

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

    /// A text file with one category a line, its synonyms separated by `|`. Empty lines are skipped.
    #[arg(long, value_name = "FILE")]
    words_file: Option<PathBuf>,

    /// A vocabulary that the server knows by name, such as `ade20k-150`; see `sed-serve vocabulary list`.
    #[arg(long, value_name = "NAME")]
    vocabulary: Option<String>,
}

/// Categories that were written by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words(pub(crate) Vec<Category>);

impl WordsArgs {
    /// The words as a request has them.
    pub(crate) fn vocabulary(&self) -> Result<v1::Vocabulary> {
        match (&self.source.words, &self.source.words_file, &self.source.vocabulary) {
            (Some(Words(categories)), ..) => Ok(to_proto(categories)),
            (_, Some(path), _) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read the words in {}", path.display()))?;
                let categories = if self.official_words { parse_official(&text) } else { parse_lines(&text) };
                let categories = categories.with_context(|| format!("in {}", path.display()))?;
                Ok(to_proto(&categories))
            }
            (_, _, Some(name)) => {
                Ok(v1::Vocabulary { source: Some(v1::vocabulary::Source::Name(name.clone())) })
            }
            // The command line's parser asks for one of the three.
            (None, None, None) => bail!("no words; give --words, --words-file or --vocabulary"),
        }
    }
}

/// Categories as a request has them.
pub(crate) fn to_proto(categories: &[Category]) -> v1::Vocabulary {
    let category = |category: &Category| v1::Category {
        name: category.name.clone(),
        synonyms: category.synonyms.clone(),
    };
    let categories = categories.iter().map(category).collect();
    v1::Vocabulary { source: Some(v1::vocabulary::Source::Categories(v1::CategoryList { categories })) }
}

/// Reads words as `--words` has them.
pub(crate) fn parse_words(text: &str) -> Result<Words, String> {
    text.split(',').map(parse_category).collect::<Option<_>>().map(Words).ok_or_else(|| {
        "a word is empty; put one word or phrase between two commas, and beside every `|`".to_owned()
    })
}

fn parse_lines(text: &str) -> Result<Vec<Category>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parsed = lines.map(|(index, line)| {
        let number = index + 1;
        parse_category(line).with_context(|| format!("line {number}: a phrase beside a `|` is empty"))
    });
    not_empty(parsed.collect::<Result<_>>()?)
}

/// A category of which no phrase is empty.
fn parse_category(text: &str) -> Option<Category> {
    let mut phrases = text.split(SYNONYM).map(str::trim).map(str::to_owned);
    let category = Category { name: phrases.next()?, synonyms: phrases.collect() };
    let complete = category.phrases().all(|phrase| !phrase.is_empty());
    complete.then_some(category)
}

fn parse_official(text: &str) -> Result<Vec<Category>> {
    let categories = if text.trim_start().starts_with('[') {
        let lines: Vec<String> =
            serde_json::from_str(text).context("expected a JSON array of texts, one for each category")?;
        lines.iter().map(|line| Category::from_official(line)).collect()
    } else {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines.map(Category::from_official).collect()
    };
    not_empty(categories)
}

fn not_empty(categories: Vec<Category>) -> Result<Vec<Category>> {
    if categories.is_empty() {
        bail!("there are no words; write one category a line");
    }
    Ok(categories)
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

    #[test]
    fn files_have_one_category_a_line() {
        let words = parse_lines("traffic light|stop light\r\n\n  dog, wet\n").unwrap();
        assert_eq!(phrases(&words), [vec!["traffic light", "stop light"], vec!["dog, wet"]]);
        assert!(parse_lines("\n \n").is_err());
        let error = parse_lines("cat\n\ndog|\n").unwrap_err();
        assert!(error.to_string().contains("line 3"), "{error}");
    }

    #[test]
    fn official_lists_are_lines_or_json() {
        let lines = parse_official("building, edifice\nWall\n").unwrap();
        assert_eq!(phrases(&lines), [vec!["building", "edifice"], vec!["Wall"]]);
        assert_eq!(parse_official("[\"building, edifice\", \"Wall\"]").unwrap(), lines);
        assert!(parse_official("[1]").is_err());
    }
}
