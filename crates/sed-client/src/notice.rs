//! Notices of calls that are repeated.

use std::{fmt, sync::Arc, time::Duration};

use crate::error::Error;

type Receive = dyn Fn(&Error, Duration) + Send + Sync;

/// A function that receives the failure of an attempt, and the delay before the next one.
#[derive(Clone)]
pub(crate) struct Notice(Arc<Receive>);

impl Notice {
    /// A notice to `receive`.
    pub(crate) fn to(receive: impl Fn(&Error, Duration) + Send + Sync + 'static) -> Self {
        Self(Arc::new(receive))
    }

    /// Reports a failure that is followed by another attempt.
    pub(crate) fn report(&self, failure: &Error, delay: Duration) {
        (self.0)(failure, delay);
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Notice")
    }
}
