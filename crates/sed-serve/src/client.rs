//! A client of the gRPC interface.

use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use sed_proto::v1::{
    GetServerInfoRequest, GetServerInfoResponse, SegmentRequest, SegmentResponse,
    segmentation_service_client::SegmentationServiceClient,
};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

/// The largest answer that a server can be configured to give.
const MOST_ANSWER_BYTES: usize = 1 << 30;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection to a server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    service: SegmentationServiceClient<Channel>,
    timeout: Option<Duration>,
}

impl Client {
    /// Connects to `http://host:port`. `timeout` becomes the deadline of every request.
    pub(crate) async fn connect(server: &str, timeout: Option<Duration>) -> Result<Self> {
        let service = SegmentationServiceClient::new(channel(server).await?)
            .max_decoding_message_size(MOST_ANSWER_BYTES);
        Ok(Self { service, timeout })
    }

    /// Segments one picture.
    pub(crate) async fn segment(&mut self, request: SegmentRequest) -> Result<SegmentResponse> {
        self.call(request).await.map_err(|status| explain(&status))
    }

    /// Segments one picture; where that fails, gives what the server answered instead.
    pub(crate) async fn call(&mut self, request: SegmentRequest) -> Result<SegmentResponse, Status> {
        let mut request = Request::new(request);
        if let Some(timeout) = self.timeout {
            request.set_timeout(timeout);
        }
        Ok(self.service.segment(request).await?.into_inner())
    }

    /// Asks what the server is and accepts.
    pub(crate) async fn server_info(&mut self) -> Result<GetServerInfoResponse> {
        let info = self.service.get_server_info(GetServerInfoRequest {}).await;
        Ok(info.map_err(|status| explain(&status))?.into_inner())
    }
}

/// Connects to `http://host:port`.
pub(crate) async fn channel(server: &str) -> Result<Channel> {
    let url = match server.split_once("://") {
        None => format!("http://{server}"),
        Some(("http", _)) => server.to_owned(),
        Some((scheme, _)) => bail!("cannot speak {scheme} to {server}: give an http:// address"),
    };
    let endpoint = Endpoint::from_shared(url)
        .with_context(|| format!("{server:?} is no address; give one like http://127.0.0.1:50051"))?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true);
    endpoint.connect().await.map_err(|error| {
        let reason = root_cause(&error);
        anyhow!("cannot reach {server} ({reason}): is `sed-serve serve` running there?")
    })
}

/// The stable reason of a refusal, such as `QUEUE_FULL`; none where it is not the server's own.
pub(crate) fn reason(status: &Status) -> Option<String> {
    status.get_error_details().error_info().map(|info| info.reason.clone())
}

/// What a server answered instead of a result.
pub(crate) fn explain(status: &Status) -> Error {
    match (status.code(), reason(status)) {
        (_, Some(reason)) => anyhow!("{} ({reason})", status.message()),
        (Code::Unimplemented, None) => anyhow!("the server does not know this call; is it a sed-serve?"),
        // The deadline is watched on this side, too.
        (Code::Cancelled | Code::DeadlineExceeded, None) => anyhow!("the time given by --timeout is over"),
        (code, None) => anyhow!("{} ({code:?})", status.message()),
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
