//! The command line: its commands, and the flags that they share.

use std::ffi::OsString;

use clap::{
    Arg, CommandFactory, FromArgMatches, Parser, Subcommand,
    builder::{OsStr, Resettable},
};

use crate::{commands, logging::LogArgs};

const EXAMPLES: &str = "\
Examples:
  sed-serve demo                                      see it work, with nothing but this file
  sed-serve segment cat.jpg --words \"cat, sofa, floor\"
  sed-serve convert sed_model_base.pth --output models
  sed-serve serve --model models/sed-b.safetensors --listen 0.0.0.0:50051
  sed-serve segment photos/ --server http://127.0.0.1:50051 --vocabulary ade20k-150
  sed-serve vocabulary prepare ade20k-150 --server http://127.0.0.1:50051
  sed-serve eval --dataset ade20k-150 --data /datasets --model models/sed-b.safetensors
  sed-serve bench load --clients 8 --duration 30

Exit codes:
  0  everything was done
  1  something failed; standard error says what, and what to do
  2  the command line is wrong";

/// Open-vocabulary semantic segmentation: a picture and a list of words in, a category for every pixel out.
///
/// Serves a SED model over gRPC, and is its client, examiner, converter and doctor.
#[derive(Debug, Parser)]
#[command(name = "sed-serve", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Print results as JSON, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) logs: LogArgs,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads a command line, the program's name first, and the environment, in which an empty variable counts
    /// as unset. Ends the process where they are wrong, or only ask for help.
    pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let mut command = without_empty_variables(Self::command());
        let matches = command.try_get_matches_from_mut(arguments).unwrap_or_else(|error| error.exit());
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
    }
}

/// Detaches flags from those of their variables that are set to an empty text.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let flag = |flag: Arg| {
        let value = flag.get_env().and_then(std::env::var_os);
        if value.is_some_and(|value| value.is_empty()) { flag.env(Resettable::<OsStr>::Reset) } else { flag }
    };
    command.mut_args(flag).mut_subcommands(without_empty_variables)
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a model over gRPC until SIGTERM or Ctrl-C.
    Serve(Box<commands::serve::ServeArgs>),
    /// Segment pictures by words: tables, masks and overlay pictures.
    Segment(Box<commands::segment::SegmentArgs>),
    /// See it work: serve the embedded model and segment the pictures that come with it.
    Demo(commands::demo::DemoArgs),
    /// Score a model on labelled pictures: mean IoU, accuracy, and what rejection costs and saves.
    Eval(Box<commands::eval::EvalArgs>),
    /// Measure: a server under load, where it saturates, and the model by itself.
    Bench(Box<commands::bench::BenchArgs>),
    /// Turn a .pth checkpoint into .safetensors with config.json and digest.
    Convert(commands::convert::ConvertArgs),
    /// Look for faults that would keep the server from working, and say how to mend them.
    Doctor(Box<commands::doctor::DoctorArgs>),
    /// Ask a server whether it is ready for requests; the exit code is 0 if it is.
    Health(commands::health::HealthArgs),
    /// List vocabularies, check words, prepare their text embeddings, and register them on a server.
    Vocabulary(commands::vocabulary::VocabularyArgs),
    /// Write a completion script for a shell.
    Completions(commands::completions::CompletionsArgs),
}

impl Command {
    /// Returns the default level of the log: a server logs its work, the other commands log problems only.
    pub(crate) fn usual_log_level(&self) -> &'static str {
        match self {
            Self::Serve(_) => "info",
            // The doctor's findings are in its report, and the demo prints its warnings itself.
            Self::Doctor(_) => "off",
            Self::Demo(_) => "error",
            _ => "warn",
        }
    }

    /// Reports whether the command exports traces: only a server has callers whose traces it can continue.
    pub(crate) fn exports_traces(&self) -> bool {
        matches!(self, Self::Serve(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
