//! The connection, and the calls that are made on it.

use std::{future::Future, time::Duration};

use sed_proto::v1::{
    GetServerInfoRequest, GetServerInfoResponse, SegmentRequest, SegmentResponse,
    segmentation_service_client::SegmentationServiceClient,
};
use tokio::time::Instant;
use tonic::{
    Request, Response, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use crate::{
    access::Access,
    answer::Answer,
    error::{Error, Result, root_cause},
    notice::Notice,
    retries::{Attempts, Retries},
    unreachable,
};

/// The largest answer that a server can be configured to give.
const MOST_ANSWER_BYTES: usize = 1 << 30;
/// Timeout for connecting to a server.
const CONNECT: Duration = Duration::from_secs(10);

pub(crate) type Service = SegmentationServiceClient<InterceptedService<Channel, Access>>;

/// A connection to a server. Clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    service: Service,
    timeout: Option<Duration>,
    retries: Retries,
    notice: Option<Notice>,
}

impl Client {
    /// Connects to `http://host:port`, `https://host:port` or `host:port`, which is `http`.
    ///
    /// # Errors
    /// The address or the TLS settings are wrong, or the server cannot be reached; the error has advice.
    pub async fn connect(server: &str, access: &Access) -> Result<Self> {
        let channel = channel(server, access).await?;
        let service = SegmentationServiceClient::with_interceptor(channel, access.clone())
            .max_decoding_message_size(MOST_ANSWER_BYTES);
        Ok(Self { service, timeout: None, retries: Retries::default(), notice: None })
    }

    /// Returns a client whose calls have this deadline, all attempts of a call together, but for a wait until
    /// words are ready ([`Retries`]). Without one, the server's own bound holds for every attempt.
    #[must_use]
    pub fn with_timeout(self, timeout: Option<Duration>) -> Self {
        Self { timeout, ..self }
    }

    /// Returns a client that repeats refused calls this often.
    #[must_use]
    pub fn with_retries(self, retries: Retries) -> Self {
        Self { retries, ..self }
    }

    /// Returns a client that reports each attempt that is repeated after a delay: its failure and the delay.
    #[must_use]
    pub fn with_notice(self, receive: impl Fn(&Error, Duration) + Send + Sync + 'static) -> Self {
        Self { notice: Some(Notice::to(receive)), ..self }
    }

    /// Segments one picture.
    ///
    /// # Errors
    /// The server refuses the request, or the call fails.
    pub async fn segment(&self, request: impl Into<SegmentRequest>) -> Result<Answer> {
        Ok(self.send(request.into()).await?.into())
    }

    /// Segments one picture and returns the answer as the interface has it.
    ///
    /// # Errors
    /// As [`Client::segment`].
    pub async fn send(&self, request: SegmentRequest) -> Result<SegmentResponse> {
        // The bytes of the picture are shared by all attempts.
        self.call(request, |mut service, request| async move { service.segment(request).await }).await
    }

    /// Requests the server's model, limits, defaults and vocabularies.
    ///
    /// # Errors
    /// The call fails.
    pub async fn server_info(&self) -> Result<GetServerInfoResponse> {
        let request = GetServerInfoRequest {};
        self.call(request, |mut service, request| async move { service.get_server_info(request).await }).await
    }

    /// Makes a call, repeats it as far as [`Retries`] and the deadline allow, and returns its answer.
    pub(crate) async fn call<M: Clone, R, F>(
        &self,
        message: M,
        call: impl Fn(Service, Request<M>) -> F,
    ) -> Result<R>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let mut attempts = Attempts::new(self.retries, self.timeout);
        loop {
            let mut request = Request::new(message.clone());
            if let Some(deadline) = attempts.deadline() {
                request.set_timeout(deadline.saturating_duration_since(Instant::now()));
            }
            match call(self.service.clone(), request).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => match attempts.delay_after(&status) {
                    Some(delay) => {
                        if let Some(notice) = &self.notice {
                            notice.report(&status.into(), delay);
                        }
                        tokio::time::sleep(delay).await;
                    }
                    None => return Err(status.into()),
                },
            }
        }
    }

    pub(crate) fn service(&self) -> Service {
        self.service.clone()
    }

    pub(crate) fn retries(&self) -> Retries {
        self.retries
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }
}

/// Opens a connection for other services of the server, such as `grpc.health.v1`; addresses are those of
/// [`Client::connect`].
///
/// # Errors
/// As [`Client::connect`].
pub async fn channel(server: &str, access: &Access) -> Result<Channel> {
    let (url, tls) = match server.split_once("://") {
        None => (format!("http://{server}"), false),
        Some(("http", _)) => (server.to_owned(), false),
        Some(("https", _)) => (server.to_owned(), true),
        Some((scheme, _)) => {
            return Err(Error::Scheme { scheme: scheme.to_owned(), server: server.to_owned() });
        }
    };
    let mut endpoint = Endpoint::from_shared(url)
        .map_err(|source| Error::Address { server: server.to_owned(), source })?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true);
    if tls {
        let trusted = endpoint.tls_config(access.tls());
        endpoint = trusted.map_err(|error| Error::Tls(root_cause(&error)))?;
    }
    endpoint.connect().await.map_err(|error| unreachable::explain(server, &error))
}
