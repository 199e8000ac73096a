//! `CreateVocabulary`, `GetVocabulary`, `ListVocabularies`, `DeleteVocabulary`.

use data_encoding::HEXLOWER;
use prost::Message;
use sed_engine::Vocabulary;
use sed_proto::v1::{self, ErrorReason};
use tonic::{Request, Status};

use super::{
    Context, advice,
    refusal::{Refusal, unknown_vocabulary},
    words,
};
use crate::{
    caller::{Caller, CallerName},
    convert,
    cpu_pool::Load,
    deadline::Deadline,
    field::{CategoryList, Field},
    intake::CallMemory,
    request_error::RequestError,
    status::{self, Failure},
    validate::{validate_create_vocabulary, vocabulary_name},
    vocabulary_registry::{Full, Page, Position, Removal},
};

/// Entries of the longest page.
const LONGEST_PAGE: usize = 1000;

pub(crate) async fn create(
    context: &Context,
    request: Request<v1::CreateVocabularyRequest>,
) -> Result<v1::CreateVocabularyResponse, Status> {
    let Deadline(deadline) = Deadline::of_call(&request, context.settings.max_timeout());
    let caller = caller(&request);
    let connection = CallMemory::of(&request, &context.account).connection();
    let request = request.into_inner();
    let embed = request.embed;
    let (limits, reader) = (context.settings.clone(), context.engine.phrase_reader());
    let load = Load { connection, bytes: request.encoded_len() as u64 };
    let check = move || validate_create_vocabulary(&request, &limits, &*reader);
    let checked = context
        .pool
        .run_unseen(load, check)
        .await
        .map_err(|panicked| Refusal::from(panicked).into_status())?;
    let words = checked.map_err(refused)?;
    let written = words.written_out();
    let vocabulary =
        words::find_words(context, (CategoryList::Registered, words), connection, deadline.into_std()).await;
    let vocabulary = vocabulary.map_err(Refusal::into_status)?;
    let registered = context.vocabularies.register(&vocabulary, caller.clone());
    let (name, existed) = registered.map_err(full)?;
    tracing::info!(name, existed, categories = vocabulary.size(), "registered a vocabulary");
    let mut alike = Vec::new();
    if embed {
        // Words that are not embedded in time stay registered, and are prepared.
        let embedded = context.engine.embed_for(vocabulary.clone(), Some(deadline.into_std()), caller).await;
        embedded.map_err(|error| status::from_engine_error(&error))?;
        alike = advice::of_embedded(context, &vocabulary, connection, deadline.into_std())
            .await
            .map_err(Refusal::into_status)?;
    }
    let field = |phrase| Field::Phrase(CategoryList::Registered, phrase);
    let warnings = convert::warnings(written.warnings(&vocabulary).chain(&alike), field);
    let vocabulary = Some(summary(context, name, &vocabulary, false));
    Ok(v1::CreateVocabularyResponse { vocabulary, existed, warnings })
}

pub(crate) fn get(
    context: &Context,
    request: &v1::GetVocabularyRequest,
) -> Result<v1::GetVocabularyResponse, Status> {
    let name = &request.name;
    vocabulary_name(Field::Name, name, &context.settings).map_err(refused)?;
    let (found, built_in) = context.vocabularies.get(name).ok_or_else(|| unknown_vocabulary(name))?;
    let vocabulary = v1::NamedVocabulary {
        categories: categories(&found),
        ..summary(context, name.clone(), &found, built_in)
    };
    Ok(v1::GetVocabularyResponse { vocabulary: Some(vocabulary) })
}

pub(crate) fn list(
    context: &Context,
    request: &v1::ListVocabulariesRequest,
) -> Result<v1::ListVocabulariesResponse, Status> {
    let behind = match request.page_token.as_str() {
        "" => None,
        token => {
            let message = "is no token that an answer gave; begin with an empty one";
            let position = read_token(token).ok_or_else(|| RequestError::option(Field::PageToken, message));
            Some(position.map_err(refused)?)
        }
    };
    let most = match request.page_size as usize {
        0 => LONGEST_PAGE,
        wanted => wanted.min(LONGEST_PAGE),
    };
    let page = context.vocabularies.page(behind.as_ref(), most);
    let next_page_token = match page.entries.last() {
        Some((last, _)) if page.more => token(last),
        _ => String::new(),
    };
    Ok(v1::ListVocabulariesResponse { vocabularies: summaries(context, page), next_page_token })
}

