//! The layer that admits calls which bring one of the tokens. It stands before the account of calls, which
//! needs the caller's name, and has its refusals accounted for there.

use std::{
    convert::Infallible,
    future::ready,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use sed_proto::v1::ErrorReason;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use crate::{
    access::{Reloaded, Tokens},
    caller::{Caller, CallerName},
    calls::{Answer, Calls},
    connections::Peer,
    methods,
    status::Failure,
};

/// Checks the token of every call. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    tokens: Option<Arc<Reloaded<Tokens>>>,
    health_needs_token: bool,
    calls: Calls,
}

impl Guard {
    /// A guard whose refusals `calls` accounts for. Without `tokens`, calls need none.
    pub(crate) fn new(tokens: Option<Arc<Reloaded<Tokens>>>, health_needs_token: bool, calls: Calls) -> Self {
        Self { tokens, health_needs_token, calls }
    }

    /// Returns the caller that the call's token names; `None` if the call needs no token.
    fn admit(&self, path: &str, headers: &HeaderMap) -> Result<Option<Caller>, Status> {
        let Some(tokens) = &self.tokens else { return Ok(None) };
        if !self.health_needs_token && methods::is_open(path) {
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

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded { guard: self.clone(), inner }
    }
}

/// A service behind the guard.
#[derive(Clone, Debug)]
pub(crate) struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future = Answer>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Answer {
        let admitted = self.guard.admit(request.uri().path(), request.headers());
        let certificate = request.extensions().get::<Peer>().and_then(|peer| peer.name.clone());
        let token = admitted.as_ref().ok().and_then(Clone::clone).map(CallerName::Token);
        if let Some(name) = token.or(certificate.map(CallerName::Certificate)) {
            request.extensions_mut().insert(name);
        }
        match admitted {
            Ok(_) => self.inner.call(request),
            // Answers at once; the body is not read.
            Err(refused) => Box::pin(ready(Ok(self.guard.calls.refuse(&request, refused)))),
        }
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
