//! The server that a command calls: a running one, or a private one for the duration of the command.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use sed_client::{Access, Client, Retries};
use sed_telemetry::Telemetry;

use super::{AccessArgs, ModelArgs};
use crate::{
    progress,
    running::{RunningServer, private_config, runtime},
};

/// The flags of commands that call a server.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// Ask this server, http://host:port or https://host:port, instead of loading a model; the flags of the
    /// model are then ignored.
    #[arg(long, value_name = "URL", help_heading = "Server")]
    server: Option<String>,

    /// Give up on a picture after this time; it is the deadline of the request.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, help_heading = "Server")]
    timeout: Option<Duration>,

    /// Wait this long in all while a server prepares words that are new to it; 0 returns its refusal.
    #[arg(long, value_name = "SECONDS", value_parser = seconds_or_none, default_value = "900",
        help_heading = "Server", hide_short_help = true)]
    ready_timeout: Duration,

    #[command(flatten)]
    access: AccessArgs,

    #[command(flatten)]
    model: ModelArgs,
}

/// Parses a flag's time in seconds, above 0.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "expected seconds, above 0".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero()).ok_or_else(wrong)
}

/// Parses a flag's time in seconds, 0 included.
pub(crate) fn seconds_or_none(text: &str) -> Result<Duration, String> {
    if text.trim() == "0" {
        return Ok(Duration::ZERO);
    }
    seconds(text).map_err(|_| "expected seconds, 0 or more".to_owned())
}

impl TargetArgs {
    /// Time to wait in all while a server prepares words.
    pub(crate) fn ready_timeout(&self) -> Duration {
        self.ready_timeout
    }

    /// Runs `work` with a client of the server. Without `--server`, loads the model and starts a private
    /// server, which ends with the work.
    pub(crate) fn with_client<T>(&self, work: impl AsyncFnOnce(Client) -> Result<T>) -> Result<T> {
        if let Some(url) = &self.server {
            let access = self.access.read()?;
            return runtime()?.block_on(async { work(self.connect(url, &access).await?).await });
        }
        let stages = self.model.load()?;
        runtime()?.block_on(async {
            let mut server =
                RunningServer::start(private_config(0, false)?, stages, Telemetry::off()).await?;
            let spinner = progress::spinner("warming up the model");
            server.ready().await?;
            spinner.finish_and_clear();
            let done = work(self.connect(&server.url(), &Access::default()).await?).await?;
            server.stop().await?;
            Ok(done)
        })
    }

    async fn connect(&self, url: &str, access: &Access) -> Result<Client> {
        let retries = Retries { ready_timeout: self.ready_timeout, ..Retries::OFF };
        Ok(Client::connect(url, access).await?.with_timeout(self.timeout).with_retries(retries))
    }
}
