//! `health`: asks a server whether it is ready for requests, for callers without an HTTP client and a shell,
//! such as the health check of a container, and waits until it is, for scripts and init containers.

use std::{
    io::Write,
    net::SocketAddr,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use clap::Args;
use sed_client::{Access, channel};
use sed_server::SERVICE_NAME;
use serde_json::json;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    args::{AccessArgs, seconds},
    print, progress,
    running::{local_url, runtime},
};

/// Time between two checks of a server that is waited for.
const BETWEEN_CHECKS: Duration = Duration::from_millis(250);

const EXAMPLES: &str = "\
Examples:
  sed-serve health                                      the server of this machine or container
  sed-serve health --server http://10.0.0.7:50051 --timeout 1
  sed-serve health --wait 120 && ./send-pictures        a script that begins once the model is warm
  sed-serve health --wait --server http://sed-serve:50051    an init container: no limit of time
  sed-serve health --service \"\"                         alive, whether its model is warm or not

The exit code is 0 if the server is serving, else 1. --wait goes on while the server cannot be reached, does \
not answer or is NOT_SERVING, and says on standard error what it waits for. It ends at once where waiting \
does not help: an address that is none, a token or a service that the server does not know.";

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

    /// Wait until the server is serving, for at most so many seconds; without a number, or with `forever`,
    /// for as long as it takes.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, value_parser = wait,
        default_missing_value = FOREVER)]
    wait: Option<Wait>,

    #[command(flatten)]
    access: AccessArgs,
}

/// The time that a server has to become ready.
#[derive(Clone, Copy, Debug)]
enum Wait {
    For(Duration),
    Forever,
}

const FOREVER: &str = "forever";

fn wait(text: &str) -> Result<Wait, String> {
    if text == FOREVER { Ok(Wait::Forever) } else { seconds(text).map(Wait::For) }
}

pub(crate) fn run(args: &HealthArgs, as_json: bool) -> Result<ExitCode> {
    let target = Target {
        server: args.server.clone().unwrap_or_else(|| local_url(args.listen)),
        access: args.access.read()?,
        service: args.service.clone(),
        timeout: args.timeout,
    };
    runtime()?.block_on(async {
        match args.wait {
            None => target.check(target.timeout).await.map_err(|failed| failed.reason),
            Some(wait) => target.wait(wait).await,
        }
    })?;
    let server = &target.server;
    if as_json {
        print::json_line(&json!({ "server": server, "serving": true }))?;
    } else {
        writeln!(print::stdout(), "{server} is serving")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A service of a server.
struct Target {
    server: String,
    access: Access,
    service: String,
    /// Time of a check.
    timeout: Duration,
}

/// The failure of a check.
struct NotServing {
    reason: anyhow::Error,
    /// Set where the server may serve later without a change of the command line.
    may_pass: bool,
}

impl Target {
    /// Waits until the server is serving.
    async fn wait(&self, wait: Wait) -> Result<()> {
        let Self { server, .. } = self;
        let begun = Instant::now();
        let left = || match wait {
            Wait::For(time) => time.saturating_sub(begun.elapsed()),
            Wait::Forever => Duration::MAX,
        };
        let mut shown = Shown::new();
        loop {
            // However little time is left, the last check has a chance.
            let timeout = self.timeout.min(left().max(BETWEEN_CHECKS));
            let Err(failed) = self.check(timeout).await else { return Ok(()) };
            if !failed.may_pass {
                return Err(failed.reason);
            }
            if left().is_zero() {
                let waited = print::time(begun.elapsed().as_secs_f64() * 1e3);
                return Err(failed.reason.context(format!("{server} is not serving after {waited}")));
            }
            let text = print::causes(&failed.reason);
            shown.show(format!("waiting for {server} to serve: {text}"));
            tokio::time::sleep(BETWEEN_CHECKS.min(left())).await;
        }
    }

    /// Calls `Check` of `grpc.health.v1`; the timeout covers the connection and the answer.
    async fn check(&self, timeout: Duration) -> Result<(), NotServing> {
        let server = &self.server;
        let reason = match tokio::time::timeout(timeout, self.ask()).await {
            Ok(Ok(ServingStatus::Serving)) => return Ok(()),
            Ok(Ok(status)) => {
                anyhow!("{server} is {}: /readyz on its operations port says why", status.as_str_name())
            }
            Ok(Err(error)) => {
                let may_pass = may_pass(&error);
                return Err(NotServing { reason: error.into(), may_pass });
            }
            Err(_) => anyhow!("{server} has not answered within {timeout:?}"),
        };
        Err(NotServing { reason, may_pass: true })
    }

    async fn ask(&self) -> sed_client::Result<ServingStatus> {
        let channel = channel(&self.server, &self.access).await?;
        let mut health = HealthClient::with_interceptor(channel, self.access.clone());
        let answer = health.check(HealthCheckRequest { service: self.service.clone() }).await?;
        Ok(answer.into_inner().status())
    }
}

/// Reports whether a call that failed so may succeed later without a change of the command line.
fn may_pass(error: &sed_client::Error) -> bool {
    let codes = [Code::Unavailable, Code::DeadlineExceeded, Code::ResourceExhausted, Code::Unknown];
    matches!(error, sed_client::Error::Unreachable { .. })
        || error.code().is_some_and(|code| codes.contains(&code))
}

/// The line that says what is waited for: a spinner on a terminal, elsewhere a line whenever it changes.
struct Shown {
    spinner: indicatif::ProgressBar,
    text: String,
}

impl Shown {
    fn new() -> Self {
        Self { spinner: progress::spinner(""), text: String::new() }
    }

    fn show(&mut self, text: String) {
        if self.spinner.is_hidden() && text != self.text {
            print::note(&text);
        }
        self.spinner.set_message(text.clone());
        self.text = text;
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.spinner.finish_and_clear();
    }
}
