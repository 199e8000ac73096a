//! The handshake of TLS, and why it failed.

use std::{io, net::SocketAddr, time::Duration};

use sed_telemetry::Label;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_rustls::{
    rustls::{self, CertificateError},
    server::TlsStream,
};

use crate::{
    access::{Tls, name_of},
    metrics::{HandshakeFailure, ServerMetrics},
};

/// A failed TLS handshake.
#[derive(Debug)]
pub(super) struct Failure {
    reason: HandshakeFailure,
    message: String,
    /// The connection, unless the handshake timed out.
    connection: Option<TcpStream>,
}

/// Time that a client has to read the reason of its refusal.
const LINGER: Duration = Duration::from_secs(1);

/// Performs the handshake. Returns the name in the client's certificate, if one is required, and the
/// encrypted stream.
pub(super) async fn shake_hands(
    tls: &Tls,
    connection: TcpStream,
    limit: Duration,
) -> Result<(Option<String>, TlsStream<TcpStream>), Failure> {
    match timeout(limit, tls.acceptor.accept(connection).into_fallible()).await {
        Ok(Ok(stream)) => {
            let certificates = stream.get_ref().1.peer_certificates();
            let name = certificates.and_then(|chain| name_of(chain.first()?));
            Ok((name, stream))
        }
        Ok(Err((error, connection))) => {
            Err(Failure { reason: reason(&error), message: error.to_string(), connection: Some(connection) })
        }
        Err(_) => {
            let message = format!("not finished within {} s", limit.as_secs_f64());
            Err(Failure { reason: HandshakeFailure::Timeout, message, connection: None })
        }
    }
}

impl Failure {
    pub(super) fn count(&self, address: SocketAddr, metrics: &ServerMetrics) {
        metrics.tls_handshake_failures.add(self.reason, 1);
        // Port scans would fill the log at a higher level.
        tracing::debug!(%address, reason = self.reason.as_str(), message = self.message, "no TLS connection");
    }

    /// Closes the connection so that the client can read the reason. Closing it with unread bytes would reset
    /// it and lose the last message, and a TLS 1.3 client has sent more bytes by the time its certificate is
    /// refused.
    pub(super) async fn close(self) {
        let Some(mut connection) = self.connection else { return };
        let unread = async {
            connection.shutdown().await?;
            tokio::io::copy(&mut connection, &mut tokio::io::sink()).await
        };
        // The outcome does not matter: the client has read the reason, or its time is over.
        drop(timeout(LINGER, unread).await);
    }
}

fn reason(error: &io::Error) -> HandshakeFailure {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        None => HandshakeFailure::Closed,
        Some(rustls::Error::InvalidMessage(_)) => HandshakeFailure::Plaintext,
        Some(rustls::Error::NoCertificatesPresented) => HandshakeFailure::CertificateMissing,
        Some(rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => HandshakeFailure::CertificateExpired,
        Some(rustls::Error::InvalidCertificate(_)) => HandshakeFailure::CertificateInvalid,
        Some(rustls::Error::AlertReceived(_)) => HandshakeFailure::Refused,
        Some(_) => HandshakeFailure::Protocol,
    }
}
