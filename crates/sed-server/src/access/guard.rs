//! Admits calls that bring one of the tokens.

use std::sync::Arc;

use http::{HeaderMap, header::AUTHORIZATION};
use sed_proto::v1::ErrorReason;
use tonic::Status;

use super::{Reloaded, Tokens};
use crate::{caller::Caller, status::Failure};

/// The service whose calls need no token unless a setting says so: probes ask it.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Checks the token of every call. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    tokens: Option<Arc<Reloaded<Tokens>>>,
    health_needs_token: bool,
}

impl Guard {
    pub(crate) fn new(tokens: Option<Arc<Reloaded<Tokens>>>, health_needs_token: bool) -> Self {
        Self { tokens, health_needs_token }
    }

    /// Returns the caller that the call's token names; `None` if the call needs no token.
    pub(crate) fn admit(&self, path: &str, headers: &HeaderMap) -> Result<Option<Caller>, Status> {
        let Some(tokens) = &self.tokens else { return Ok(None) };
        if path.starts_with(HEALTH) && !self.health_needs_token {
            return Ok(None);
        }
        let Some(token) = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes())) else {
            let message = "the call brings no token; send the metadata authorization: Bearer TOKEN";
            return Err(Failure::new(ErrorReason::TokenMissing, message).into_status());
        };
        tokens.current().name_of(token).map(Some).ok_or_else(|| {
            let message = "the server does not know this token, or not any more; ask its operator for one";
            Failure::new(ErrorReason::TokenInvalid, message).into_status()
        })
    }
}

/// The token of a header `Bearer TOKEN`; the first word may be written in any case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer ";
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_after_its_scheme() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bEARER  abc "), Some(&b"abc"[..]));
        for other in [&b"Basic abc"[..], b"Bearer", b"abc", b""] {
            assert_eq!(bearer(other), None, "{other:?}");
        }
    }
}
