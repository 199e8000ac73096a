//! Places for the requests that are worked on at the same time, those of streams included. A request takes
//! one when it is complete, and releases it when its answer is sent.

use std::{sync::Arc, time::Duration};

use sed_engine::metrics::{CONCURRENT_REQUESTS, CONCURRENT_REQUESTS_CAPACITY};
use sed_proto::v1::ErrorReason;
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};
use tonic::Status;

use crate::{
    memory::Transfers,
    status::{self, Failure},
};

/// Time after which a place will probably be free.
const RETRY: Duration = Duration::from_millis(500);
/// Time that an answer that is ended may hold its place.
const HANDOVER: Duration = Duration::from_millis(250);

/// A fixed number of places. Cheap to clone.
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

impl Place {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        CONCURRENT_REQUESTS.add(1.0);
        Self { _permit: permit }
    }
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

    /// Acquires a place, or returns a refusal if none is free. To free one, the slowest answer is ended, if
    /// it is slow.
    pub(crate) async fn take(&self, transfers: &Transfers) -> Result<Place, Status> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Ok(Place::new(permit));
        }
        if transfers.end_slowest_answer() {
            let freed = Arc::clone(&self.free).acquire_owned();
            if let Ok(permit) = timeout(HANDOVER, freed).await {
                return permit.map(Place::new).map_err(closed);
            }
        }
        let message = format!("the server works on {} requests already; retry in a moment", self.most);
        let failure = Failure::new(ErrorReason::QueueFull, message).quota("concurrent requests", self.most);
        Err(failure.retry_after(RETRY).into_status())
    }

    /// Waits for a place. Requests get theirs in the order in which they came.
    pub(crate) async fn wait(&self, deadline: Instant, transfers: &Transfers) -> Result<Place, Status> {
        if self.free.available_permits() == 0 {
            transfers.end_slowest_answer();
        }
        let permit = timeout_at(deadline, Arc::clone(&self.free).acquire_owned());
        permit.await.map_err(|_| status::deadline_exceeded())?.map(Place::new).map_err(closed)
    }
}

/// The places of a server are never closed.
fn closed(_: AcquireError) -> Status {
    status::shutting_down()
}