pub(crate) fn delete(
    context: &Context,
    request: Request<v1::DeleteVocabularyRequest>,
) -> Result<v1::DeleteVocabularyResponse, Status> {
    let caller = caller(&request);
    let name = &request.into_inner().name;
    vocabulary_name(Field::Name, name, &context.settings).map_err(refused)?;
    match context.vocabularies.remove(name, caller.as_ref()) {
        Removal::Done => Ok(v1::DeleteVocabularyResponse {}),
        Removal::OfAnother => {
            let message = format!(
                "another caller has registered the vocabulary {name:?}, and only that one can delete it"
            );
            let failure = Failure::new(ErrorReason::VocabularyNotOwned, message);
            Err(failure.resource("sed.v1.Vocabulary", name).into_status())
        }
        Removal::Unknown => Err(unknown_vocabulary(name)),
        Removal::BuiltIn => {
            let message = format!("the vocabulary {name:?} came with the server and cannot be deleted");
            let failure = Failure::new(ErrorReason::VocabularyBuiltIn, message);
            Err(failure.resource("sed.v1.Vocabulary", name).into_status())
        }
    }
}

/// A page's vocabularies without their categories.
pub(crate) fn summaries(context: &Context, page: Page) -> Vec<v1::NamedVocabulary> {
    let entries = page.entries.into_iter();
    let summary = |(position, vocabulary): (Position, Vocabulary)| {
        summary(context, position.name, &vocabulary, !position.registered)
    };
    entries.map(summary).collect()
}

/// A vocabulary without its categories.
fn summary(context: &Context, name: String, vocabulary: &Vocabulary, built_in: bool) -> v1::NamedVocabulary {
    let (phrases, embedded) = context.engine.embedded(vocabulary);
    v1::NamedVocabulary {
        name,
        size: vocabulary.size() as u32,
        built_in,
        synonym_mode: convert::synonym_mode(vocabulary.synonym_mode()).into(),
        contrast_size: vocabulary.contrast().len() as u32,
        phrases: phrases as u32,
        embedded_phrases: embedded as u32,
        ..Default::default()
    }
}

fn categories(vocabulary: &Vocabulary) -> Vec<v1::Category> {
    let owned = |category: &sed_engine::Category| v1::Category {
        name: category.name.clone(),
        synonyms: category.synonyms.clone(),
    };
    vocabulary.categories().iter().map(owned).collect()
}

/// Returns the caller of a request, if it has a name.
pub(super) fn caller<T>(request: &Request<T>) -> Option<Caller> {
    request.extensions().get::<CallerName>().map(|caller| caller.name().clone())
}

fn refused(error: RequestError) -> Status {
    status::from_request_error(&error)
}

fn full(full: Full) -> Status {
    let (unit, limit) = match full {
        Full::Count(limit) => ("registered vocabularies", limit),
        Full::Bytes(limit) => ("bytes of registered vocabularies", limit),
    };
    let message = format!(
        "the vocabulary does not fit: the server holds at most {limit} {unit}; send the words instead"
    );
    Failure::new(ErrorReason::TooManyVocabularies, message).quota(unit, limit).into_status()
}

/// Encodes a position as a page token, which is opaque to callers.
fn token(position: &Position) -> String {
    let kind = if position.registered { "1" } else { "0" };
    HEXLOWER.encode(format!("{kind}{}", position.name).as_bytes())
}

fn read_token(token: &str) -> Option<Position> {
    let text = String::from_utf8(HEXLOWER.decode(token.as_bytes()).ok()?).ok()?;
    let (kind, name) = text.split_at_checked(1)?;
    let registered = match kind {
        "0" => false,
        "1" => true,
        _ => return None,
    };
    Some(Position { registered, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_and_others_are_refused() {
        for registered in [false, true] {
            let position = Position { registered, name: "ade20k-150 猫".into() };
            assert_eq!(read_token(&token(&position)), Some(position));
        }
        for wrong in ["", "0", "zz", "ff", "32", &HEXLOWER.encode(b"2abc"), "306B"] {
            assert_eq!(read_token(wrong), None, "{wrong}");
        }
    }
}
