//! Sends the requests of a mix to a server.

use std::{sync::Arc, time::Duration};

use sed_client::{Client, v1};

use crate::{
    mix::Mix,
    sample::{Answer, Call, Failure},
};

/// Time after its deadline at which a request is given up on this side, whatever the state of its connection.
const GRACE: Duration = Duration::from_secs(5);

/// Sends the requests of a mix, spread over some connections.
#[derive(Clone, Debug)]
pub struct Caller {
    clients: Arc<Vec<Client>>,
    mix: Arc<Mix>,
    timeout: Duration,
}

impl Caller {
    /// Returns a sender of a mix's requests. There must be at least one client; their deadline is `timeout`,
    /// and they should repeat nothing, so that refusals are counted.
    pub fn new(clients: Arc<Vec<Client>>, mix: Arc<Mix>, timeout: Duration) -> Self {
        Self { clients, mix, timeout }
    }

    /// Sends every vocabulary of the mix once, so that the measurement does not include its embedding. A
    /// refused vocabulary is handed to `refused` only: the run counts its requests as failed.
    pub async fn prime(&self, refused: impl Fn(&Failure)) {
        for request in self.mix.one_of_each_vocabulary() {
            if let Err(failure) = self.send(request, 0).await {
                refused(&failure);
            }
        }
    }

    async fn send(&self, request: v1::SegmentRequest, connection: usize) -> Result<Box<Answer>, Failure> {
        let client = &self.clients[connection % self.clients.len()];
        let answer = tokio::time::timeout(self.timeout + GRACE, client.send(request)).await;
        match answer {
            Ok(Ok(response)) => Ok(Box::new(Answer::of(&response))),
            Ok(Err(error)) => {
                let code = error.code().map_or("Unknown".to_owned(), |code| format!("{code:?}"));
                Err(Failure { code, reason: error.reason().unwrap_or_default() })
            }
            Err(_late) => Err(Failure { code: "DeadlineExceeded".into(), reason: String::new() }),
        }
    }
}

impl Call for Caller {
    async fn call(&self, number: u64) -> Result<Box<Answer>, Failure> {
        let request = self.mix.request(number);
        Box::pin(self.send(request, number as usize)).await
    }
}
