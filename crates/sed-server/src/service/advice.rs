//! Advice on words that takes their text embeddings.

use std::time::Instant;

use sed_engine::{Vocabulary, VocabularyWarning, advice};

use super::{Context, refusal::Refusal};
use crate::{cpu_pool::Load, memory::ConnectionId};

/// Warns of the pairs of categories that the model will hardly tell apart. The pairs are compared on the
/// pool's threads.
///
/// # Errors
/// The engine does not have the embeddings by the deadline.
pub(super) async fn of_embedded(
    context: &Context,
    vocabulary: &Vocabulary,
    connection: ConnectionId,
    deadline: Instant,
) -> Result<Vec<VocabularyWarning>, Refusal> {
    let directions = context.engine.directions(vocabulary, Some(deadline)).await?;
    let common = context.contrast.list();
    let (phrases, embedded) = context.engine.embedded(common);
    let common = match embedded == phrases {
        true => Some(context.engine.directions(common, Some(deadline)).await?),
        false => None,
    };
    let words = vocabulary.phrases().iter().map(|phrase| phrase.bytes() as u64);
    let load = Load { connection, bytes: words.sum() };
    let vocabulary = vocabulary.clone();
    let compare = move || advice(&vocabulary, &directions, common.as_deref());
    Ok(context.pool.run_unseen(load, compare).await?)
}
