//! Words that the server has not embedded, and a text tower that takes several times as long for them as a
//! request may take: asking again ends in an answer, words can be prepared, and requests with known words
//! are answered right meanwhile.
//!
//! On the CPU, whatever device is tested: requests with known words have to be in time, which those on a
//! driver made of software are not.

use std::time::Duration;

use candle_core::Device;
use sed_client::{Access, MaskEncoding, SegmentRequest, named, words};
use sed_engine::{Category, VocabularyBook};
use sed_proto::v1;
use sed_server::{ServerConfig, Settings};
use sed_tests::golden;
use tokio::sync::{OnceCell, mpsc};
use tonic::{Code, Streaming};
use tonic_types::StatusExt;

use crate::{
    PROGRAM,
    server::{Running, client},
};

/// The name of the words' vocabulary.
const SCENE: &str = "scene";
/// Some of them are in each of the pictures.
const WORDS: [&str; 24] = [
    "sky",
    "duck",
    "tree",
    "grapes",
    "bicycle",
    "mushroom",
    "helicopter",
    "office building",
    "dog",
    "road",
    "wall",
    "sand",
    "water",
    "grass",
    "car",
    "cat",
    "house",
    "lamp",
    "person",
    "boat",
    "whale",
    "clock",
    "bread",
    "window",
];
/// Time that the slow text tower takes longer for each of them, 4.8 s for all.
const SLOW: Duration = Duration::from_millis(200);
/// A third of that.
const MAX_TIMEOUT_SECONDS: f64 = 1.6;
/// More refusals in a row than there can be while words make progress.
const TOO_MANY: usize = 20;
/// Deadlines that may pass without a refusal, because other tests keep the machine busy.
const MOST_LATE: usize = 3;

fn config(max_timeout_seconds: f64) -> ServerConfig {
    let settings = Settings {
        listen: "127.0.0.1:0".into(),
        ops_listen: "off".into(),
        max_timeout_seconds,
        ..Settings::default()
    };
    let mut config = ServerConfig::check(&settings).unwrap();
    // Some words are embedded within a deadline, even before it is known how slow they are.
    config.engine.text_chunk = 4;
    config
}

/// A server that is ready, and knows the words by their name alone.
async fn start(config: ServerConfig, each: Duration) -> Running {
    let book: VocabularyBook = [(SCENE.to_owned(), WORDS.map(Category::new).to_vec())].into_iter().collect();
    Running::start(&Device::Cpu, config, book, each).await
}

async fn connect(server: &Running) -> sed_client::Client {
    sed_client::Client::connect(&format!("http://{}", server.address), &Access::default()).await.unwrap()
}

fn about(picture: usize, vocabulary: v1::Vocabulary) -> v1::SegmentRequest {
    let file = std::fs::read(golden::path(&format!("tiny/{picture}.png"))).unwrap();
    SegmentRequest::encoded(file).vocabulary(vocabulary).mask(MaskEncoding::IndexPng).into()
}

fn about_all() -> v1::SegmentRequest {
    about(0, named(SCENE))
}

/// The answer of a server that has embedded all words before it was ready.
async fn preloaded() -> &'static v1::SegmentResponse {
    static ANSWER: OnceCell<v1::SegmentResponse> = OnceCell::const_new();
    let ask = async || {
        let mut config = config(60.0);
        config.engine.preload.push(WORDS.map(Category::new).to_vec());
        let server = start(config, Duration::ZERO).await;
        let answer = connect(&server).await.send(about_all()).await.unwrap();
        assert_eq!(answer.latency.as_ref().unwrap().text_cache_misses, 0);
        assert!(answer.categories.iter().filter(|category| category.pixels > 0).count() > 2);
        server.end().await;
        answer
    };
    ANSWER.get_or_init(ask).await
}

