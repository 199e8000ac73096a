//! `vocabulary create` and `vocabulary delete`: the vocabularies that callers register on a server.

use std::io::Write;

use anyhow::Result;
use clap::Args;
use sed_client::{Client, NewVocabulary, Preparation, v1};
use sed_model::prompts::Category;
use serde_json::json;

use super::advice;
use crate::{
    args::{CompetitionArgs, OneVocabularyArgs, RemoteArgs},
    preparing,
    print::{self, BOLD, FAINT, styled},
    progress,
    running::runtime,
};

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    words: OneVocabularyArgs,

    #[command(flatten)]
    competition: CompetitionArgs,

    /// Compute the text embeddings, too, and wait for them.
    #[arg(long)]
    prepare: bool,

    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// The name of the vocabulary.
    name: String,

    #[command(flatten)]
    remote: RemoteArgs,
}

pub(super) fn create(args: &CreateArgs, as_json: bool) -> Result<()> {
    let categories = args.words.source()?.categories()?;
    let category = |Category { name, synonyms }| v1::Category { name, synonyms };
    let mut new =
        NewVocabulary::of(categories.into_iter().map(category)).synonym_mode(args.competition.synonym_mode());
    if let Some(contrast) = args.competition.contrast() {
        new = new.contrast(contrast);
    }
    runtime()?.block_on(async {
        let client = args.remote.connect().await?;
        // Contrast words of the server's choice may have to be embedded first.
        let spinner = progress::spinner("registering the words");
        let created = client.create_vocabulary(new).await;
        spinner.finish_and_clear();
        let created = created?;
        let vocabulary = created.vocabulary.unwrap_or_default();
        let prepared = if args.prepare { Some(prepare(&client, &vocabulary.name).await?) } else { None };
        // The advice behind the preparation holds that on the words alone.
        let warnings = prepared.as_ref().map_or(&created.warnings, |state| &state.warnings);
        if as_json {
            return print::json_line(&json!({
                "name": vocabulary.name,
                "existed": created.existed,
                "categories": vocabulary.size,
                "contrast_words": vocabulary.contrast_size,
                "prepared_phrases": prepared.as_ref().map(|state| state.phrases),
                "warnings": advice(warnings),
            }));
        }
        print::warnings(warnings);
        show(&vocabulary, created.existed, prepared.as_ref())
    })
}

async fn prepare(client: &Client, name: &str) -> Result<Preparation> {
    preparing::with_bar(client, sed_client::named(name), name).await
}

fn show(vocabulary: &v1::NamedVocabulary, existed: bool, prepared: Option<&Preparation>) -> Result<()> {
    let mut facts = vec![format!("{} categories", vocabulary.size)];
    if vocabulary.contrast_size > 0 {
        facts.push(format!("{} contrast words", vocabulary.contrast_size));
    }
    if let Some(state) = prepared {
        facts.push(format!("{} names and synonyms ready", state.phrases));
    }
    if existed {
        facts.push("known already".to_owned());
    }
    let (name, facts) = (styled(BOLD, &vocabulary.name), styled(FAINT, facts.join(" · ")));
    Ok(writeln!(print::stdout(), "{name}  {facts}")?)
}

pub(super) fn delete(args: &DeleteArgs, as_json: bool) -> Result<()> {
    runtime()?.block_on(async {
        args.remote.connect().await?.delete_vocabulary(&args.name).await?;
        if as_json {
            return print::json_line(&json!({ "name": args.name, "deleted": true }));
        }
        Ok(writeln!(print::stdout(), "{} is removed", args.name)?)
    })
}
