//! `vocabulary`: lists and shows the built-in vocabularies.

use std::{io::Write, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use sed_model::prompts::{self, Category};
use serde_json::json;

use crate::{
    args::to_line,
    print::{self, Cell, FAINT, Table},
};

const EXAMPLES: &str = "\
Examples:
  sed-serve vocabulary list
  sed-serve vocabulary show pascal-voc-20 > words.txt    to change it and use it with --words-file";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct VocabularyArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the built-in vocabularies.
    List,
    /// Show the categories of one, a line each, synonyms separated by `|`; --words-file reads this output,
    /// and that of --json.
    Show {
        /// The name of the vocabulary.
        name: String,
    },
}

pub(crate) fn run(args: &VocabularyArgs, as_json: bool) -> Result<ExitCode> {
    match &args.action {
        Action::List => list(as_json)?,
        Action::Show { name } => show(name, as_json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(as_json: bool) -> Result<()> {
    let mut table = Table::default();
    let heads = ["name", "categories", "phrases", "the first of them"];
    table.row(heads.map(|head| Cell::left(head).styled(FAINT)));
    for name in prompts::builtin_vocabularies() {
        let categories = categories(name)?;
        let phrases: usize = categories.iter().map(|category| category.phrases().count()).sum();
        if as_json {
            print::json_line(&json!({ "name": name, "categories": categories.len(), "phrases": phrases }))?;
        }
        let first = print::some(categories.iter().map(|category| category.name.as_str()), 40);
        let numbers = [categories.len(), phrases].map(|number| Cell::right(number.to_string()));
        let [count, phrases] = numbers;
        table.row([Cell::left(name), count, phrases, Cell::left(first).styled(FAINT)]);
    }
    if !as_json {
        table.write("", &mut print::stdout())?;
    }
    Ok(())
}

fn show(name: &str, as_json: bool) -> Result<()> {
    let categories = categories(name)?;
    if as_json {
        return print::json_line(&categories);
    }
    let mut out = print::stdout();
    for category in categories {
        writeln!(out, "{}", to_line(&category))?;
    }
    Ok(())
}

fn categories(name: &str) -> Result<Vec<Category>> {
    prompts::builtin_vocabulary(name).with_context(|| {
        let known: Vec<&str> = prompts::builtin_vocabularies().collect();
        format!("there is no built-in vocabulary {name:?}; there are {}", known.join(", "))
    })
}
