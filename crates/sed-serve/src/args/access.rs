//! Flags for a client's credentials: trusted authorities, a client certificate, a token.

use std::path::PathBuf;

use anyhow::{Error, Result};
use clap::Args;
use sed_client::{Access, Credentials};

/// The flags of commands that can call a server with TLS or tokens.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct AccessArgs {
    /// Trust the authorities of this PEM file, instead of the system's, when the server is at https://.
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    ca_certificate: Option<PathBuf>,

    /// Show this certificate (a PEM file) to a server that asks for one.
    #[arg(long, value_name = "FILE", requires = "client_key", hide_short_help = true)]
    client_certificate: Option<PathBuf>,

    /// The private key of that certificate, a PEM file.
    #[arg(long, value_name = "FILE", requires = "client_certificate", hide_short_help = true)]
    client_key: Option<PathBuf>,

    /// Send the bearer token that this file holds. Without it the one in SED_TOKEN is sent, if there is one.
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    token_file: Option<PathBuf>,
}

impl AccessArgs {
    /// Reads the files.
    pub(crate) fn read(&self) -> Result<Access> {
        let variable = std::env::var("SED_TOKEN").ok();
        let access = Access::read(&Credentials {
            ca_certificate: self.ca_certificate.as_deref(),
            identity: self.client_certificate.as_deref().zip(self.client_key.as_deref()),
            token_file: self.token_file.as_deref(),
            token: variable.as_deref(),
        });
        access.map_err(|error| match error {
            sed_client::Error::NotAToken => Error::new(error).context("SED_TOKEN holds no token"),
            error => error.into(),
        })
    }
}
