//! The error at the end of an answer that has begun.

use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use tonic::Status;

/// The status that breaks an answer off, for a response's extensions: the trailers have no typed reason.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending(Arc<OnceLock<Status>>);

impl Ending {
    /// Notes the status that the answer is about to end with.
    pub(crate) fn note(&self, status: &Status) {
        // An answer has one end.
        let _ = self.0.set(status.clone());
    }

    /// The status of an answer that ends with these trailers.
    pub(super) fn status(&self, trailers: &HeaderMap) -> Option<Status> {
        let sent = Status::from_header_map(trailers)?;
        // Frames before the noted end may have broken off for a reason of their own.
        let noted =
            self.0.get().filter(|noted| noted.code() == sent.code() && noted.message() == sent.message());
        Some(noted.cloned().unwrap_or(sent))
    }
}
