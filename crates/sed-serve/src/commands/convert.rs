//! `convert`: `.pth` into `.safetensors`, `config.json` and a digest.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;
use sed_model::checkpoint;
use serde_json::json;

use crate::{
    opened_model::OpenedModel,
    print::{self, BOLD, Cell, FAINT, Table, styled},
    progress,
};

const EXAMPLES: &str = "\
Example:
  sed-serve convert sed_model_base.pth --output models
  sed-serve serve --model models/sed-b.safetensors

Every tensor is kept bit for bit as it is stored. Nothing in the checkpoint is executed.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ConvertArgs {
    /// The checkpoint, .pth or .safetensors.
    #[arg(value_name = "CHECKPOINT")]
    input: PathBuf,

    /// The folder for the new files; those of the same name are replaced.
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,

    /// The model's sizes, where they are neither in a config.json beside the checkpoint nor to be recognised
    /// from its tensors.
    #[arg(long, value_name = "FILE")]
    model_config: Option<PathBuf>,
}

pub(crate) fn run(args: &ConvertArgs, as_json: bool) -> Result<ExitCode> {
    let OpenedModel { checkpoint, config } = OpenedModel::read(&args.input, args.model_config.as_deref())?;
    let fit = checkpoint.check(&config)?;
    let bar = progress::bytes("converting");
    let converted = checkpoint::convert(&checkpoint, &config, &args.output, |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.written);
    })?;
    bar.finish_and_clear();

    if as_json {
        print::json_line(&json!({
            "model": config.name,
            "digest": converted.digest,
            "weights": converted.weights,
            "config": converted.config,
            "file_digest": converted.file_digest,
            "unused_tensors": fit.unused,
            "ignored_keys": fit.ignored,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = print::stdout();
    let tensors = checkpoint.names_and_shapes().len();
    writeln!(out, "{}  {tensors} tensors · {}", styled(BOLD, &config.name), converted.digest)?;
    let mut table = Table::default();
    let files = [
        ("weights", converted.weights),
        ("config", converted.config),
        ("file digest", converted.file_digest),
    ];
    for (what, path) in files {
        table.row([Cell::left(what), Cell::whole(path.display().to_string())]);
    }
    for (what, names) in [("not used", &fit.unused), ("not read", &fit.ignored)] {
        if !names.is_empty() {
            let names = print::some(names.iter().map(String::as_str), 100);
            table.row([Cell::left(what).styled(FAINT), Cell::whole(names).styled(FAINT)]);
        }
    }
    table.write("  ", &mut out)?;
    Ok(ExitCode::SUCCESS)
}
