//! Discards the rest of a request whose call is already answered: a refusal does not wait for the picture,
//! and a stream ends with the server.
//!
//! HTTP/2 lets a server stop such a caller by a reset without an error (RFC 9113, section 8.1). Some
//! balancers take the reset for a failure and pass on a cancellation in place of the answer (HAProxy 2.6). So
//! the rest is read and discarded for as long as the caller needs to receive the answer and to stop; only
//! then is the stream reset.

use std::{future::poll_fn, pin::Pin, time::Duration};

use http_body::Body as _;
use tokio::{runtime::Handle, time::timeout};
use tonic::body::Body;

/// Ample for the answer's way to the caller and the end of the messages' way back.
const LONGEST: Duration = Duration::from_secs(2);

/// Reads a body to its end in a task of its own, and discards its content.
pub(super) fn discard(mut body: Body) {
    // Without a runtime, the server was dropped with it, and its connections are closed anyway.
    let Ok(runtime) = Handle::try_current() else { return };
    runtime.spawn(async move {
        let read =
            async { while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {} };
        // Dropping the body resets the stream, which stops a caller that sends for longer.
        let _ = timeout(LONGEST, read).await;
    });
}
