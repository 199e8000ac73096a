//! Vocabularies by name: registered, told, listed, used and forgotten.

use std::time::Duration;

use sed_engine::{
    Stage,
    fake::{self, Fault},
};
use sed_proto::v1;
use sed_server::Settings;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::harness::{Client, Running, facts, inline, metadata, named, quota, request, retry_delay, until};

fn categories(names: &[&str]) -> Vec<v1::Category> {
    let category = |name: &&str| v1::Category { name: (*name).into(), synonyms: vec![format!("a {name}")] };
    names.iter().map(category).collect()
}

fn creation(names: &[&str], embed: bool) -> v1::CreateVocabularyRequest {
    let categories = categories(names);
    v1::CreateVocabularyRequest {
        categories: Some(v1::CategoryList { categories }),
        embed,
        ..Default::default()
    }
}

async fn create(client: &mut Client, names: &[&str]) -> Result<(String, bool), Status> {
    let answer = client.create_vocabulary(creation(names, false)).await?.into_inner();
    Ok((answer.vocabulary.unwrap().name, answer.existed))
}

async fn list(client: &mut Client, page_size: u32, token: &str) -> Result<(Vec<String>, String), Status> {
    let request = v1::ListVocabulariesRequest { page_size, page_token: token.into() };
    let answer = client.list_vocabularies(request).await?.into_inner();
    let names = answer.vocabularies.into_iter().map(|vocabulary| {
        assert!(vocabulary.categories.is_empty());
        vocabulary.name
    });
    Ok((names.collect(), answer.next_page_token))
}

async fn delete(client: &mut Client, name: &str) -> Result<(), Status> {
    client.delete_vocabulary(v1::DeleteVocabularyRequest { name: name.into() }).await.map(|_| ())
}

fn by_name(name: &str) -> v1::SegmentRequest {
    v1::SegmentRequest { vocabulary: Some(named(name)), ..request(1) }
}

#[tokio::test]
async fn a_registered_vocabulary_stands_for_its_words() {
    let server = Running::start(Settings::default()).await;
    let mut client = server.client();
    let answer = client.create_vocabulary(creation(&["dog", "猫"], false)).await.unwrap().into_inner();
    let vocabulary = answer.vocabulary.unwrap();
    assert!(!answer.existed && !vocabulary.built_in && vocabulary.categories.is_empty());
    assert_eq!(vocabulary.size, 2);
    let name = vocabulary.name;
    assert!(name.len() == 36 && name.starts_with("voc-"), "{name}");
    // The same words have the same name, here and elsewhere; their order makes another.
    assert_eq!(create(&mut client, &["dog", "猫"]).await.unwrap(), (name.clone(), true));
    assert_ne!(create(&mut client, &["猫", "dog"]).await.unwrap().0, name);
    let replica = Running::start(Settings::default()).await;
    assert_eq!(create(&mut replica.client(), &["dog", "猫"]).await.unwrap(), (name.clone(), false));

    let words = v1::SegmentRequest { vocabulary: Some(inline(categories(&["dog", "猫"]))), ..request(1) };
    let by_words = server.segment(words).await.unwrap();
    let by_name = server.segment(by_name(&name)).await.unwrap();
    assert_eq!((by_name.masks, by_name.categories), (by_words.masks, by_words.categories));

    let get = v1::GetVocabularyRequest { name: name.clone() };
    let told = client.get_vocabulary(get).await.unwrap().into_inner().vocabulary.unwrap();
    assert_eq!((told.name, told.size, told.built_in), (name, 2, false));
    assert_eq!(told.categories, categories(&["dog", "猫"]));
    let get = v1::GetVocabularyRequest { name: "pets".into() };
    let told = client.get_vocabulary(get).await.unwrap().into_inner().vocabulary.unwrap();
    assert_eq!((told.built_in, told.categories[1].name.as_str()), (true, "cat"));
}

#[tokio::test]
async fn the_list_goes_page_by_page_in_a_stable_order() {
    let server = Running::start(Settings::default()).await;
    let mut client = server.client();
    let mut registered = Vec::new();
    for word in ["a", "b", "c", "d", "e"] {
        registered.push(create(&mut client, &[word]).await.unwrap().0);
    }
    registered.sort();
    let all = [&["many".to_string(), "pets".to_string()][..], &registered].concat();
    for page_size in [0, 7, 5000] {
        assert_eq!(list(&mut client, page_size, "").await.unwrap(), (all.clone(), String::new()));
    }
    for page_size in [1, 2, 3, 6] {
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let (names, next) = list(&mut client, page_size, &token).await.unwrap();
            assert!(!names.is_empty() && names.len() <= page_size as usize);
            seen.extend(names);
            token = next;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, all);
    }
    // What is deleted between two pages takes nothing else away.
    let (_, token) = list(&mut client, 3, "").await.unwrap();
    delete(&mut client, &registered[0]).await.unwrap();
    assert_eq!(list(&mut client, 0, &token).await.unwrap().0, registered[1..]);
    for token in ["x", "pets", "3070657", "ff"] {
        let refused = list(&mut client, 0, token).await.unwrap_err();
        assert_eq!(facts(&refused), (Code::InvalidArgument, "OPTION_INVALID".into(), "page_token".into()));
    }
    let info = client.get_server_info(v1::GetServerInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.vocabularies.iter().filter(|vocabulary| !vocabulary.built_in).count(), 4);
}

