//! Preparing words: their text embeddings, computed by the server in the background of its other work.

use std::time::Duration;

use sed_proto::v1;
use serde::Serialize;
use tonic::Status;

use crate::{client::Client, error::Result, report::span, retries::Attempts};

/// The state of a preparation.
#[derive(Clone, Debug, PartialEq)]
pub struct Preparation {
    /// The different names and synonyms to prepare.
    pub phrases: u32,
    /// Those that were ready when the server began.
    pub known: u32,
    /// Those that are ready on every device, the known ones included.
    pub embedded: u32,
    /// Predicted time until all are ready; absent while nothing is known of it.
    pub remaining: Option<Duration>,
    /// True once all are ready.
    pub ready: bool,
    /// The replica that prepares, by the name of its host.
    pub replica: String,
    /// The state of each device of the replica.
    pub devices: Vec<DevicePreparation>,
    /// Advice on the words, once all are ready.
    pub warnings: Vec<v1::Warning>,
}

/// The state of a preparation on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DevicePreparation {
    /// The device, for example `cuda:0`.
    pub device: String,
    /// Phrases that are ready there.
    pub embedded: u32,
}

impl Client {
    /// Has the server compute the text embeddings of a vocabulary ([`words`](crate::words),
    /// [`categories`](crate::categories) or [`named`](crate::named)), and returns the last state, with advice
    /// on the words. `on_progress` receives every state.
    ///
    /// The client's timeout does not count: drop the future to leave; what is embedded stays. A stream that
    /// the server ends early with a delay, for example at the connection's maximum age, is opened again, as
    /// often as the client's [`Retries`](crate::Retries) say without progress in between. Another replica
    /// counts from its own state.
    ///
    /// # Errors
    /// The server refuses the words, or the call fails.
    pub async fn prepare_vocabulary(
        &self,
        vocabulary: v1::Vocabulary,
        mut on_progress: impl FnMut(&Preparation),
    ) -> Result<Preparation> {
        let request = v1::PrepareVocabularyRequest { vocabulary: Some(vocabulary) };
        let mut attempts = Attempts::new(self.retries(), None);
        let mut most = 0;
        loop {
            let watch = |state: &Preparation| {
                if state.embedded > most {
                    most = state.embedded;
                    attempts = Attempts::new(self.retries(), None);
                }
                on_progress(state);
            };
            let status = match self.follow(request.clone(), watch).await {
                Ok(last) => return Ok(last),
                Err(status) => status,
            };
            match attempts.delay_after(&status) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return Err(status.into()),
            }
        }
    }

    /// Follows one stream to its last message.
    async fn follow(
        &self,
        request: v1::PrepareVocabularyRequest,
        mut watch: impl FnMut(&Preparation),
    ) -> Result<Preparation, Status> {
        let mut states = self.service().prepare_vocabulary(request).await?.into_inner();
        while let Some(state) = states.message().await? {
            let state = Preparation::from(state);
            watch(&state);
            if state.ready {
                return Ok(state);
            }
        }
        Err(Status::internal("the server ended the preparation before all words were ready"))
    }
}

impl From<v1::PrepareVocabularyResponse> for Preparation {
    fn from(state: v1::PrepareVocabularyResponse) -> Self {
        let device = |v1::DevicePreparation { device, embedded }| DevicePreparation { device, embedded };
        Self {
            phrases: state.phrases,
            known: state.known,
            embedded: state.embedded,
            remaining: state.remaining.map(span),
            ready: state.ready,
            replica: state.replica,
            devices: state.devices.into_iter().map(device).collect(),
            warnings: state.warnings,
        }
    }
}
