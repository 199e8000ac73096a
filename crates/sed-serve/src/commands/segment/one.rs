//! The request for one picture.

use std::{path::Path, time::Duration};

use anyhow::Context;
use indicatif::ProgressBar;
use sed_client::{Answer, Client, Error, Retries, SegmentRequest, v1};
use tokio::sync::Mutex;

use crate::preparing;

/// A sender of requests, which differ in their pictures alone.
#[derive(Debug)]
pub(super) struct Asker {
    client: Client,
    vocabulary: v1::Vocabulary,
    options: v1::SegmentOptions,
    /// Those of a request whose words are ready.
    retries: Retries,
    ready_timeout: Duration,
    /// Held while the server prepares words: one of the requests that wait for them watches.
    preparing: Mutex<()>,
}

/// A failure, and its reach.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another picture may succeed.
    OfPicture(anyhow::Error),
    /// Every picture would fail like this, for now or forever.
    OfAll(anyhow::Error),
}

/// Every error but a client's is one of all pictures.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::OfAll(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let of_file = matches!(error, Error::Picture(_) | Error::PictureTooLarge { .. });
        let reach = if of_file || error.concerns_one_picture() { Self::OfPicture } else { Self::OfAll };
        reach(error.into())
    }
}

impl Asker {
    /// A sender that waits up to `ready_timeout` until the server has prepared its words, and tries a refused request
    /// again as `retries` say.
    pub(super) fn new(
        client: Client,
        vocabulary: v1::Vocabulary,
        options: v1::SegmentOptions,
        (retries, ready_timeout): (Retries, Duration),
    ) -> Self {
        let client = client.with_retries(Retries { ready_timeout, ..retries });
        let retries = Retries { ready_timeout: Duration::ZERO, ..retries };
        Self { client, vocabulary, options, retries, ready_timeout, preparing: Mutex::default() }
    }

    /// Segments one picture. Where its words are not ready, shows in the `bar` how the server prepares them, and
    /// asks again.
    pub(super) async fn ask(&self, picture: &Path, bar: &ProgressBar) -> Result<Answer, Failure> {
        let request = SegmentRequest::encoded(sed_client::read_picture(picture).await?)
            .vocabulary(self.vocabulary.clone())
            .options(self.options.clone());
        match self.client.clone().with_retries(self.retries).segment(request.clone()).await {
            Err(error) if is_not_ready(&error) && !self.ready_timeout.is_zero() => {}
            answered => return Ok(answered?),
        }
        self.prepare(bar).await?;
        Ok(self.client.segment(request).await?)
    }

    async fn prepare(&self, bar: &ProgressBar) -> anyhow::Result<()> {
        let _watching = self.preparing.lock().await;
        let prepared = preparing::beside(bar, &self.client, self.vocabulary.clone());
        tokio::time::timeout(self.ready_timeout, prepared).await.with_context(|| {
            let seconds = self.ready_timeout.as_secs_f64();
            format!("the server's words were not ready within {seconds} s; give it more with --ready-timeout")
        })?
    }
}

/// Reports whether a server refused a request only until its words are ready.
fn is_not_ready(error: &Error) -> bool {
    error.reason().as_deref() == Some("VOCABULARY_NOT_READY") && error.retry_after().is_some()
}
