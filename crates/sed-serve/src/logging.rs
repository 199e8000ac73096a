//! Logs, to standard error.

use std::io;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How logs are written.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logs")]
pub(crate) struct LogArgs {
    /// How log lines look.
    #[arg(long, global = true, env = "SED_LOG_FORMAT", default_value = "human", value_name = "FORMAT")]
    log_format: LogFormat,

    /// What is logged: error, warn, info, debug, trace or off, or a filter such as `info,sed_engine=debug`.
    /// Where it is absent, RUST_LOG says it.
    #[arg(
        long,
        global = true,
        env = "SED_LOG_LEVEL",
        value_name = "LEVEL",
        hide_short_help = true,
        value_parser = checked_filter
    )]
    log_level: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// Lines to read.
    Human,
    /// One JSON object a line.
    Json,
}

fn checked_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Starts logging; `usual` is the level when nobody asks for one.
pub(crate) fn start(args: &LogArgs, usual: &str) {
    let asked = args.log_level.clone().or_else(|| std::env::var("RUST_LOG").ok().filter(|t| !t.is_empty()));
    let filter = EnvFilter::new(asked.as_deref().unwrap_or(usual));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match args.log_format {
        LogFormat::Human => {
            let colours = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
            builder.with_ansi(colours).with_target(false).init();
        }
        LogFormat::Json => builder.json().init(),
    }
}