fn assert_same(answer: &v1::SegmentResponse, expected: &v1::SegmentResponse) {
    assert!(answer.masks == expected.masks, "another mask");
    assert_eq!(answer.rejection, expected.rejection);
    assert_eq!(answer.categories.len(), expected.categories.len());
    for (one, other) in answer.categories.iter().zip(&expected.categories) {
        assert_eq!(
            (&one.name, one.pixels, &one.bounding_box),
            (&other.name, other.pixels, &other.bounding_box)
        );
        assert!((one.mean_score - other.mean_score).abs() <= 1e-5, "{one:?} instead of {other:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_vocabulary_ends_in_an_answer_by_the_clients_retries_alone() {
    let _beside_others = PROGRAM.read().await;
    let server = start(config(MAX_TIMEOUT_SECONDS), SLOW).await;
    let answer = connect(&server).await.send(about_all()).await.unwrap();
    assert_same(&answer, preloaded().await);

    server.until_quiet().await;
    let is_refusal = |name: &str| name.starts_with("sed_requests_rejected_total{");
    let samples = server.samples().into_iter();
    let refusals = samples.filter(|(name, count)| is_refusal(name) && *count > 0.0);
    let reasons: Vec<String> = refusals.map(|(name, _)| name).collect();
    assert_eq!(reasons, ["sed_requests_rejected_total{reason=\"vocabulary_not_ready\"}"]);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_of_cold_words_says_how_many_are_ready_and_when_to_ask_again() {
    let _beside_others = PROGRAM.read().await;
    // The warm-up shows how slow words are, or it does not.
    let config = config(MAX_TIMEOUT_SECONDS);
    let (known, unknown) = tokio::join!(start(config.clone(), SLOW), start(config, Duration::ZERO));
    unknown.faults.slow_words(SLOW);
    let (one, other) = tokio::join!(ask_until_answered(&known), ask_until_answered(&unknown));
    for answer in [one, other] {
        assert_same(&answer, preloaded().await);
    }
    tokio::join!(known.end(), unknown.end());
}

/// Asks about all words again after the delay of each refusal, of which there is one at least.
async fn ask_until_answered(server: &Running) -> v1::SegmentResponse {
    let mut client = client(server.address);
    let mut ready: Vec<usize> = Vec::new();
    let mut late = 0;
    loop {
        let refused = match client.segment(about_all()).await {
            Err(status) => status,
            Ok(answer) => {
                assert!(!ready.is_empty(), "all words were embedded within one deadline");
                return answer.into_inner();
            }
        };
        // On a busy machine a launch takes longer than predicted: the deadline passes, and the words stay.
        if refused.code() == Code::DeadlineExceeded && late < MOST_LATE {
            late += 1;
            continue;
        }
        let details = refused.get_error_details();
        let info = details.error_info().unwrap();
        let facts = (refused.code(), info.reason.as_str());
        assert_eq!(facts, (Code::ResourceExhausted, "VOCABULARY_NOT_READY"), "{refused}");
        let count = |key: &str| info.metadata[key].parse::<usize>().unwrap();
        assert_eq!(count("phrases"), WORDS.len());
        ready.push(count("embedded"));
        assert!(ready.is_sorted() && ready.len() < TOO_MANY, "{ready:?}");
        assert!(ready.iter().all(|embedded| *embedded <= WORDS.len()), "{ready:?}");
        let delay = details.retry_info().unwrap().retry_delay.unwrap();
        assert!((1..=30).contains(&delay.as_secs()), "{delay:?}");
        tokio::time::sleep(delay).await;
    }
}

type Messages = Streaming<v1::PrepareVocabularyResponse>;

/// Begins to prepare all words, on a connection of its own.
async fn prepare(server: &Running) -> Messages {
    let request = v1::PrepareVocabularyRequest { vocabulary: Some(named(SCENE)) };
    client(server.address).prepare_vocabulary(request).await.unwrap().into_inner()
}

/// The next message, which is there.
async fn next(messages: &mut Messages) -> v1::PrepareVocabularyResponse {
    messages.message().await.unwrap().unwrap()
}

/// Reads on until more words are embedded, and returns their number.
async fn until_more(messages: &mut Messages, than: u32) -> u32 {
    loop {
        let embedded = next(messages).await.embedded;
        assert!(embedded >= than, "{embedded} behind {than}");
        if embedded > than {
            return embedded;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_share_a_preparation_and_what_is_embedded_stays_when_they_leave() {
    const KNOWN: usize = 5;
    let _beside_others = PROGRAM.read().await;
    let all = WORDS.len() as u32;
    let server = start(config(MAX_TIMEOUT_SECONDS), Duration::ZERO).await;
    let client = connect(&server).await;
    client.send(about(0, words(WORDS[..KNOWN].iter().copied()))).await.unwrap();
    server.faults.slow_words(SLOW);

    let (mut first, mut second) = (prepare(&server).await, prepare(&server).await);
    let began = next(&mut first).await;
    assert_eq!((began.phrases, began.known), (all, KNOWN as u32));
    let joined = next(&mut second).await;
    assert!(joined.phrases == all && joined.known >= began.known, "{joined:?}");
    let embedded = until_more(&mut first, began.embedded).await;
    drop(first);
    let embedded = until_more(&mut second, embedded.max(joined.embedded)).await;
    drop(second);
    // It ends with its last caller.
    server.until_zero("sed_preparations").await;
    let left = client.vocabulary(SCENE).await.unwrap();
    assert!(left.phrases == all && left.embedded_phrases >= embedded, "{embedded} of {left:?}");

    let mut states = Vec::new();
    let last = client.prepare_vocabulary(named(SCENE), |state| states.push(state.clone())).await.unwrap();
    assert!(states[0].known >= left.embedded_phrases, "{:?}", states[0]);
    assert!(states.is_sorted_by_key(|state| (state.ready, state.embedded)), "{states:?}");
    assert!(states.iter().all(|state| (state.phrases, state.known) == (all, states[0].known)), "{states:?}");
    assert_eq!((last.ready, last.embedded, last.devices[0].embedded), (true, all, all));
    // Each word was embedded once for all callers.
    assert_eq!(server.samples()["sed_prepared_phrases_total"], (WORDS.len() - KNOWN) as f64);
    let again = client.prepare_vocabulary(named(SCENE), |_| {}).await.unwrap();
    assert_eq!((again.ready, again.known, again.embedded), (true, all, all));

    let answer = client.send(about_all()).await.unwrap();
    assert_eq!(answer.latency.as_ref().unwrap().text_cache_misses, 0);
    assert_same(&answer, preloaded().await);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_with_known_words_are_answered_right_while_another_client_prepares() {
    /// The words of each request.
    const KNOWN: usize = 4;
    /// A busy device embeds one in so many requests: what it embeds within a chunk says nothing.
    const MORE: u32 = 6;
    let _beside_others = PROGRAM.read().await;
    let server = start(config(60.0), Duration::ZERO).await;
    let client = connect(&server).await;
    let questions = [0, 1, 2].map(|picture| about(picture, words(WORDS[..KNOWN].iter().copied())));
    let mut before = Vec::new();
    for question in &questions {
        before.push(client.send(question.clone()).await.unwrap());
    }

    // A busy device has little time for words, so they are not too slow.
    server.faults.slow_words(SLOW / 10);
    let (send, mut progress) = mpsc::unbounded_channel();
    let other = connect(&server).await;
    let preparing = tokio::spawn(async move {
        let watch = |state: &sed_client::Preparation| send.send(state.embedded).unwrap();
        other.prepare_vocabulary(named(SCENE), watch).await.unwrap()
    });
    let mut embedded = progress.recv().await.unwrap();
    let (enough, mut asked) = (embedded + MORE, 0);
    while embedded < enough {
        let number = asked % questions.len();
        let answer = client.send(questions[number].clone()).await.unwrap();
        assert_same(&answer, &before[number]);
        asked += 1;
        assert!(asked < 10_000, "{embedded} of {enough} words are embedded");
        while let Ok(now) = progress.try_recv() {
            assert!(now >= embedded, "{now} behind {embedded}");
            embedded = now;
        }
    }
    let last = preparing.await.unwrap();
    assert_eq!((last.ready, last.embedded), (true, WORDS.len() as u32));
    for (question, before) in questions.into_iter().zip(&before) {
        assert_same(&client.send(question).await.unwrap(), before);
    }
    server.end().await;
}
