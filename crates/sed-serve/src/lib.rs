//! The `sed-serve` command as a function, so that a program of the tests can contain it beside others.

#![forbid(unsafe_code)]

mod args;
mod cli;
mod coco;
mod commands;
mod descriptors;
mod embedded;
mod logging;
mod metrics;
mod opened_model;
mod output_files;
mod pictures;
mod preparing;
mod print;
mod progress;
mod report;
mod running;
mod signals;
mod traces;
mod variables;

use std::{ffi::OsString, io, path::Path, process::ExitCode};

use args::words_file::{self, Synonyms};
use clap::CommandFactory;
use cli::{Cli, Command};
use sed_model::{allocator::keep_freed_memory, prompts::Category};

/// Runs the command line `arguments`, the program's name first, and returns the exit code. Meant to be called
/// once, by a program whose allocator is [`sed_model::allocator::MiMalloc`]; ends the process where the line
/// is wrong.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    keep_freed_memory();
    let cli = Cli::read(arguments);
    let traces = logging::start(&cli.logs, cli.command.usual_log_level(), cli.command.exports_traces());
    let json = cli.json;
    let outcome = match cli.command {
        Command::Serve(args) => commands::serve::run(&args, json, &Cli::command()),
        Command::Segment(args) => commands::segment::run(&args, json),
        Command::Demo(args) => commands::demo::run(&args, json),
        Command::Eval(args) => commands::eval::run(&args, json),
        Command::Bench(args) => commands::bench::run(&args, json),
        Command::Convert(args) => commands::convert::run(&args, json),
        Command::Doctor(args) => commands::doctor::run(&args, json, &Cli::command()),
        Command::Health(args) => commands::health::run(&args, json),
        Command::Vocabulary(args) => commands::vocabulary::run(&args, json),
        Command::Completions(args) => commands::completions::run(&args, Cli::command()),
    };
    if let Some(traces) = traces {
        traces.end();
    }
    match outcome {
        Ok(code) => code,
        // The reader of the output has enough of it, as in `sed-serve vocabulary show ade20k-847 | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            print::error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Reads the categories of a file as `--words-file` does; with `official`, commas separate synonyms.
///
/// # Errors
/// The file cannot be read, or is no list of words; the error names the file, and the line or entry.
pub fn categories_of_file(file: &Path, official: bool) -> anyhow::Result<Vec<Category>> {
    words_file::read(file, if official { Synonyms::Commas } else { Synonyms::Bars })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}
