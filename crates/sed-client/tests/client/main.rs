//! The client against a server that answers by a script.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // the helpers of tests fail as tests do

mod words;

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use prost::Message;
use sed_client::{Access, Client, Order, Retries, SegmentRequest, v1};
use sed_proto::v1::segmentation_service_server::{SegmentationService, SegmentationServiceServer};
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming, transport::Server};
use tonic_types::{ErrorDetails, StatusExt};

/// A server whose queue is full for the first requests, and whose words are not ready for those behind them.
#[derive(Clone, Default)]
struct Scripted {
    full_for: u32,
    not_ready_for: u32,
    calls: Arc<AtomicU32>,
}

fn refusal(code: Code, reason: &str, message: &str) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, "sed-serve", []).set_retry_info(Some(Duration::from_millis(20)));
    Status::with_error_details(code, message, details)
}

fn queue_full() -> Status {
    refusal(Code::ResourceExhausted, "QUEUE_FULL", "the queue is full")
}

fn answer(request: v1::SegmentRequest) -> v1::SegmentResponse {
    let png = v1::mask::Content::IndexPng(b"png"[..].into());
    let mask = v1::Mask { content: Some(png), ..v1::Mask::default() };
    let category = |(index, pixels)| v1::CategoryResult {
        index,
        pixels,
        name: format!("{index}"),
        ..Default::default()
    };
    v1::SegmentResponse {
        request_id: request.request_id,
        masks: vec![mask],
        categories: [(0, 3), (1, 0), (2, 9)].map(category).into(),
        ..v1::SegmentResponse::default()
    }
}

#[tonic::async_trait]
impl SegmentationService for Scripted {
    type SegmentStreamStream = Pin<Box<dyn Stream<Item = Result<v1::SegmentStreamResponse, Status>> + Send>>;

    type PrepareVocabularyStream =
        Pin<Box<dyn Stream<Item = Result<v1::PrepareVocabularyResponse, Status>> + Send>>;

