//! Logs, to standard error, and beside them the spans for a collector.

use std::io;

use clap::{Args, ValueEnum};
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::{print, traces::Export};

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

/// Starts logging; `usual` is the level when nobody asks for one. With `export`, spans also go where the
/// environment sends them: end what is returned, or the last of them are lost.
pub(crate) fn start(args: &LogArgs, usual: &str, export: bool) -> Option<Export> {
    let asked = args.log_level.clone().or_else(|| std::env::var("RUST_LOG").ok().filter(|t| !t.is_empty()));
    let filter = EnvFilter::new(asked.as_deref().unwrap_or(usual));
    let (traces, trouble) = match if export { Export::start() } else { Ok(None) } {
        Ok(traces) => (traces, None),
        Err(error) => (None, Some(error)),
    };
    let spans = traces.as_ref().map(|traces| {
        let layer = tracing_opentelemetry::layer().with_tracer(traces.tracer());
        // Whatever is logged; but not the exporter's own connections, which would never end.
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
