//! Built-in vocabularies that are prepared in the background once the server is ready.

use std::time::Duration;

use sed_engine::{Engine, EngineError, EngineState, NotReady, Vocabulary};
use tokio::time::sleep;

/// Time until a vocabulary that could not be prepared is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Prepares vocabularies one after the other, until the future is dropped.
pub(super) async fn prepare(engine: Engine, vocabularies: Vec<(String, Vocabulary)>) {
    for (name, vocabulary) in vocabularies {
        loop {
            match prepare_one(&engine, &vocabulary).await {
                Ok(()) => tracing::info!(name, "a vocabulary is prepared"),
                Err(error) if may_pass(&error) => {
                    tracing::info!(name, %error, "a vocabulary is not prepared yet; trying again");
                    sleep(AGAIN).await;
                    continue;
                }
                Err(error) => tracing::warn!(name, %error, "cannot prepare a vocabulary"),
            }
            break;
        }
    }
}

async fn prepare_one(engine: &Engine, vocabulary: &Vocabulary) -> Result<(), EngineError> {
    let mut state = engine.state();
    // The engine holds the sender, so this resolves only when it is ready.
    let _ = state.wait_for(EngineState::is_ready).await;
    engine.prepare(vocabulary, None)?.ready().await
}

/// Reports whether the reason of a failure may pass.
fn may_pass(error: &EngineError) -> bool {
    match error {
        EngineError::VocabularyNotReady { phrases, why: NotReady::TooMany { limit, .. }, .. } => {
            phrases <= limit
        }
        EngineError::NotReady | EngineError::WarmUpFailed(_) | EngineError::DeviceLost(_) => true,
        _ => false,
    }
}
