//! The first bytes of a connection, counted as they are received.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{io::AsyncRead, time::sleep};
use tokio_util::io::InspectReader;

/// Length of the preface of HTTP/2, after which pings watch over the connection; a request of HTTP/1.1 is
/// longer.
const PREFACE_BYTES: usize = 24;

/// Number of bytes received, counted until the preface is complete.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(Arc<AtomicUsize>);

impl Heard {
    /// Wraps a stream so that what is received over it is counted.
    pub(super) fn over<S: AsyncRead>(&self, stream: S) -> InspectReader<S, impl FnMut(&[u8]) + use<S>> {
        let heard = Arc::clone(&self.0);
        InspectReader::new(stream, move |bytes: &[u8]| {
            if heard.load(Ordering::Relaxed) < PREFACE_BYTES {
                heard.fetch_add(bytes.len(), Ordering::Relaxed);
            }
        })
    }

    /// Resolves after `time`, unless the preface has come by then.
    pub(super) async fn nothing_for(&self, time: Duration) {
        sleep(time).await;
        if self.0.load(Ordering::Relaxed) >= PREFACE_BYTES {
            pending().await
        }
    }

    /// Resolves at once if the preface has come, else after `time`.
    pub(super) async fn preface_or(&self, time: Duration) {
        if self.0.load(Ordering::Relaxed) < PREFACE_BYTES {
            sleep(time).await;
        }
    }
}
