//! `vocabulary list` and `vocabulary show`.

use std::io::Write;

use anyhow::Result;
use clap::Args;
use sed_client::{Client, v1};
use sed_model::prompts;
use serde_json::json;

use crate::{
    args::{OptionalRemoteArgs, built_in, different_phrases, to_line},
    print::{self, Cell, FAINT, Table},
    running::runtime,
};

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    remote: OptionalRemoteArgs,
}

pub(super) fn list(args: &ListArgs, as_json: bool) -> Result<()> {
    match args.remote.given() {
        Some(remote) => runtime()?.block_on(async { of_server(&remote.connect().await?, as_json).await }),
        None => built_in_ones(as_json),
    }
}

fn built_in_ones(as_json: bool) -> Result<()> {
    let mut table = Table::default();
    table.row(heads(&["name", "categories", "phrases", "the first of them"]));
    for name in prompts::builtin_vocabularies() {
        let categories = built_in(name)?;
        let phrases = different_phrases(&categories).len();
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

async fn of_server(client: &Client, as_json: bool) -> Result<()> {
    let mut table = Table::default();
    table.row(heads(&["name", "categories", "contrast", "phrases", "embedded", ""]));
    for one in client.vocabularies().await? {
        if as_json {
            print::json_line(&json!({
                "name": one.name,
                "built_in": one.built_in,
                "categories": one.size,
                "contrast_words": one.contrast_size,
                "phrases": one.phrases,
                "embedded_phrases": one.embedded_phrases,
                "best_synonym": one.synonym_mode() == v1::SynonymMode::Best,
            }))?;
        }
        let numbers = [one.size, one.contrast_size, one.phrases, one.embedded_phrases];
        let [size, contrast, phrases, embedded] = numbers.map(|number| Cell::right(number.to_string()));
        let kind = if one.built_in { "built in" } else { "registered" };
        table.row([Cell::left(one.name), size, contrast, phrases, embedded, Cell::left(kind).styled(FAINT)]);
    }
    if !as_json {
        table.write("", &mut print::stdout())?;
    }
    Ok(())
}

fn heads<'a>(heads: &'a [&str]) -> impl Iterator<Item = Cell> + 'a {
    heads.iter().map(|head| Cell::left(*head).styled(FAINT))
}

pub(super) fn show(name: &str, as_json: bool) -> Result<()> {
    let categories = built_in(name)?;
    if as_json {
        return print::json_line(&categories);
    }
    let mut out = print::stdout();
    for category in categories {
        writeln!(out, "{}", to_line(&category))?;
    }
    Ok(())
}
