//! A client's connection, and the token that its calls bring.

use std::{net::SocketAddr, time::Duration};

use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use sed_proto::{
    inference::grpc_inference_service_client::GrpcInferenceServiceClient,
    v1::segmentation_service_client::SegmentationServiceClient,
};
use tonic::{body::Body, codec::CompressionEncoding};
use tonic_health::pb::health_client::HealthClient;

/// HTTP whose transport does not watch deadlines itself, so that the server's own answers are seen.
pub(crate) type Http = legacy::Client<HttpConnector, Body>;

/// The owner of a call, by its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Camera,
    Kiosk,
    /// Brings a token that the server does not know.
    Stranger,
    /// Brings no token.
    Nameless,
}

impl Caller {
    /// The file of tokens for the server.
    pub(crate) fn file() -> String {
        let line = |caller: Self| Some(format!("{} = \"{}\"\n", caller.name()?, caller.token()?));
        [Self::Camera, Self::Kiosk].into_iter().filter_map(line).collect()
    }

    /// The name that the server knows.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Camera => Some("camera"),
            Self::Kiosk => Some("kiosk"),
            Self::Stranger | Self::Nameless => None,
        }
    }

    fn token(self) -> Option<&'static str> {
        match self {
            Self::Camera => Some("camera-0123456789abcdef"),
            Self::Kiosk => Some("kiosk-0123456789abcdef"),
            Self::Stranger => Some("stranger-0123456789abcdef"),
            Self::Nameless => None,
        }
    }

    /// A message as this caller sends it.
    pub(crate) fn request<T>(self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        if let Some(token) = self.token() {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        request
    }
}

/// The same with a deadline.
pub(crate) fn within<T>(time: Duration, mut request: tonic::Request<T>) -> tonic::Request<T> {
    let timeout = format!("{}m", time.as_millis());
    request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
    request
}

/// One client's connection; it is opened by the first call, and again when the server has closed it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) caller: Caller,
    pub(crate) address: SocketAddr,
    http: Http,
    /// Compression of messages, both ways.
    packed: Option<CompressionEncoding>,
}

impl Line {
    /// The line of client `number`: the callers and the ways to compress are dealt out in turn.
    pub(crate) fn new(address: SocketAddr, number: usize) -> Self {
        let http = legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        let caller = if number.is_multiple_of(2) { Caller::Camera } else { Caller::Kiosk };
        let packed = match number % 4 {
            2 => Some(CompressionEncoding::Gzip),
            3 => Some(CompressionEncoding::Zstd),
            _ => None,
        };
        Self { caller, address, http, packed }
    }

    /// The same connection for another caller.
    pub(crate) fn of(&self, caller: Caller) -> Self {
        Self { caller, ..self.clone() }
    }

    fn origin(&self) -> http::Uri {
        format!("http://{}", self.address).parse().unwrap()
    }

    pub(crate) fn segmentation(&self) -> SegmentationServiceClient<Http> {
        let client = SegmentationServiceClient::with_origin(self.http.clone(), self.origin());
        let client = client.max_decoding_message_size(usize::MAX);
        match self.packed {
            Some(way) => client.send_compressed(way).accept_compressed(way),
            None => client,
        }
    }

    pub(crate) fn inference(&self) -> GrpcInferenceServiceClient<Http> {
        let client = GrpcInferenceServiceClient::with_origin(self.http.clone(), self.origin());
        let client = client.max_decoding_message_size(usize::MAX);
        match self.packed {
            Some(way) => client.send_compressed(way).accept_compressed(way),
            None => client,
        }
    }

    pub(crate) fn health(&self) -> HealthClient<Http> {
        HealthClient::with_origin(self.http.clone(), self.origin())
    }

    /// Calls without generated code, for messages that are wrong.
    pub(crate) fn bare(&self) -> tonic::client::Grpc<Http> {
        tonic::client::Grpc::with_origin(self.http.clone(), self.origin())
    }
}
