//! The words of requests: named vocabularies are found, and contrast words are added.

use std::{collections::HashSet, time::Instant};

use sed_engine::{Category, SynonymMode, TokenPhrase, Vocabulary};

use super::{Context, refusal::Refusal};
use crate::{
    cpu_pool::Load,
    field::CategoryList,
    intake::CallMemory,
    memory::{Charge, ConnectionId},
    validate::{
        ContrastSource, ImageSource, ValidatedOptions, ValidatedRequest, ValidatedWords, VocabularySource,
        complete,
    },
    vocabulary_registry::bytes_of,
};

/// A valid request whose words are found.
#[derive(Debug)]
pub(crate) struct FoundRequest {
    pub(crate) image: ImageSource,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) options: ValidatedOptions,
    pub(crate) request_id: String,
    /// Pays for words that were put together for it; those that it writes out are paid for with its message.
    pub(crate) charge: Charge,
}

/// Finds the words of a request.
///
/// # Errors
/// As [`find_words`], and when there is too little memory.
pub(crate) async fn find(
    context: &Context,
    request: ValidatedRequest,
    memory: &CallMemory,
    deadline: Instant,
) -> Result<FoundRequest, Refusal> {
    let ValidatedRequest { image, words, options, request_id } = request;
    let as_they_are = words.synonym_mode.is_none() && words.contrast == ContrastSource::Vocabulary;
    let words = (CategoryList::Inline, words);
    let vocabulary = find_words(context, words, memory.connection(), deadline).await?;
    let mut charge = memory.payer.empty();
    if !as_they_are {
        charge.grow(bytes_of(&vocabulary) as u64).await?;
    }
    Ok(FoundRequest { image, vocabulary, options, request_id, charge })
}

/// Finds words: those that are named, and the contrast words that the server is to choose. `list` is where
/// they stand in the request.
///
/// # Errors
/// A name is unknown, words do not fit beside each other or the limits, or the engine cannot compare words in
/// time.
pub(crate) async fn find_words(
    context: &Context,
    (list, words): (CategoryList, ValidatedWords),
    connection: ConnectionId,
    deadline: Instant,
) -> Result<Vocabulary, Refusal> {
    let ValidatedWords { source, synonym_mode, contrast } = words;
    let vocabulary = match source {
        VocabularySource::Inline(vocabulary) => vocabulary,
        VocabularySource::Named(name) => named(context, name)?,
    };
    let mode = synonym_mode.unwrap_or(vocabulary.synonym_mode());
    let completion = Completion { context, list, connection, mode };
    match contrast {
        ContrastSource::Vocabulary if mode == vocabulary.synonym_mode() => Ok(vocabulary),
        ContrastSource::Vocabulary => {
            let contrast = vocabulary.contrast().to_vec();
            completion.of(vocabulary, contrast, false).await
        }
        ContrastSource::Off => completion.of(vocabulary, Vec::new(), false).await,
        ContrastSource::Inline(contrast) => completion.of(vocabulary, contrast, false).await,
        ContrastSource::Named(name) => {
            let contrast = not_asked(&vocabulary, &named(context, name)?);
            completion.of(vocabulary, contrast, true).await
        }
        ContrastSource::Auto => {
            let asked = completion.of(vocabulary, Vec::new(), false).await?;
            let chosen = context.contrast.choose(context, &asked, deadline).await?;
            completion.of(asked, chosen, false).await
        }
    }
}

/// The vocabulary of a name.
fn named(context: &Context, name: String) -> Result<Vocabulary, Refusal> {
    let found = context.vocabularies.get(&name).map(|(vocabulary, _)| vocabulary);
    found.ok_or(Refusal::UnknownVocabulary(name))
}

/// The categories of a list that share no phrase with those asked for: a list that the server knows cannot be
/// written differently for each vocabulary.
fn not_asked(asked: &Vocabulary, list: &Vocabulary) -> Vec<Category> {
    let of_asked: usize = asked.categories().iter().map(|category| category.phrases().count()).sum();
    let asked: HashSet<&TokenPhrase> = asked.phrases()[..of_asked].iter().collect();
    let mut rest = list.phrases();
    let mut left = Vec::new();
    for category in list.categories() {
        let (own, others) = rest.split_at(category.phrases().count());
        if own.iter().all(|phrase| !asked.contains(phrase)) {
            left.push(category.clone());
        }
        rest = others;
    }
    left
}

/// The completion of vocabularies with contrast words, which are read on the pool's threads.
struct Completion<'a> {
    context: &'a Context,
    list: CategoryList,
    connection: ConnectionId,
    mode: SynonymMode,
}

impl Completion<'_> {
    async fn of(
        &self,
        vocabulary: Vocabulary,
        contrast: Vec<Category>,
        named: bool,
    ) -> Result<Vocabulary, Refusal> {
        let Self { context, list, connection, mode } = *self;
        let (limits, reader) = (context.settings.vocabulary_limits(), context.engine.phrase_reader());
        let words = vocabulary.all_categories().iter().chain(&contrast).flat_map(Category::phrases);
        let load = Load { connection, bytes: words.map(|phrase| phrase.len() as u64).sum() };
        let work = move || complete(list, vocabulary, mode, (contrast, named), &limits, &*reader);
        Ok(context.pool.run_unseen(load, work).await??)
    }
}
