//! The running server that a command of words calls.

use anyhow::Result;
use clap::Args;
use sed_client::Client;

use super::AccessArgs;

/// The flags of commands that need a running server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct RemoteArgs {
    /// Ask this server, http://host:port or https://host:port.
    #[arg(long, value_name = "URL")]
    server: String,

    #[command(flatten)]
    access: AccessArgs,
}

/// The flags of commands that work with a running server or without one.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct OptionalRemoteArgs {
    /// Ask this server, http://host:port or https://host:port, instead of working in this program.
    #[arg(long, value_name = "URL")]
    server: Option<String>,

    #[command(flatten)]
    access: AccessArgs,
}

impl RemoteArgs {
    /// Connects. The client repeats refused calls, and waits for words that are being prepared.
    pub(crate) async fn connect(&self) -> Result<Client> {
        Ok(Client::connect(&self.server, &self.access.read()?).await?)
    }
}

impl OptionalRemoteArgs {
    /// The server, if one is asked.
    pub(crate) fn given(&self) -> Option<RemoteArgs> {
        let access = self.access.clone();
        self.server.clone().map(|server| RemoteArgs { server, access })
    }
}
