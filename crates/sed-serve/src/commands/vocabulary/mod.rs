//! `vocabulary`: lists, shows and checks vocabularies, prepares their text embeddings, and registers them.

mod check;
mod closest;
mod list;
mod local;
mod prepare;
mod registered;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use sed_client::v1;
use serde_json::{Value, json};

const EXAMPLES: &str = "\
Examples:
  sed-serve vocabulary list
  sed-serve vocabulary show pascal-voc-20 > words.txt    to change it and use it with --words-file
  sed-serve vocabulary check --words-file words.txt --model models/sed-b.safetensors
  sed-serve vocabulary prepare ade20k-150 --server http://127.0.0.1:50051
  sed-serve vocabulary prepare ade20k-150 --model models/sed-b.safetensors --text-cache-dir embeddings
  sed-serve vocabulary create --words-file words.txt --prepare --server http://127.0.0.1:50051
  sed-serve segment photos/ --vocabulary voc-0123… --server http://127.0.0.1:50051

The first picture with new words waits until their text embeddings are computed: some hundredths of a second \
for each name and synonym with a small model or a GPU, up to seconds with a large model on a few cores; \
`sed-serve doctor` predicts it for the built-in vocabularies. `prepare` pays for that beforehand, in the \
background of a server's other work or into a folder that servers share (--text-cache-dir).";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct VocabularyArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the built-in vocabularies, or with --server those that a server knows, and how much of each is
    /// embedded there.
    List(list::ListArgs),
    /// Show the categories of a built-in vocabulary, a line each, synonyms separated by `|`; --words-file
    /// reads this output, and that of --json.
    Show {
        /// The name of the vocabulary.
        name: String,
    },
    /// Look for words that the model reads otherwise than you may think: cut, doubled, empty, and pairs that
    /// it will hardly tell apart.
    Check(Box<check::CheckArgs>),
    /// Compute the text embeddings of words: on a server, or without one into a folder that servers share.
    Prepare(Box<prepare::PrepareArgs>),
    /// Register words on a server, under a name that is made of them; it forgets them when it ends.
    Create(registered::CreateArgs),
    /// Remove a registered vocabulary from a server.
    Delete(registered::DeleteArgs),
}

pub(crate) fn run(args: &VocabularyArgs, as_json: bool) -> Result<ExitCode> {
    match &args.action {
        Action::List(args) => list::list(args, as_json)?,
        Action::Show { name } => list::show(name, as_json)?,
        Action::Check(args) => return check::run(args, as_json),
        Action::Prepare(args) => prepare::run(args, as_json)?,
        Action::Create(args) => registered::create(args, as_json)?,
        Action::Delete(args) => registered::delete(args, as_json)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Advice on words as JSON.
fn advice(warnings: &[v1::Warning]) -> Vec<Value> {
    let one = |warning: &v1::Warning| {
        let reason = warning.reason().as_str_name().trim_start_matches("WARNING_REASON_");
        json!({
            "reason": reason,
            "field": warning.field,
            "message": warning.message,
            "metadata": warning.metadata,
        })
    };
    warnings.iter().map(one).collect()
}
