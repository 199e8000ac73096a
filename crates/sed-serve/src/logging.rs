//! Logging to standard error, and the export of spans to a collector.

use std::io;

use clap::{Args, ValueEnum};
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::{print, traces::Export};

/// Flags for logging.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logs")]
pub(crate) struct LogArgs {
    /// Format of log lines.
    #[arg(long, global = true, env = "SED_LOG_FORMAT", default_value = "human", value_name = "FORMAT")]
    log_format: LogFormat,

    /// Level of the log: error, warn, info, debug, trace or off, or a filter such as `info,sed_engine=debug`.
    /// Without it, the one in RUST_LOG applies.
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
    /// Lines for people.
    Human,
    /// One JSON object a line.
    Json,
}

fn checked_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Starts logging; `usual` is the level where neither flag nor environment sets one. With `export`, spans are
/// also exported as the environment says: call [`Export::end`] on the returned export, or the last spans are
/// lost.
pub(crate) fn start(args: &LogArgs, usual: &str, export: bool) -> Option<Export> {
    let asked = args.log_level.clone().or_else(|| std::env::var("RUST_LOG").ok().filter(|t| !t.is_empty()));
    let filter = EnvFilter::new(asked.as_deref().unwrap_or(usual));
    let (traces, trouble) = match if export { Export::start() } else { Ok(None) } {
        Ok(traces) => (traces, None),
        Err(error) => (None, Some(error)),
    };
    let spans = traces.as_ref().map(|traces| {
        let layer = tracing_opentelemetry::layer().with_tracer(traces.tracer());
        // Our own spans only: exporting those of the exporter's connections would make new ones without end.
        layer.with_location(false).with_threads(false).with_target(false).with_filter(filter_fn(is_ours))
    });
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = match args.log_format {
        LogFormat::Human => {
            let colours = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
            lines.with_ansi(colours).with_target(false).boxed()
        }
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(spans).with(lines.with_filter(filter)).init();
    if let Some(error) = trouble {
        tracing::warn!("no traces: {}", print::causes(&error));
    }
    traces
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("sed_") && *metadata.level() <= Level::INFO
}