#[tokio::test]
async fn what_cannot_be_done_has_its_reason() {
    let none = Settings { max_registered_vocabularies: 0, ..Settings::default() };
    let none = Running::start(none).await;
    for embed in [false, true] {
        let refused = none.client().create_vocabulary(creation(&["cat"], embed)).await.unwrap_err();
        assert_eq!(facts(&refused), (Code::ResourceExhausted, "TOO_MANY_VOCABULARIES".into(), String::new()));
        assert_eq!(metadata(&refused, "limit").as_deref(), Some("0"));
        assert_eq!(quota(&refused).as_deref(), Some("registered vocabularies"));
    }

    let server = Running::start(Settings::default()).await;
    let mut client = server.client();
    let (name, _) = create(&mut client, &["dog"]).await.unwrap();
    let refused = delete(&mut client, "pets").await.unwrap_err();
    assert_eq!(facts(&refused), (Code::FailedPrecondition, "VOCABULARY_BUILT_IN".into(), String::new()));
    // A call that is retried although it worked succeeds again.
    delete(&mut client, &name).await.unwrap();
    delete(&mut client, &name).await.unwrap();

    let not_found = (Code::NotFound, "VOCABULARY_NOT_FOUND".to_string(), String::new());
    let get = async |name: &str| {
        let request = v1::GetVocabularyRequest { name: name.into() };
        server.client().get_vocabulary(request).await.unwrap_err()
    };
    for refused in [get(&name).await, server.segment(by_name(&name)).await.unwrap_err()] {
        assert_eq!(facts(&refused), not_found);
        assert_eq!(refused.get_error_details().resource_info().unwrap().resource_name, name);
    }
    assert_eq!(facts(&delete(&mut client, "planets").await.unwrap_err()), not_found);

    let invalid = |reason: &str, field: &str| (Code::InvalidArgument, reason.to_string(), field.to_string());
    assert_eq!(facts(&get("").await), invalid("FIELD_MISSING", "name"));
    assert_eq!(facts(&get(&"x".repeat(257)).await), invalid("OPTION_INVALID", "name"));
    let refused = delete(&mut client, "").await.unwrap_err();
    assert_eq!(facts(&refused), invalid("FIELD_MISSING", "name"));
    let refused = client.create_vocabulary(v1::CreateVocabularyRequest::default()).await.unwrap_err();
    assert_eq!(facts(&refused), invalid("FIELD_MISSING", "categories"));
    let doubled =
        ["dog", "Dog"].map(|name| v1::Category { name: name.into(), synonyms: Vec::new() }).to_vec();
    let doubled = v1::CategoryList { categories: doubled };
    let doubled =
        v1::CreateVocabularyRequest { categories: Some(doubled), embed: false, ..Default::default() };
    let refused = client.create_vocabulary(doubled).await.unwrap_err();
    assert_eq!(facts(&refused), invalid("CATEGORY_DUPLICATE", "categories.categories[1].name"));
}

#[tokio::test]
async fn words_can_be_embedded_before_their_first_picture() {
    let server = Running::start(Settings::default()).await;
    let mut client = server.client();
    let before = server.control.embedded();
    let (name, _) = create(&mut client, &["dog", "cat"]).await.unwrap();
    assert_eq!(server.control.embedded(), before);
    let answer = client.create_vocabulary(creation(&["dog", "cat"], true)).await.unwrap().into_inner();
    assert!(answer.existed);
    assert_eq!(server.control.embedded(), before + 4); // two names, two synonyms
    let latency = server.segment(by_name(&name)).await.unwrap().latency.unwrap();
    assert_eq!((latency.text_cache_misses, latency.vocabulary_cache_hit), (0, true));
    assert_eq!(server.control.embedded(), before + 4);
}

