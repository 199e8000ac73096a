//! The pixels of a request, which its caller and the device thread can drop independently of each other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::stages::input::JobInput;

/// The pixels that wait for the encoder, for as long as the request needs them and its caller waits.
#[derive(Debug, Default)]
pub(crate) struct Pixels(Mutex<Option<Arc<JobInput>>>);

impl Pixels {
    /// The pixels of a picture that is not encoded yet.
    pub(crate) fn new(input: JobInput) -> Self {
        Self(Mutex::new(Some(Arc::new(input))))
    }

    /// The pixels, unless they were dropped. An encoder launch holds them while it runs.
    pub(crate) fn get(&self) -> Option<Arc<JobInput>> {
        self.lock().clone()
    }

    /// Frees them, at once or when the launch that holds them ends.
    pub(crate) fn discard(&self) {
        self.lock().take();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<JobInput>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
