//! Wrong requests, one for each reason that a client can cause alone.

use sed_proto::{
    inference::ModelInferRequest,
    v1::{self, ErrorReason, SegmentRequest},
};
use tonic::Status;

use crate::{
    calls::{Patience, Shared, ask, call, infer, segment},
    catalogue::{self, categories, inline, named},
    judgement::check_error,
    line::{Caller, Line},
    serve::{
        MAX_CATEGORIES, MAX_IMAGE_BYTES, MAX_IMAGE_SIDE, MAX_MESSAGE_BYTES, MAX_OUTPUT_PIXELS, MAX_TOP_K,
    },
};

/// Errors that may come before the fault is found.
const BEFORE: [ErrorReason; 2] = [ErrorReason::QueueFull, ErrorReason::DeviceLost];

/// A request with one fault.
pub(crate) struct Wrong {
    pub(crate) reason: ErrorReason,
    message: Message,
}

/// The call.
enum Message {
    Segment(SegmentRequest),
    /// A call as this caller.
    As(Caller, SegmentRequest),
    /// Bytes that are no request.
    Nonsense,
    Stream(Vec<v1::SegmentStreamRequest>),
    Infer(ModelInferRequest),
    Create(v1::CreateVocabularyRequest),
    Get(v1::GetVocabularyRequest),
    List(v1::ListVocabulariesRequest),
    Delete(v1::DeleteVocabularyRequest),
}

fn sound() -> SegmentRequest {
    with_image(v1::image::Source::Encoded(catalogue::png().into()))
}

fn with_image(source: v1::image::Source) -> SegmentRequest {
    SegmentRequest {
        image: Some(v1::Image { source: Some(source) }),
        vocabulary: Some(inline(categories(["dog".to_owned(), "cat".to_owned()]))),
        options: None,
        request_id: String::new(),
    }
}

fn with_file(bytes: Vec<u8>) -> SegmentRequest {
    with_image(v1::image::Source::Encoded(bytes.into()))
}

fn with_pixels(bytes: usize, width: u32, height: u32) -> SegmentRequest {
    let pixels = vec![0; bytes].into();
    with_image(v1::image::Source::Raw(v1::RawImage { pixels, width, height, row_stride: 0 }))
}

fn with_words(names: &[&str]) -> SegmentRequest {
    let list = categories(names.iter().map(|name| (*name).to_owned()));
    SegmentRequest { vocabulary: Some(inline(list)), ..sound() }
}

fn with_options(options: v1::SegmentOptions) -> SegmentRequest {
    SegmentRequest { options: Some(options), ..sound() }
}

fn on_stream(id: &str) -> v1::SegmentStreamRequest {
    let request = Some(SegmentRequest { request_id: id.into(), ..sound() });
    v1::SegmentStreamRequest { request, timeout: None, any_order: false }
}

/// A request of the Open Inference Protocol with words as given.
fn inferred(list: &v1::CategoryList) -> ModelInferRequest {
    let image = sound().image.unwrap();
    catalogue::infer_request([catalogue::infer_image(&image), catalogue::infer_categories(list)])
}

/// All of them.
pub(crate) fn all() -> Vec<Wrong> {
    use ErrorReason as R;
    let dog = || categories(["dog".to_owned()]);
    let side = (MAX_OUTPUT_PIXELS as f64).sqrt() as u32 + 10;
    let size = v1::Size { width: side, height: side };
    let large = v1::OutputSize { kind: Some(v1::output_size::Kind::Exact(size)) };
    let many = categories((0..=MAX_CATEGORIES).map(|index| format!("thing {index}")));
    let mut wrong_shape = inferred(&dog());
    wrong_shape.inputs[1].shape = vec![7];
    let other_model = ModelInferRequest { model_name: "other".into(), ..inferred(&dog()) };
    let unknown_image = v1::image::Source::Id(format!("img-{}", "f".repeat(64)));
    let messages = [
        (R::FieldMissing, Message::Segment(SegmentRequest { image: None, ..sound() })),
        (R::FieldMissing, Message::Segment(SegmentRequest { vocabulary: None, ..sound() })),
        (R::FieldMissing, Message::Create(v1::CreateVocabularyRequest::default())),
        (R::ImageCorrupt, Message::Segment(with_file(catalogue::png()[..80].to_vec()))),
        (R::ImageCorrupt, Message::Segment(with_pixels(35, 4, 3))),
        (R::ImageTooLarge, Message::Segment(with_file(vec![0; MAX_IMAGE_BYTES + 1]))),
        (R::ImageTooLarge, Message::Segment(with_pixels(3, MAX_IMAGE_SIDE + 1, 1))),
        (R::ImageUnsupported, Message::Segment(with_file(b"a text".to_vec()))),
        (R::VocabularyEmpty, Message::Segment(with_words(&[]))),
        (
            R::VocabularyTooLarge,
            Message::Segment(SegmentRequest { vocabulary: Some(inline(many)), ..sound() }),
        ),
        (R::CategoryNameInvalid, Message::Segment(with_words(&["dog", ""]))),
        (R::CategoryDuplicate, Message::Segment(with_words(&["dog", "cat", "Dog"]))),
        (R::CategoryDuplicate, Message::Infer(inferred(&categories(["a".to_owned(), "a".to_owned()])))),
        (
            R::VocabularyNotFound,
            Message::Segment(SegmentRequest { vocabulary: Some(named("none")), ..sound() }),
        ),
        (R::VocabularyNotFound, Message::Get(v1::GetVocabularyRequest { name: "none".into() })),
        (R::VocabularyNotFound, Message::Delete(v1::DeleteVocabularyRequest { name: "none".into() })),
        (
            R::OptionInvalid,
            Message::Segment(with_options(v1::SegmentOptions {
                score_threshold: Some(f32::NAN),
                ..Default::default()
            })),
        ),
        (
            R::OptionInvalid,
            Message::Segment(with_options(v1::SegmentOptions {
                top_k: Some(MAX_TOP_K + 1),
                ..Default::default()
            })),
        ),
        (
            R::OptionInvalid,
            Message::List(v1::ListVocabulariesRequest { page_size: 1, page_token: "zz".into() }),
        ),
        (
            R::OutputTooLarge,
            Message::Segment(with_options(v1::SegmentOptions {
                output_size: Some(large),
                ..Default::default()
            })),
        ),
        (R::MessageTooLarge, Message::Segment(with_file(vec![0; MAX_MESSAGE_BYTES + 1]))),
        (R::RequestMalformed, Message::Nonsense),
        (R::ImageNotFound, Message::Segment(with_image(unknown_image))),
        (R::VocabularyBuiltIn, Message::Delete(v1::DeleteVocabularyRequest { name: "ade20k-150".into() })),
        (R::StreamIdInvalid, Message::Stream(vec![on_stream("")])),
        (R::TokenMissing, Message::As(Caller::Nameless, sound())),
        (R::TokenInvalid, Message::As(Caller::Stranger, sound())),
        (R::TensorInvalid, Message::Infer(wrong_shape)),
        (R::ModelNotFound, Message::Infer(other_model)),
    ];
    messages.into_iter().map(|(reason, message)| Wrong { reason, message }).collect()
}

