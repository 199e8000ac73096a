//! Calls over HTTP/2 by hand: bodies that stop, and answers that are not read.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{self, ResponseFuture, SendRequest},
};
use http::Request;
use tokio::net::TcpStream;
use tonic::Status;

/// A connection whose calls are made by hand.
pub(crate) struct RawConnection {
    requests: SendRequest<Bytes>,
    address: SocketAddr,
}

/// A call that has begun.
pub(crate) struct RawCall {
    pub(crate) body: SendStream<Bytes>,
    answer: ResponseFuture,
}

impl RawConnection {
    /// Opens one; answers may have `window` bytes on their way, and 0 holds them all back.
    pub(crate) async fn open(address: SocketAddr, window: u32) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        let built = client::Builder::new().initial_window_size(window).handshake(socket).await;
        let (requests, connection) = built.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        Self { requests, address }
    }

    /// Sends the headers of a call.
    pub(crate) async fn begin(&mut self, path: &str, headers: &[(&str, &str)]) -> RawCall {
        let mut request = Request::post(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.requests = self.requests.clone().ready().await.unwrap();
        let (answer, body) = self.requests.send_request(request.body(()).unwrap(), false).unwrap();
        RawCall { body, answer }
    }
}

impl RawCall {
    /// Sends bytes of the body as the window allows.
    pub(crate) async fn send(&mut self, bytes: Vec<u8>, end: bool) {
        self.body.send_data(bytes.into(), end).unwrap();
        tokio::task::yield_now().await;
    }

    /// The status that the call ends with; `None` if the stream is reset.
    pub(crate) async fn status(self) -> Option<Status> {
        let _body = self.body; // dropped, it would reset the stream
        let response = self.answer.await.ok()?;
        if let Some(status) = Status::from_header_map(response.headers()) {
            return Some(status);
        }
        let mut body: RecvStream = response.into_body();
        while let Some(data) = body.data().await {
            let data = data.ok()?;
            let _ = body.flow_control().release_capacity(data.len());
        }
        Status::from_header_map(&body.trailers().await.ok()??)
    }

    /// Waits for the answer's headers, and returns its body unread; `None` if the call failed before.
    pub(crate) async fn answered(self) -> Option<RecvStream> {
        Some(self.answer.await.ok()?.into_body())
    }
}
