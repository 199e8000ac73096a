//! Work that may hang in the file system, apart from the runtime and from shutdown.

use std::{io, thread};

use tokio::sync::oneshot;

/// Runs `work` on a thread of its own. The process does not wait for it at its end, unlike for the blocking
/// threads of the runtime. The receiver gets an error if `work` panics.
pub(super) fn own_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<T>> {
    let (done, receiver) = oneshot::channel();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        // A receiver that is gone has stopped waiting.
        let _ = done.send(work());
    })?;
    Ok(receiver)
}
