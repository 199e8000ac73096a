//! `completions`: a script for a shell.

use std::{io::Write, process::ExitCode};

use anyhow::Result;
use clap::{Args, Command};
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  sed-serve completions bash > ~/.local/share/bash-completion/completions/sed-serve
  sed-serve completions zsh > ~/.zfunc/_sed-serve
  sed-serve completions fish > ~/.config/fish/completions/sed-serve.fish";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Writes the script for the whole `command`.
pub(crate) fn run(args: &CompletionsArgs, mut command: Command) -> Result<ExitCode> {
    // The generator panics when it cannot write, so it writes into memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "sed-serve", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
