//! Errors of connections that cannot be opened, with advice.

use std::{error::Error as _, io};

use tokio_rustls::rustls::{self, CertificateError};
use tonic::transport;

use crate::error::{Error, TLS_HINT, root_cause};

/// Describes a failed connection.
pub(crate) fn explain(server: &str, error: &transport::Error) -> Error {
    Error::Unreachable { server: server.to_owned(), reason: root_cause(error), advice: advice(error) }
}

fn advice(error: &transport::Error) -> Option<&'static str> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            return tls.map_or_else(|| of_socket(error), of_tls);
        }
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return of_tls(error);
        }
        cause = error.source();
    }
    None
}

fn of_socket(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some("is `sed-serve serve` running there?"),
        io::ErrorKind::TimedOut => Some("look at the address, and at firewalls on the way"),
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => {
            Some(TLS_HINT)
        }
        _ => None,
    }
}

fn of_tls(error: &rustls::Error) -> Option<&'static str> {
    match error {
        rustls::Error::InvalidCertificate(error) => Some(of_certificate(error)),
        rustls::Error::InvalidMessage(_) => Some("the server there speaks no TLS; reach it at http://"),
        _ => Some(TLS_HINT),
    }
}

fn of_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer => {
            "name the file of the authority that signed the server's certificate with --ca-certificate"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "renew the server's certificate, or set this machine's clock"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "set this machine's clock, or wait until the server's certificate is valid"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "reach the server by a name of its certificate, or make one with that name"
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "the server shows the certificate of an authority (CA:TRUE), as `openssl req -x509` makes it by \
             itself; make it again with -addext basicConstraints=critical,CA:FALSE, for the server and for \
             --ca-certificate"
        }
        _ => "the server's certificate cannot be used; `sed-serve doctor` on its machine says more",
    }
}
