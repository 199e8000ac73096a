//! The server under load: a running one, or a private one for the duration of the command.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use clap::Args;
use sed_bench::{Caller, mix::Mix, sample::Failure};
use sed_client::{Access, Client, Retries, v1};
use sed_telemetry::Telemetry;

use crate::{
    args::seconds,
    args::{AccessArgs, ModelArgs, ServerArgs},
    progress,
    running::RunningServer,
};

/// Flags of the server under load.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct TargetArgs {
    /// Measure this server, http://host:port or https://host:port, instead of a private one; the flags of
    /// model and settings are then ignored.
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,

    /// Connections that the requests are spread over.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,

    /// The deadline of every request.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    timeout: Duration,

    /// Let the private server keep image features: a picture that comes again then skips the encoder. Without
    /// this every request is computed in full; a server of --server should have its image cache off.
    #[arg(long, conflicts_with = "server")]
    keep_images: bool,

    #[command(flatten)]
    access: AccessArgs,

    #[command(flatten)]
    pub(crate) model: ModelArgs,

    #[command(flatten)]
    settings: ServerArgs,
}

/// A server and the connections to it.
#[derive(Debug)]
pub(crate) struct Target {
    private: Option<RunningServer>,
    clients: Arc<Vec<Client>>,
    timeout: Duration,
    /// The server's model, limits, defaults and vocabularies.
    pub(crate) info: v1::GetServerInfoResponse,
}

impl TargetArgs {
    /// Starts the private server if one is wanted, waits until its model is warm, and connects.
    pub(crate) async fn open(&self) -> Result<Target> {
        let private = match &self.server {
            Some(_) => None,
            None => Some(self.start().await?),
        };
        let url = match (&private, &self.server) {
            (Some(server), _) => server.url(),
            (None, url) => url.clone().unwrap_or_default(),
        };
        let access = if private.is_some() { Access::default() } else { self.access.read()? };
        let mut clients = Vec::with_capacity(self.connections.into());
        for _ in 0..self.connections {
            let client = Client::connect(&url, &access).await?;
            // Refusals are results.
            clients.push(client.with_timeout(Some(self.timeout)).with_retries(Retries::OFF));
        }
        let info = match clients.first() {
            Some(client) => client.server_info().await.context("the server does not say what it is")?,
            None => v1::GetServerInfoResponse::default(),
        };
        Ok(Target { private, clients: Arc::new(clients), timeout: self.timeout, info })
    }

    /// Starts a server with the settings of `serve`, on a free port of loopback.
    async fn start(&self) -> Result<RunningServer> {
        let mut config = self.settings.load()?;
        config.listen = (Ipv4Addr::LOCALHOST, 0).into();
        config.ops_listen = None;
        config.access = sed_server::config::Access::default(); // for this program alone
        config.engine.warm_up_largest_batches = true;
        if !self.keep_images {
            config.engine.image_cache_bytes = 0;
        }
        let stages = self.model.load()?;
        let spinner = progress::spinner("warming up the model");
        let mut server = RunningServer::start(config, stages, Telemetry::off()).await?;
        server.ready().await?;
        spinner.finish_and_clear();
        Ok(server)
    }
}

impl Target {
    /// Reports whether the server runs in this program.
    pub(crate) fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// Returns a sender of a mix's requests to this server.
    pub(crate) fn caller(&self, mix: &Arc<Mix>) -> Caller {
        Caller::new(Arc::clone(&self.clients), Arc::clone(mix), self.timeout)
    }

    /// Ends the private server.
    pub(crate) async fn close(self) -> Result<()> {
        drop(self.clients);
        if let Some(server) = self.private {
            server.stop().await?;
        }
        Ok(())
    }
}

/// Logs that the server refused a vocabulary of the mix.
pub(crate) fn log_refused(failure: &Failure) {
    let Failure { code, reason } = failure;
    tracing::warn!(code, reason, "a vocabulary of the mix was refused");
}
