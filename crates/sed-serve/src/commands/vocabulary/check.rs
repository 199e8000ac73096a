//! `vocabulary check`: words that the model reads otherwise than a person may think.

use std::{collections::HashMap, io::Write, process::ExitCode, sync::Arc};

use anyhow::Result;
use clap::Args;
use sed_model::{
    prompts::Category,
    tokenizer::{PhraseReader, Tokenizer},
};
use serde::Serialize;
use serde_json::json;

use super::{
    advice,
    closest::{Closest, closest},
    local::LocalArgs,
};
use crate::{
    args::{OneVocabularyArgs, OptionalRemoteArgs, RemoteArgs, Source},
    preparing,
    print::{self, BAD, BOLD, Cell, FAINT, GOOD, Table, WARNING, gap, styled},
    running::runtime,
};

const EXAMPLES: &str = "\
Examples:
  sed-serve vocabulary check --words \"stairs, stairway, chair, armchair\" --model models/sed-b.safetensors
  sed-serve vocabulary check ade20k-150 --pairs 20
  sed-serve vocabulary check --words-file words.txt --pairs 0         the tokens alone, at once

A server refuses words of which nothing is left after cleaning, and words that are doubled; it cuts what is \
longer than its prompts have room for. Two categories are alike when their text embeddings are so close, \
against the spread of the vocabulary, that the model will hardly tell them apart: make them synonyms of one \
category if they mean the same.

With --server, the server prepares the words and sends its warnings, with the similarities of alike pairs; \
--pairs is for the check in this program alone. The exit code is 1 if words would be refused; refused \
categories are in no pair.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    words: OneVocabularyArgs,

    /// Without --server: print the N closest pairs of categories, which needs their text embeddings; 0
    /// computes none.
    #[arg(long, value_name = "N", default_value_t = 10, conflicts_with = "server")]
    pairs: usize,

    #[command(flatten)]
    remote: OptionalRemoteArgs,

    #[command(flatten)]
    local: LocalArgs,
}

pub(super) fn run(args: &CheckArgs, as_json: bool) -> Result<ExitCode> {
    let source = args.words.source()?;
    if let Some(remote) = args.remote.given() {
        by_server(&remote, &source, as_json)?;
        return Ok(ExitCode::SUCCESS);
    }
    // Published lists hold doubles, which a server lets through by their names.
    let lenient = matches!(source, Source::Named(_));
    let (title, categories) = (source.title(), source.categories()?);
    let tokenizer = Tokenizer::new(&args.local.model().open()?.config.text)?;
    let findings = findings(&categories, &PhraseReader::new(Arc::new(tokenizer)), lenient);
    let accepted = accepted(categories.len(), &findings);
    let pairs = args.pairs.min(accepted.len() * accepted.len().saturating_sub(1) / 2);
    let closest =
        if pairs > 0 { Some(closest(&args.local, &categories, &accepted, &title, pairs)?) } else { None };
    if as_json {
        print::json_line(&json!({
            "vocabulary": title,
            "categories": categories.len(),
            "findings": findings,
            "closest": closest,
        }))?;
    } else {
        show(&title, &categories, &findings, closest.as_ref())?;
    }
    let refused = findings.iter().any(|finding| finding.refused);
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints the advice of a server, which embeds the words for it.
fn by_server(remote: &RemoteArgs, source: &Source, as_json: bool) -> Result<()> {
    runtime()?.block_on(async {
        let client = remote.connect().await?;
        let title = source.title();
        let warnings = preparing::with_bar(&client, source.to_proto(), &title).await?.warnings;
        if as_json {
            return print::json_line(&json!({ "vocabulary": title, "warnings": advice(&warnings) }));
        }
        print::all_warnings(&warnings);
        let verdict = match warnings.len() {
            0 => "no advice".to_owned(),
            1 => "one warning".to_owned(),
            count => format!("{count} warnings"),
        };
        Ok(writeln!(print::stdout(), "{}  {verdict}", styled(BOLD, title))?)
    })
}

/// A fault of words.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// The category that has it.
    category: usize,
    kind: Kind,
    message: String,
    /// True if a server refuses the words for it.
    refused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// Nothing is left after cleaning.
    Empty,
    /// A phrase has more tokens than its prompts have room for.
    Cut,
    /// A phrase stands twice in its category.
    PhraseDoubled,
    /// Two categories have the same phrases.
    CategoryDoubled,
    /// Two categories have the same name and other synonyms.
    NameRepeated,
}