    async fn prepare_vocabulary(
        &self,
        request: Request<v1::PrepareVocabularyRequest>,
    ) -> Result<Response<Self::PrepareVocabularyStream>, Status> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let states = words::preparation(call, request.into_inner())?;
        Ok(Response::new(Box::pin(tokio_stream::iter(states))))
    }

    async fn segment(
        &self,
        request: Request<v1::SegmentRequest>,
    ) -> Result<Response<v1::SegmentResponse>, Status> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        if call < self.full_for {
            return Err(queue_full());
        }
        if call < self.full_for + self.not_ready_for {
            return Err(words::not_ready());
        }
        Ok(Response::new(answer(request.into_inner())))
    }

    /// Refuses the request `bad`.
    async fn segment_stream(
        &self,
        requests: Request<Streaming<v1::SegmentStreamRequest>>,
    ) -> Result<Response<Self::SegmentStreamStream>, Status> {
        let answers = requests.into_inner().map(|message| {
            let request = message?.request.unwrap_or_default();
            let request_id = request.request_id.clone();
            let outcome = if request_id == "bad" {
                let status = tonic_types::Status::decode(queue_full().details()).unwrap();
                let tonic_types::Status { code, message, details } = status;
                v1::segment_stream_response::Outcome::Error(v1::StreamError { code, message, details })
            } else {
                v1::segment_stream_response::Outcome::Response(answer(request))
            };
            Ok(v1::SegmentStreamResponse { request_id, outcome: Some(outcome) })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn create_vocabulary(
        &self,
        request: Request<v1::CreateVocabularyRequest>,
    ) -> Result<Response<v1::CreateVocabularyResponse>, Status> {
        Ok(Response::new(words::created(request.into_inner())))
    }

    async fn get_vocabulary(
        &self,
        _: Request<v1::GetVocabularyRequest>,
    ) -> Result<Response<v1::GetVocabularyResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    /// Three pages of one vocabulary each.
    async fn list_vocabularies(
        &self,
        request: Request<v1::ListVocabulariesRequest>,
    ) -> Result<Response<v1::ListVocabulariesResponse>, Status> {
        let page = request.into_inner().page_token.len();
        let vocabulary = v1::NamedVocabulary { name: format!("page {page}"), ..Default::default() };
        let next_page_token = if page < 2 { "x".repeat(page + 1) } else { String::new() };
        Ok(Response::new(v1::ListVocabulariesResponse { vocabularies: vec![vocabulary], next_page_token }))
    }

    async fn delete_vocabulary(
        &self,
        _: Request<v1::DeleteVocabularyRequest>,
    ) -> Result<Response<v1::DeleteVocabularyResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_server_info(
        &self,
        _: Request<v1::GetServerInfoRequest>,
    ) -> Result<Response<v1::GetServerInfoResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

async fn client_of(scripted: &Scripted) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = SegmentationServiceServer::new(scripted.clone());
    let serving =
        Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    Client::connect(&address.to_string(), &Access::default()).await.unwrap()
}

fn request(id: &str) -> SegmentRequest {
    SegmentRequest::encoded("picture").words(["cat", "sofa"]).id(id)
}

#[tokio::test]
async fn a_refusal_with_a_delay_is_repeated_unless_the_caller_measures() {
    let scripted = Scripted { full_for: 2, ..Scripted::default() };
    let (tell, told) = std::sync::mpsc::channel();
    let client = client_of(&scripted).await.with_notice(move |failure, delay| {
        tell.send((failure.reason().unwrap(), delay >= Duration::from_millis(20))).unwrap();
    });
    let answer = client.segment(request("a")).await.unwrap();
    assert_eq!(
        told.try_iter().collect::<Vec<_>>(),
        [("QUEUE_FULL".to_owned(), true), ("QUEUE_FULL".to_owned(), true)]
    );
    assert_eq!((answer.report.request_id.as_str(), scripted.calls.load(Ordering::SeqCst)), ("a", 3));
    assert_eq!(answer.index_png().unwrap(), &b"png"[..]);
    let found: Vec<u64> = answer.report.found().iter().map(|category| category.pixels).collect();
    assert_eq!(found, [9, 3]);

    let scripted = Scripted { full_for: 1, ..Scripted::default() };
    let client = client_of(&scripted).await.with_retries(Retries::OFF);
    let refused = client.segment(request("b")).await.unwrap_err();
    assert_eq!(refused.to_string(), "the queue is full (QUEUE_FULL)");
    assert_eq!(
        (refused.code(), refused.reason().as_deref()),
        (Some(Code::ResourceExhausted), Some("QUEUE_FULL"))
    );
    assert_eq!(refused.retry_after(), Some(Duration::from_millis(20)));
}

#[tokio::test]
async fn a_delay_behind_the_deadline_is_not_waited_for() {
    let scripted = Scripted { full_for: u32::MAX, ..Scripted::default() };
    let client = client_of(&scripted).await.with_timeout(Some(Duration::from_millis(15)));
    client.segment(request("a")).await.unwrap_err();
    assert!(scripted.calls.load(Ordering::SeqCst) <= 1);
}

#[tokio::test]
async fn streams_give_every_request_its_own_end() {
    let client = client_of(&Scripted::default()).await;
    let requests = tokio_stream::iter([request(""), request("bad"), request("")]);
    let mut answers = client.segment_stream(requests, Order::Requests).await.unwrap();
    let mut ends = Vec::new();
    while let Some(answer) = answers.next().await.unwrap() {
        let refused = answer.outcome.err().and_then(|error| error.reason());
        ends.push((answer.request_id, refused));
    }
    let [first, bad, third] = [("1", None), ("bad", Some("QUEUE_FULL".to_owned())), ("3", None)];
    assert_eq!(ends, [first, bad, third].map(|(id, end)| (id.to_owned(), end)));
}

#[tokio::test]
async fn all_pages_of_vocabularies_are_listed() {
    let client = client_of(&Scripted::default()).await;
    let names: Vec<String> = client.vocabularies().await.unwrap().into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["page 0", "page 1", "page 2"]);
    let unknown = client.server_info().await.unwrap_err();
    assert!(unknown.to_string().contains("is it a sed-serve?"), "{unknown}");
}
