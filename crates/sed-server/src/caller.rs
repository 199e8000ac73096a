//! The names of callers.

use std::sync::Arc;

/// The name of a caller.
pub(crate) type Caller = Arc<str>;

/// The caller of a request, by the proof of its name. Travels in the request's extensions.
#[derive(Clone, Debug)]
pub(crate) enum CallerName {
    /// That of the token that the call brought.
    Token(Caller),
    /// That in the client's certificate, of a call without a token.
    Certificate(Caller),
}

impl CallerName {
    /// The name itself.
    pub(crate) fn name(&self) -> &Caller {
        match self {
            Self::Token(name) | Self::Certificate(name) => name,
        }
    }
}
