//! What a caller still sends when its call has its answer already: a refusal does not wait for the picture, and a
//! stream ends with the server.
//!
//! HTTP/2 lets a server stop such a caller by a reset without an error (RFC 9113, section 8.1). There are balancers
//! between that take the reset for a failure and pass on a cancellation in place of the answer (HAProxy 2.6). So the
//! rest is read and thrown away for as long as a caller needs who has heard the answer; only then comes the reset.

use std::{future::poll_fn, pin::Pin, time::Duration};

use http_body::Body as _;
use tokio::{runtime::Handle, time::timeout};
use tonic::body::Body;

/// Ample for the answer's way to the caller and the end of the messages' way back.
const LONGEST: Duration = Duration::from_secs(2);

/// Reads to the end, in a task of its own and without keeping anything.
pub(super) fn discard(mut body: Body) {
    // There is none where a server is dropped with its runtime; its connections are closed anyway.
    let Ok(runtime) = Handle::try_current() else { return };
    runtime.spawn(async move {
        let read =
            async { while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {} };
        // Who goes on for longer is stopped by the reset that dropping the body sends.
        let _ = timeout(LONGEST, read).await;
    });
}