#[tokio::test]
async fn words_that_could_not_be_embedded_in_time_stay_registered_and_are_prepared() {
    let server = Running::start(Settings { max_timeout_seconds: 0.3, ..Settings::default() }).await;
    server.control.inject(Stage::TextEmbedding, Fault::Hold);
    let mut client = server.client();
    let refused = client.create_vocabulary(creation(&["dog"], true)).await.unwrap_err();
    assert_eq!(facts(&refused), (Code::ResourceExhausted, "VOCABULARY_NOT_READY".into(), String::new()));
    assert_eq!(metadata(&refused, "phrases").as_deref(), Some("2"));
    assert!(retry_delay(&refused).is_some());
    let (name, existed) = create(&mut client, &["dog"]).await.unwrap();
    assert!(existed);
    server.control.release();
    let get = async || {
        let request = v1::GetVocabularyRequest { name: name.clone() };
        server.client().get_vocabulary(request).await.unwrap().into_inner().vocabulary.unwrap()
    };
    while get().await.embedded_phrases < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    until(|| server.engine.queue_depth() == 0).await;
    client.create_vocabulary(creation(&["dog"], true)).await.unwrap();
}

#[tokio::test]
async fn a_request_keeps_the_words_that_it_began_with() {
    let server = Running::start(Settings::default()).await;
    let (name, _) = create(&mut server.client(), &["dog", "cat"]).await.unwrap();
    server.control.inject(Stage::Encode, Fault::Hold);
    let (mut client, used) = (server.client(), by_name(&name));
    let running = tokio::spawn(async move { client.segment(used).await });
    let control = server.control.clone();
    assert!(tokio::task::spawn_blocking(move || control.wait_until_held()).await.unwrap());
    delete(&mut server.client(), &name).await.unwrap();
    server.control.release();
    let answer = tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
    assert_eq!(answer.unwrap().into_inner().categories[1].name, "cat");
}

#[tokio::test]
async fn a_full_server_forgets_the_vocabulary_that_was_not_used_for_the_longest_time() {
    let server = Running::start(Settings { max_registered_vocabularies: 2, ..Settings::default() }).await;
    let mut client = server.client();
    let (dog, _) = create(&mut client, &["dog"]).await.unwrap();
    let (cat, _) = create(&mut client, &["cat"]).await.unwrap();
    server.segment(by_name(&dog)).await.unwrap();
    let (cow, _) = create(&mut client, &["cow"]).await.unwrap();
    let mut left = [dog, cow];
    left.sort();
    assert_eq!(list(&mut client, 0, "").await.unwrap().0[2..], left);
    let refused = server.segment(by_name(&cat)).await.unwrap_err();
    assert_eq!(facts(&refused), (Code::NotFound, "VOCABULARY_NOT_FOUND".into(), String::new()));
}

#[tokio::test]
async fn a_caller_is_told_what_it_should_know_of_its_words() {
    let server = Running::start(Settings::default()).await;
    let category = |name: &str, synonyms: &[&str]| v1::Category {
        name: name.into(),
        synonyms: synonyms.iter().map(ToString::to_string).collect(),
    };
    let long = "x".repeat(fake::ROOM + 1);
    let categories = vec![category("bag", &["grip"]), category("sky", &[&long]), category("Bag", &["purse"])];
    let facts = |warnings: &[v1::Warning]| {
        let fact = |warning: &v1::Warning| (warning.reason(), warning.field.clone());
        warnings.iter().map(fact).collect::<Vec<_>>()
    };
    let expected = |list: &str| {
        vec![
            (v1::WarningReason::PhraseCut, format!("{list}[1].synonyms[0]")),
            (v1::WarningReason::CategoryNameRepeated, format!("{list}[2].name")),
        ]
    };
    let list = v1::CategoryList { categories: categories.clone() };
    let creation = v1::CreateVocabularyRequest { categories: Some(list), embed: false, ..Default::default() };
    let created = server.client().create_vocabulary(creation).await.unwrap().into_inner();
    assert_eq!(facts(&created.warnings), expected("categories.categories"));
    let by_words = v1::SegmentRequest { vocabulary: Some(inline(categories)), ..request(1) };
    let answer = server.segment(by_words).await.unwrap();
    assert_eq!(facts(&answer.warnings), expected("vocabulary.categories.categories"));
    assert_eq!(
        answer.warnings[1].message,
        "categories 0 and 2 are both called `Bag`; only their index tells them apart"
    );
    let values = |index: usize, name: &str| answer.warnings[index].metadata[name].clone();
    let (tokens, room) = (values(0, "tokens"), values(0, "room"));
    assert_eq!([tokens, room], [fake::ROOM + 1, fake::ROOM].map(|count| count.to_string()));
    assert_eq!([values(1, "first"), values(1, "second")], ["0", "2"]);
    // A request by name has not written the words out.
    let by_name = server.segment(by_name(&created.vocabulary.unwrap().name)).await.unwrap();
    assert_eq!(by_name.warnings, []);
}
