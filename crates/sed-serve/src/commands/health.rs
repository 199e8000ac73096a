//! `health`: asks a server whether it is ready for requests, for callers without an HTTP client and a shell,
//! such as the health check of a container.

use std::{io::Write, net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;
use sed_client::{Access, channel};
use sed_server::SERVICE_NAME;
use serde_json::json;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    args::{AccessArgs, seconds},
    print,
    running::{local_url, runtime},
};

const EXAMPLES: &str = "\
Examples:
  sed-serve health                                      the server of this machine or container
  sed-serve health --server http://10.0.0.7:50051 --timeout 1
  sed-serve health --service \"\"                         alive, whether its model is warm or not";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct HealthArgs {
    /// Ask this server, http://host:port or https://host:port.
    #[arg(long, value_name = "URL")]
    server: Option<String>,

    /// Without --server, ask the server of this machine that has this setting.
    #[arg(long, value_name = "ADDRESS", env = "SED_LISTEN", default_value = "127.0.0.1:50051")]
    listen: SocketAddr,

    /// The name of the service; the empty one, "", asks only whether the server lives.
    #[arg(long, value_name = "NAME", default_value = SERVICE_NAME)]
    service: String,

    /// A server that has not answered after this time is not ready.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "3")]
    timeout: Duration,

    #[command(flatten)]
    access: AccessArgs,
}

pub(crate) fn run(args: &HealthArgs, as_json: bool) -> Result<ExitCode> {
    let server = args.server.clone().unwrap_or_else(|| local_url(args.listen));
    let access = args.access.read()?;
    let checked = runtime()?.block_on(async {
        // The timeout covers the connection and the answer.
        let answer = tokio::time::timeout(args.timeout, check(&server, &access, &args.service)).await;
        answer.with_context(|| format!("{server} has not answered within {:?}", args.timeout))?
    })?;
    if checked != ServingStatus::Serving {
        bail!("{server} is {}: /readyz on its operations port says why", checked.as_str_name());
    }
    if as_json {
        print::json_line(&json!({ "server": server, "serving": true }))?;
    } else {
        writeln!(print::stdout(), "{server} is serving")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Calls `Check` of `grpc.health.v1`.
async fn check(server: &str, access: &Access, service: &str) -> Result<ServingStatus> {
    let mut health = HealthClient::with_interceptor(channel(server, access).await?, access.clone());
    let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await;
    Ok(answer.map_err(sed_client::Error::from)?.into_inner().status())
}
