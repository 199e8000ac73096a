//! Places for the requests that are worked on at the same time, those of streams included.

use std::{sync::Arc, time::Duration};

use sed_engine::metrics::{CONCURRENT_REQUESTS, CONCURRENT_REQUESTS_CAPACITY};
use sed_proto::v1::ErrorReason;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::status::Failure;

/// When a place will probably be free.
const RETRY: Duration = Duration::from_millis(500);

/// So many places. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    most: usize,
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        CONCURRENT_REQUESTS.add(-1.0);
    }
}

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        CONCURRENT_REQUESTS_CAPACITY.set(most as f64);
        Self { free: Arc::new(Semaphore::new(most)), most }
    }

    /// A place, or the refusal where none is free.
    pub(crate) fn take(&self) -> Result<Place, Status> {
        let permit = Arc::clone(&self.free).try_acquire_owned().map_err(|_| {
            let message = format!("the server works on {} requests already; retry in a moment", self.most);
            let failure =
                Failure::new(ErrorReason::QueueFull, message).quota("concurrent requests", self.most);
            failure.retry_after(RETRY).into_status()
        })?;
        CONCURRENT_REQUESTS.add(1.0);
        Ok(Place { _permit: permit })
    }
}
