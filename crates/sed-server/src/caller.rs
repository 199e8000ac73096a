//! The names of callers.

use std::sync::Arc;

/// The name of a caller: that of its token, or the one in its certificate.
pub(crate) type Caller = Arc<str>;

/// The caller of a request. Travels in the request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct CallerName(pub(crate) Caller);
