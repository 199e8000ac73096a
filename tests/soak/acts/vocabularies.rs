//! Vocabularies: registered, used, listed and deleted, up to the limit.

use sed_proto::v1::{self, ErrorReason};
use tonic::Status;

use super::masks::judge;
use crate::{
    calls::{Patience, Shared, ask, segment},
    catalogue,
    judgement::{TROUBLE, check_error, reason_of},
    line::Line,
    serve::MAX_VOCABULARIES,
};

/// Another client may have deleted it.
const GONE: [ErrorReason; 1] = [ErrorReason::VocabularyNotFound];

async fn create(
    shared: &Shared,
    line: &Line,
    message: v1::CreateVocabularyRequest,
) -> Option<Result<String, Status>> {
    let created = ask!(shared, line, CreateVocabulary, create_vocabulary, message)?;
    Some(created.map(|created| created.vocabulary.unwrap_or_default().name))
}

async fn delete(shared: &Shared, line: &Line, name: &str, allowed: &[&[ErrorReason]]) {
    let message = v1::DeleteVocabularyRequest { name: name.to_owned() };
    if let Some(Err(status)) = ask!(shared, line, DeleteVocabulary, delete_vocabulary, message) {
        shared.expect("deleting a vocabulary", check_error(&status, allowed));
    }
}

/// Registers the words of a case, asks by their name, and deletes them.
pub(super) async fn registered(shared: &Shared, line: &Line, random: &mut fastrand::Rng) {
    let cases = &shared.catalogue.segment;
    let case = &cases[random.usize(..cases.len())];
    let Some(message) = case.creation(random.bool()) else { return };
    let categories = message.categories.clone().unwrap_or_default().categories;
    let name = match create(shared, line, message).await {
        Some(Ok(name)) => name,
        Some(Err(status)) => {
            return shared.expect("registering a vocabulary", check_error(&status, &[&TROUBLE]));
        }
        None => return,
    };
    let message = v1::GetVocabularyRequest { name: name.clone() };
    let judged = match ask!(shared, line, GetVocabulary, get_vocabulary, message) {
        Some(Ok(found)) if found.vocabulary.as_ref().map(|found| &found.categories) == Some(&categories) => {
            Ok(())
        }
        Some(Ok(found)) => Err(format!("it holds {:?}", found.vocabulary)),
        Some(Err(status)) => check_error(&status, &[&GONE]),
        None => return,
    };
    shared.expect("looking at a vocabulary", judged);
    let request = case.by_name(&name);
    if let Some(outcome) = segment(shared, line, &request, None, Patience::Ample).await {
        judge(shared, "a request by a registered name", case, "", &outcome, &[&TROUBLE, &GONE]);
    }
    // The same words have the same name, and another caller may have registered them in the meantime.
    delete(shared, line, &name, &[&GONE, &[ErrorReason::VocabularyNotOwned]]).await;
}

/// Registers more new vocabularies than the server keeps, looks at how many it does, and deletes them.
pub(super) async fn hoard(shared: &Shared, line: &Line) {
    let mut names = Vec::new();
    for _ in 0..2 * MAX_VOCABULARIES {
        let categories = Some(catalogue::categories([format!("hoard {}", shared.fresh())]));
        let message = v1::CreateVocabularyRequest { categories, ..Default::default() };
        match create(shared, line, message).await {
            Some(Ok(name)) => names.push(name),
            Some(Err(status)) => {
                shared.expect("hoarding vocabularies", check_error(&status, &[]));
                break;
            }
            None => break,
        }
    }
    // One page, because others register theirs between two.
    let kept = pages(shared, line, 1000).await.iter().filter(|one| !one.built_in).count();
    if kept > MAX_VOCABULARIES {
        shared.tally().violation(format!("{kept} vocabularies are registered, more than {MAX_VOCABULARIES}"));
    }
    for name in names {
        delete(shared, line, &name, &[]).await; // no other client knows the words
    }
}

/// The pages of the list behind one another.
async fn pages(shared: &Shared, line: &Line, page_size: u32) -> Vec<v1::NamedVocabulary> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let message = v1::ListVocabulariesRequest { page_size, page_token };
        match ask!(shared, line, ListVocabularies, list_vocabularies, message) {
            Some(Ok(page)) => {
                all.extend(page.vocabularies);
                page_token = page.next_page_token;
            }
            Some(Err(status)) => {
                shared.expect("listing vocabularies", check_error(&status, &[]));
                return all;
            }
            None => return all,
        }
        if page_token.is_empty() {
            return all;
        }
    }
}

pub(super) async fn lists(shared: &Shared, line: &Line, random: &mut fastrand::Rng) {
    let all = pages(shared, line, random.u32(0..12)).await;
    // Whatever comes and goes between two pages, no name stands on both.
    let places: Vec<_> = all.iter().map(|one| (!one.built_in, &one.name)).collect();
    if !places.is_sorted_by(|a, b| a < b) {
        shared.tally().violation(format!("the list of vocabularies is out of order: {places:?}"));
    }
    let built_in = all.iter().filter(|one| one.built_in).count();
    if built_in != sed_engine::builtin_vocabularies().iter().count() {
        shared.tally().violation(format!("{built_in} built-in vocabularies are listed"));
    }
}

/// Deletes what clients have left, as the last one on the server.
pub(crate) async fn delete_all(shared: &Shared, line: &Line) {
    for vocabulary in pages(shared, line, 0).await.into_iter().filter(|one| !one.built_in) {
        delete(shared, line, &vocabulary.name, &[]).await;
    }
    let message = v1::DeleteVocabularyRequest { name: "pascal-voc-20".into() };
    if let Some(answer) = ask!(shared, line, DeleteVocabulary, delete_vocabulary, message) {
        let refused = answer.err().map(|status| reason_of(&status));
        if refused != Some(Ok(ErrorReason::VocabularyBuiltIn)) {
            shared.tally().violation("a built-in vocabulary was deleted".into());
        }
    }
}