/// Looks at every phrase as the model reads it. Doubles are no fault of a `lenient` list.
fn findings(categories: &[Category], reader: &PhraseReader, lenient: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut names: HashMap<Vec<u32>, usize> = HashMap::new();
    let mut sets: HashMap<Vec<Vec<u32>>, usize> = HashMap::new();
    for (index, category) in categories.iter().enumerate() {
        let mut add = |kind, message: String, refused| {
            found.push(Finding { category: index, kind, message, refused });
        };
        let mut phrases: Vec<Vec<u32>> = Vec::new();
        for text in category.phrases() {
            let tokens = reader.read(text);
            if tokens.ids.is_empty() {
                add(Kind::Empty, format!("`{text}` is empty after cleaning"), !lenient);
            } else if tokens.is_cut() {
                let (whole, room) = (tokens.whole, tokens.room);
                add(
                    Kind::Cut,
                    format!("`{text}` has {whole} tokens, its prompts have room for {room}"),
                    false,
                );
            }
            if phrases.contains(&tokens.ids) {
                add(Kind::PhraseDoubled, format!("`{text}` stands twice in category {index}"), !lenient);
            }
            phrases.push(tokens.ids);
        }
        let name = phrases[0].clone();
        phrases.sort_unstable();
        if let Some(first) = sets.insert(phrases, index) {
            let message =
                format!("`{}` is the same as `{}` (category {first})", category.name, categories[first].name);
            add(Kind::CategoryDoubled, message, !lenient);
        } else if let Some(first) = names.get(&name) {
            let message =
                format!("`{}` is also the name of category {first}, with other synonyms", category.name);
            add(Kind::NameRepeated, message, false);
        }
        names.entry(name).or_insert(index);
    }
    found
}

/// The indices of the categories that a server does not refuse.
fn accepted(categories: usize, findings: &[Finding]) -> Vec<usize> {
    let refused = |index: &usize| findings.iter().any(|found| found.refused && found.category == *index);
    (0..categories).filter(|index| !refused(index)).collect()
}

fn show(title: &str, categories: &[Category], findings: &[Finding], closest: Option<&Closest>) -> Result<()> {
    let out = &mut print::stdout();
    let phrases: usize = categories.iter().map(|category| category.phrases().count()).sum();
    let facts = format!("{} categories, {phrases} names and synonyms", categories.len());
    writeln!(out, "{}  {}", styled(BOLD, title), styled(FAINT, facts))?;
    let mut table = Table::default();
    for Finding { category, message, refused, .. } in findings {
        let mark = if *refused { Cell::left("✗").styled(BAD) } else { Cell::left("!").styled(WARNING) };
        table.row([mark, Cell::right(category.to_string()).styled(FAINT), Cell::whole(message)]);
    }
    table.write("  ", out)?;
    if findings.is_empty() {
        writeln!(out, "  {}", styled(GOOD, "no word is cut, doubled or empty"))?;
    }
    let Some(Closest { threshold, pairs }) = closest else { return Ok(()) };
    gap(out)?;
    let rule =
        format!("the closest pairs; from {threshold:.3} the model will hardly tell two categories apart");
    writeln!(out, "{}  {}", styled(BOLD, "alike"), styled(FAINT, rule))?;
    let mut table = Table::default();
    for pair in pairs {
        let verdict =
            if pair.alike { Cell::left("alike").styled(WARNING) } else { Cell::left("apart").styled(FAINT) };
        let names = [pair.first, pair.second].map(|index| Cell::left(categories[index].name.trim()));
        let [first, second] = names;
        table.row([verdict, Cell::right(format!("{:.3}", pair.similarity)), first, second]);
    }
    table.write("  ", out)?;
    if let Some(pair) = pairs.iter().find(|pair| pair.alike) {
        let [first, second] = [pair.first, pair.second].map(|index| categories[index].name.trim());
        let advice = format!("make those that mean the same synonyms of one category: \"{first}|{second}\"");
        writeln!(out, "  {}", styled(FAINT, advice))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sed_model::config::SedConfig;

    use super::*;

    fn found(words: &[&str], lenient: bool) -> Vec<(usize, Kind, bool)> {
        let reader = PhraseReader::new(Arc::new(Tokenizer::new(&SedConfig::sed_b().text).unwrap()));
        let category = |text: &&str| {
            let mut phrases = text.split('|').map(str::to_owned);
            Category { name: phrases.next().unwrap(), synonyms: phrases.collect() }
        };
        let categories: Vec<Category> = words.iter().map(category).collect();
        let findings = findings(&categories, &reader, lenient);
        findings.into_iter().map(|finding| (finding.category, finding.kind, finding.refused)).collect()
    }

    #[test]
    fn refused_categories_are_in_no_pair() {
        let finding = |category, refused| Finding {
            category,
            kind: Kind::CategoryDoubled,
            message: String::new(),
            refused,
        };
        assert_eq!(accepted(4, &[finding(1, true), finding(2, false)]), [0, 2, 3]);
        assert_eq!(accepted(2, &[]), [0, 1]);
    }

    #[test]
    fn every_fault_is_found_with_its_category() {
        let long = vec!["word"; 90].join(" ");
        let words = ["cat|kitty|CAT", "&nbsp;", long.as_str(), "sofa", "Sofa|couch", "dog"];
        let want = [
            (0, Kind::PhraseDoubled, true),
            (1, Kind::Empty, true),
            (2, Kind::Cut, false),
            (4, Kind::NameRepeated, false),
        ];
        assert_eq!(found(&words, false), want);
        assert_eq!(found(&words, true), want.map(|(category, kind, _)| (category, kind, false)));
        assert_eq!(found(&["cat|kitty", "Kitty|cat"], false), [(1, Kind::CategoryDoubled, true)]);
        assert_eq!(found(&["cat", "dog", "cow"], false), []);
    }
}
