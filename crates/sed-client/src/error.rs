//! The errors of this crate, with advice.

use std::{fmt, io, path::PathBuf, time::Duration};

use sed_proto::v1::ErrorReason;
use tonic::{Code, Status, transport};
use tonic_types::StatusExt;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Advice for a connection that breaks at once.
pub(crate) const TLS_HINT: &str =
    "a server with TLS is at https://, one without at http://, and some ask for --client-certificate";

/// An error of a connection, a call or its input. Advice names the flags of the `sed-serve` command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of credentials cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A file has no private key.
    #[error(
        "{} holds no private key; it must have a line -----BEGIN PRIVATE KEY-----, not encrypted",
        .0.display()
    )]
    NoKey(PathBuf),
    /// A private key is of a kind that TLS does not support here.
    #[error(
        "{} holds a key that cannot be used; give one of RSA with 2048 to 4096 bits, of ECDSA on P-256 or \
         P-384, or of Ed25519, with its certificate",
        .0.display()
    )]
    UnusableKey(PathBuf),
    /// A text is not a token. The text is not shown.
    #[error("a token is one word of ASCII letters, digits and signs")]
    NotAToken,
    /// A file holds something else than a token.
    #[error("{} holds no token", file.display())]
    NoToken {
        /// The file.
        file: PathBuf,
        /// The fault of its content.
        source: Box<Error>,
    },
    /// The address has a scheme other than `http` and `https`.
    #[error("cannot speak {scheme} to {server}: give an http:// or https:// address")]
    Scheme {
        /// The scheme.
        scheme: String,
        /// The address.
        server: String,
    },
    /// The address is none.
    #[error("{server:?} is no address; give one like http://127.0.0.1:50051")]
    Address {
        /// The text.
        server: String,
        /// The fault of the text.
        source: transport::Error,
    },
    /// The TLS settings are refused, for example a certificate without a PEM section.
    #[error("cannot speak TLS: {0}")]
    Tls(String),
    /// The connection cannot be opened.
    #[error("cannot reach {server} ({reason}){}", Advice(*advice))]
    Unreachable {
        /// The address.
        server: String,
        /// The root of the failure.
        reason: String,
        /// A remedy, where one is known.
        advice: Option<&'static str>,
    },
    /// A call failed: the server refused it, or the connection broke.
    #[error("{}", Explained(.0))]
    Call(Status),
    /// A picture's file cannot be read.
    #[error("cannot read the picture")]
    Picture(#[source] io::Error),
    /// A picture's file is larger than any message.
    #[error("the file has {bytes} bytes, more than any server takes ({most}); make it smaller")]
    PictureTooLarge {
        /// Its size in bytes.
        bytes: u64,
        /// The largest size.
        most: u64,
    },
    /// An answer lacks the mask that was asked for.
    #[error("the server sent no index png; is its version another than this program's?")]
    NoIndexPng,
    /// A plane of an answer holds something else than its encoding says.
    #[error(
        "cannot read the {plane} of the answer: {reason}; is the server's version another than this program's?"
    )]
    Plane {
        /// Its kind, for example `score png`.
        plane: &'static str,
        /// The fault.
        reason: String,
    },
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Call(status)
    }
}

impl Error {
    /// The gRPC code of a failed call; `None` for other errors.
    pub fn code(&self) -> Option<Code> {
        self.status().map(Status::code)
    }

    /// The status of a failed call with all its details; `None` for other errors.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Call(status) => Some(status),
            _ => None,
        }
    }

    /// The stable reason of a refusal, such as `QUEUE_FULL`; `None` where it is not the server's own.
    pub fn reason(&self) -> Option<String> {
        self.status().and_then(reason)
    }

    /// The time after which the server may accept the request; `None` where waiting does not help.
    pub fn retry_after(&self) -> Option<Duration> {
        self.status()?.get_details_retry_info()?.retry_delay
    }

    /// Reports whether a refusal concerns the picture of a request, so that the same request with another
    /// picture may succeed.
    pub fn concerns_one_picture(&self) -> bool {
        let Some(status) = self.status() else { return false };
        let details = status.get_error_details();
        let fields = details.bad_request().map_or(&[][..], |bad| &bad.field_violations);
        let reason =
            reason(status).and_then(|name| ErrorReason::from_str_name(&format!("ERROR_REASON_{name}")));
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
}

/// Returns an error and its causes on one line, without the causes that an error's own text already contains.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let text = deeper.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = deeper.source();
    }
    line
}

pub(crate) fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// Reports whether the connection ended, for example at its maximum age, before the request was sent on it.
/// tonic's channel does not send such a request again by itself.
pub(crate) fn was_never_sent(status: &Status) -> bool {
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

/// Reports whether the server could not be reached or the connection broke, while the server has refused
/// nothing: the same call may succeed once it is back.
pub(crate) fn is_outage(status: &Status) -> bool {
    if reason(status).is_some() || status.code() == Code::DeadlineExceeded {
        return false;
    }
    status.code() == Code::Unavailable || was_never_sent(status) || is_broken(status)
}

/// Reports whether a call ended by a fault of its connection.
fn is_broken(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<h2::Error>() || error.is::<hyper::Error>() || error.is::<io::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}

pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// A remedy behind a message.
struct Advice(Option<&'static str>);

impl fmt::Display for Advice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |advice| write!(out, ": {advice}"))
    }
}

/// A failed call with advice.
struct Explained<'a>(&'a Status);

impl fmt::Display for Explained<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.0;
        match (status.code(), reason(status)) {
            (_, Some(reason)) => write!(out, "{} ({reason})", status.message()),
            (Code::Unimplemented, None) => {
                write!(out, "the server does not know this call; is it a sed-serve?")
            }
            _ if was_never_sent(status) => {
                write!(out, "the server closed the connection at once; {TLS_HINT}")
            }
            // The deadline is watched on this side, too.
            (Code::Cancelled | Code::DeadlineExceeded, None) => {
                write!(out, "the time given by --timeout is over")
            }
            (code, None) => match std::error::Error::source(status).map(root_cause) {
                // The connection itself has failed: the root of "transport error" is the reason.
                Some(cause) => write!(out, "{} ({cause}); {TLS_HINT}", status.message()),
                None => write!(out, "{} ({code:?})", status.message()),
            },
        }
    }
}
