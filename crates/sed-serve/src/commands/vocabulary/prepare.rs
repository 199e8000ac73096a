//! `vocabulary prepare`: text embeddings before they are needed.

use std::{io::Write, time::Instant};

use anyhow::{Result, bail};
use clap::Args;
use sed_client::{Client, Contrast};
use sed_model::prompts::Category;
use serde_json::json;

use super::{
    advice,
    local::{Local, LocalArgs, Stored},
};
use crate::{
    args::{CompetitionArgs, OptionalRemoteArgs, Source, VocabulariesArgs, built_in},
    preparing,
    print::{self, BOLD, FAINT, styled},
    running::runtime,
};

const EXAMPLES: &str = "\
Examples:
  sed-serve vocabulary prepare ade20k-150 coco-stuff-171 --server http://127.0.0.1:50051
  sed-serve vocabulary prepare --words cow --contrast auto --server http://127.0.0.1:50051
  sed-serve vocabulary prepare ade20k-847 --model models/sed-l.safetensors --text-cache-dir /var/cache/sed

A server prepares in the background of its other work; this command may be ended at any time, and what is \
embedded stays. What a replica holds in memory, another one holds only if they share a folder of text \
embeddings.

Without --server the text embeddings are computed here and written to --text-cache-dir, for servers that are \
started with that setting and the same model, --dtype and version of the text tower. Nothing in the folder \
is removed; its bound is the servers' setting (--text-cache-dir-bytes). Words that the folder holds already \
cost nothing.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PrepareArgs {
    #[command(flatten)]
    words: VocabulariesArgs,

    #[command(flatten)]
    competition: CompetitionArgs,

    #[command(flatten)]
    remote: OptionalRemoteArgs,

    #[command(flatten)]
    local: LocalArgs,
}

pub(super) fn run(args: &PrepareArgs, as_json: bool) -> Result<()> {
    let sources = args.words.sources()?;
    let Some(remote) = args.remote.given() else { return into_folder(args, sources, as_json) };
    runtime()?.block_on(async {
        let client = remote.connect().await?;
        for source in &sources {
            on_server(args, &client, source, as_json).await?;
        }
        Ok(())
    })
}

/// Has a server prepare one vocabulary.
async fn on_server(args: &PrepareArgs, client: &Client, source: &Source, as_json: bool) -> Result<()> {
    let mut vocabulary = source.to_proto();
    args.competition.apply(&mut vocabulary);
    let (title, begun) = (source.title(), Instant::now());
    let state = preparing::with_bar(client, vocabulary, &title).await?;
    let seconds = begun.elapsed().as_secs_f64();
    if as_json {
        return print::json_line(&json!({
            "vocabulary": title,
            "phrases": state.phrases,
            "known": state.known,
            "replica": state.replica,
            "devices": state.devices,
            "seconds": seconds,
            "warnings": advice(&state.warnings),
        }));
    }
    print::warnings(&state.warnings);
    let where_to = if state.replica.is_empty() { String::new() } else { format!(" on {}", state.replica) };
    show(&title, state.phrases, state.known, &format!("ready{where_to}"), seconds)
}

/// Computes the text embeddings here, all vocabularies with one model.
fn into_folder(args: &PrepareArgs, sources: Vec<Source>, as_json: bool) -> Result<()> {
    let Some(folder) = args.local.folder() else {
        bail!(
            "nowhere to keep the embeddings; name a server with --server, or a folder with --text-cache-dir"
        );
    };
    let contrast = contrast_words(args.competition.contrast())?;
    let mut vocabularies = Vec::with_capacity(sources.len());
    for source in sources {
        let title = source.title();
        let categories = source.categories()?;
        vocabularies
            .push((title, categories.into_iter().chain(contrast.iter().cloned()).collect::<Vec<_>>()));
    }
    let mut local = Local::start(&args.local, Some(folder))?;
    runtime()?.block_on(async {
        local.ready().await?;
        for (title, categories) in &vocabularies {
            let begun = Instant::now();
            let phrases = local.embed(categories, title).await?;
            let (seconds, count) = (begun.elapsed().as_secs_f64(), phrases as u32);
            if as_json {
                let folder = folder.display().to_string();
                print::json_line(
                    &json!({ "vocabulary": title, "phrases": count, "folder": folder, "seconds": seconds }),
                )?;
            } else {
                show(title, count, 0, &format!("in {}", folder.display()), seconds)?;
            }
        }
        let Stored { embedded, stored } = local.stop().await;
        if stored < embedded {
            bail!(
                "{} holds {stored} of {embedded} names and synonyms; look at its rights and its room, and run \
                 this again: what it holds costs nothing",
                folder.display()
            );
        }
        Ok(())
    })
}

/// The categories of contrast words; those of the server's choice are a server's.
fn contrast_words(contrast: Option<Contrast>) -> Result<Vec<Category>> {
    match contrast {
        None | Some(Contrast::Off) => Ok(Vec::new()),
        Some(Contrast::Named(name)) => built_in(&name),
        Some(Contrast::Words(words)) => Ok(words
            .into_iter()
            .map(|category| Category { name: category.name, synonyms: category.synonyms })
            .collect()),
        Some(Contrast::Auto) => {
            bail!("--contrast auto needs a server, which chooses the words; give --server, or name the words")
        }
    }
}

fn show(title: &str, phrases: u32, known: u32, done: &str, seconds: f64) -> Result<()> {
    let known = if known > 0 { format!(", {known} of them known before") } else { String::new() };
    let time = print::time(seconds * 1e3);
    let facts = styled(FAINT, format!("{phrases} names and synonyms {done}{known} · {time}"));
    Ok(writeln!(print::stdout(), "{}  {facts}", styled(BOLD, title))?)
}