/// The error of a call; `None` where the call was given up.
fn error_of<T>(answer: Option<Result<T, Status>>) -> Option<Result<(), Status>> {
    answer.map(|answer| answer.map(|_| ()))
}

impl Wrong {
    /// Sends the request and expects its error.
    pub(crate) async fn ask(&self, shared: &Shared, line: &Line) {
        let outcome = match &self.message {
            Message::Segment(message) => {
                error_of(segment(shared, line, message, None, Patience::Ample).await)
            }
            Message::As(caller, message) => {
                let line = line.of(*caller);
                error_of(segment(shared, &line, message, None, Patience::Ample).await)
            }
            Message::Nonsense => nonsense(shared, line).await,
            Message::Stream(messages) => return self.on_stream(shared, line, messages).await,
            Message::Infer(message) => error_of(infer(shared, line, message, Patience::Ample).await),
            Message::Create(message) => {
                error_of(ask!(shared, line, CreateVocabulary, create_vocabulary, message))
            }
            Message::Get(message) => error_of(ask!(shared, line, GetVocabulary, get_vocabulary, message)),
            Message::List(message) => {
                error_of(ask!(shared, line, ListVocabularies, list_vocabularies, message))
            }
            Message::Delete(message) => {
                error_of(ask!(shared, line, DeleteVocabulary, delete_vocabulary, message))
            }
        };
        if let Some(outcome) = outcome {
            self.judge(shared, outcome);
        }
    }

    fn judge(&self, shared: &Shared, outcome: Result<(), Status>) {
        let judged = match outcome {
            Ok(()) => Err("it was answered".to_owned()),
            Err(status) => check_error(&status, &[&[self.reason], &BEFORE]),
        };
        shared.expect(&format!("a request that is wrong with {:?}", self.reason), judged);
    }

    /// Sends wrong requests on a stream, which itself ends well.
    async fn on_stream(&self, shared: &Shared, line: &Line, messages: &[v1::SegmentStreamRequest]) {
        let send = || {
            let (mut client, request) =
                (line.segmentation(), line.caller.request(tokio_stream::iter(messages.to_vec())));
            async move {
                let mut answers = client.segment_stream(request).await?.into_inner();
                let mut outcomes = Vec::new();
                while let Some(answer) = answers.message().await? {
                    outcomes.push(answer.outcome);
                }
                Ok(tonic::Response::new(outcomes))
            }
        };
        let Some(answer) = call(shared, "SegmentStream", line.caller, Patience::Ample, send).await else {
            return;
        };
        let outcomes = match answer {
            Ok(outcomes) => outcomes,
            Err(status) => {
                // Its connection is old: answers may have come before, which are not kept.
                shared.tally().gave_up_on_stream(messages.len() as u64);
                let judged = check_error(&status, &[&[ErrorReason::Reconnect]]);
                return shared.expect("a stream of wrong requests", judged);
            }
        };
        if outcomes.len() != messages.len() {
            let (sent, came) = (messages.len(), outcomes.len());
            shared.tally().violation(format!("{sent} requests on a stream had {came} answers"));
        }
        for outcome in outcomes {
            let error = match outcome {
                Some(v1::segment_stream_response::Outcome::Error(error)) => {
                    Some(crate::judgement::status_of(&error))
                }
                _ => None,
            };
            shared.tally().answered_on_stream(error.as_ref());
            self.judge(shared, error.map_or(Ok(()), Err));
        }
    }
}

/// Calls `Segment` with a message of another type.
async fn nonsense(shared: &Shared, line: &Line) -> Option<Result<(), Status>> {
    let send = || {
        let mut grpc = line.bare();
        // Field 1 of a request is a message; these bytes are none.
        let message = v1::RawImage { pixels: vec![0xff; 9].into(), ..Default::default() };
        let request = line.caller.request(message);
        async move {
            grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
            let codec = tonic_prost::ProstCodec::<v1::RawImage, v1::SegmentResponse>::default();
            let path = http::uri::PathAndQuery::from_static("/sed.v1.SegmentationService/Segment");
            grpc.unary(request, path, codec).await
        }
    };
    error_of(call(shared, "Segment", line.caller, Patience::Ample, send).await)
}
