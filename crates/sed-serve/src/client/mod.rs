//! A client of the gRPC interface.

mod access;
mod unreachable;

use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use sed_proto::v1::{
    ErrorReason, GetServerInfoRequest, GetServerInfoResponse, SegmentRequest, SegmentResponse,
    segmentation_service_client::SegmentationServiceClient,
};
use tonic::{
    Code, Request, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

pub(crate) use access::{Access, Credentials};

/// The largest answer that a server can be configured to give.
const MOST_ANSWER_BYTES: usize = 1 << 30;
/// Retries of a request whose connection ended before it was sent.
const RETRIES: usize = 3;
/// Timeout for connecting to a server.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection to a server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    service: SegmentationServiceClient<InterceptedService<Channel, Access>>,
    timeout: Option<Duration>,
}

impl Client {
    /// Connects to `http://host:port` or `https://host:port`. `timeout` becomes the deadline of every request.
    pub(crate) async fn connect(server: &str, timeout: Option<Duration>, access: &Access) -> Result<Self> {
        let channel = channel(server, access).await?;
        let service = SegmentationServiceClient::with_interceptor(channel, access.clone())
            .max_decoding_message_size(MOST_ANSWER_BYTES);
        Ok(Self { service, timeout })
    }

    /// Segments one picture.
    pub(crate) async fn segment(&mut self, request: SegmentRequest) -> Result<SegmentResponse> {
        self.call(request).await.map_err(|status| explain(&status))
    }

    /// Segments one picture; on failure, returns the status of the call unchanged.
    pub(crate) async fn call(&mut self, message: SegmentRequest) -> Result<SegmentResponse, Status> {
        let mut left = RETRIES;
        loop {
            let mut request = Request::new(message.clone()); // the picture's bytes are shared
            if let Some(timeout) = self.timeout {
                request.set_timeout(timeout);
            }
            match self.service.segment(request).await {
                Err(status) if left > 0 && was_never_sent(&status) => left -= 1,
                answered => return Ok(answered?.into_inner()),
            }
        }
    }

    /// Requests the server's model, limits, defaults and vocabularies.
    pub(crate) async fn server_info(&mut self) -> Result<GetServerInfoResponse> {
        let info = self.service.get_server_info(GetServerInfoRequest {}).await;
        Ok(info.map_err(|status| explain(&status))?.into_inner())
    }
}

/// Connects to `http://host:port` or `https://host:port`.
pub(crate) async fn channel(server: &str, access: &Access) -> Result<Channel> {
    let (url, tls) = match server.split_once("://") {
        None => (format!("http://{server}"), false),
        Some(("http", _)) => (server.to_owned(), false),
        Some(("https", _)) => (server.to_owned(), true),
        Some((scheme, _)) => {
            bail!("cannot speak {scheme} to {server}: give an http:// or https:// address")
        }
    };
    let mut endpoint = Endpoint::from_shared(url)
        .with_context(|| format!("{server:?} is no address; give one like http://127.0.0.1:50051"))?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true);
    if tls {
        let trusted = endpoint.tls_config(access.tls());
        endpoint = trusted.map_err(|error| anyhow!("cannot speak TLS: {}", root_cause(&error)))?;
    }
    endpoint.connect().await.map_err(|error| unreachable::explain(server, &error))
}

/// Reports whether a refusal concerns the picture of a request, so that the same request with another picture may succeed.
pub(crate) fn concerns_one_picture(status: &Status) -> bool {
    let details = status.get_error_details();
    let fields = details.bad_request().map_or(&[][..], |bad| &bad.field_violations);
    let reason = reason(status).and_then(|name| ErrorReason::from_str_name(&format!("ERROR_REASON_{name}")));
    fields.iter().any(|violation| violation.field.starts_with("image"))
        || status.code() == Code::DeadlineExceeded
        || matches!(
            reason,
            Some(
                ErrorReason::MessageTooLarge
                    | ErrorReason::OutputTooLarge
                    | ErrorReason::DeviceOutOfMemory
                    | ErrorReason::ResultNotFinite
            )
        )
}

/// The stable reason of a refusal, such as `QUEUE_FULL`; none where it is not the server's own.
pub(crate) fn reason(status: &Status) -> Option<String> {
    status.get_error_details().error_info().map(|info| info.reason.clone())
}

/// Reports whether the connection ended, for example at its maximum age, before the request was sent on it.
/// tonic's channel does not send such a request again by itself.
fn was_never_sent(status: &Status) -> bool {
    let goes_away = |error: &h2::Error| {
        error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
    };
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let canceled = error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled);
        if canceled || error.downcast_ref::<h2::Error>().is_some_and(goes_away) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Converts the status of a failed call into an error with advice.
pub(crate) fn explain(status: &Status) -> Error {
    match (status.code(), reason(status)) {
        (_, Some(reason)) => anyhow!("{} ({reason})", status.message()),
        (Code::Unimplemented, None) => anyhow!("the server does not know this call; is it a sed-serve?"),
        _ if was_never_sent(status) => anyhow!("the server closed the connection at once; {TLS_HINT}"),
        // The deadline is watched on this side, too.
        (Code::Cancelled | Code::DeadlineExceeded, None) => anyhow!("the time given by --timeout is over"),
        (code, None) => match std::error::Error::source(status).map(root_cause) {
            // The connection itself has failed: the root of "transport error" is the reason.
            Some(cause) => anyhow!("{} ({cause}); {TLS_HINT}", status.message()),
            None => anyhow!("{} ({code:?})", status.message()),
        },
    }
}

/// Advice for a connection that breaks at once.
const TLS_HINT: &str =
    "a server with TLS is at https://, one without at http://, and some ask for --client-certificate";

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
