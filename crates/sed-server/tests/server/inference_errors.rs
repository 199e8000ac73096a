//! Each bad request of the Open Inference Protocol gets its code, its reason and its field, and leaves the
//! server answering.

use sed_engine::{Stage, StageError, fake::Fault};
use sed_proto::{
    inference::{
        self as proto, ModelInferRequest, grpc_inference_service_client::GrpcInferenceServiceClient,
        infer_parameter::ParameterChoice,
    },
    v1,
};
use sed_server::Settings;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    harness::{Running, facts, metadata},
    images,
    infer::{Input, categories, client, image, pixels, raw, typed, wanted, with, words},
    load::patient_transport,
};

fn expected(code: Code, reason: &str, field: &str) -> (Code, String, String) {
    (code, reason.to_string(), field.to_string())
}

fn invalid(reason: &str, field: &str) -> (Code, String, String) {
    expected(Code::InvalidArgument, reason, field)
}

fn good() -> [Input; 2] {
    [image(&images::png(40, 24)), categories(2)]
}

fn option(name: &str, choice: ParameterChoice) -> ModelInferRequest {
    with(raw(&good()), &[(name, choice)])
}

async fn refused(server: &Running, request: ModelInferRequest) -> Status {
    client(server).model_infer(request).await.unwrap_err()
}

#[tokio::test]
async fn every_bad_field_is_named() {
    let limits = Settings {
        max_image_bytes: Some(20_000),
        max_image_pixels: 10_000,
        max_image_side: 200,
        max_output_pixels: 5000,
        max_categories: 5,
        max_synonyms: 2,
        ..Settings::default()
    };
    let server = Running::start(limits).await;
    let with_image = |file: &[u8]| raw(&[image(file), categories(2)]);
    let text = |text: &str| ParameterChoice::StringParam(text.into());
    let synonyms = |synonyms: &[&str]| {
        let columns = synonyms.len() as i64 / 2;
        raw(&[image(&images::png(40, 24)), categories(2), words("synonyms", &[2, columns], synonyms)])
    };
    let damaged = &images::png(40, 24)[..80];
    let named = with(raw(&good()[..1]), &[("vocabulary", text("planets"))]);
    let lost = format!("img-{}", "00".repeat(32));
    let forgotten = with(raw(&[words("categories", &[1], &["cat"])]), &[("image_id", text(&lost))]);
    let cases = [
        (raw(&[]), invalid("FIELD_MISSING", "inputs")),
        (raw(&good()[..1]), invalid("FIELD_MISSING", "inputs")),
        (raw(&good()[1..]), invalid("FIELD_MISSING", "inputs")),
        (with_image(b""), invalid("IMAGE_CORRUPT", "raw_input_contents[0]")),
        (with_image(b"hello, I am text"), invalid("IMAGE_UNSUPPORTED", "raw_input_contents[0]")),
        (with_image(damaged), invalid("IMAGE_CORRUPT", "raw_input_contents[0]")),
        (
            typed(&[image(damaged), categories(2)]),
            invalid("IMAGE_CORRUPT", "inputs[0].contents.bytes_contents[0]"),
        ),
        (with_image(&[0; 20_001]), invalid("IMAGE_TOO_LARGE", "raw_input_contents[0]")),
        (with_image(&images::png(201, 2)), invalid("IMAGE_TOO_LARGE", "raw_input_contents[0]")),
        (
            raw(&[pixels(101, 100, &[0; 30_300]), categories(2)]),
            invalid("IMAGE_TOO_LARGE", "inputs[0].shape"),
        ),
        (with_image(&images::png(80, 80)), invalid("OUTPUT_TOO_LARGE", "parameters.output_size")),
        (option("output_size", text("80x80")), invalid("OUTPUT_TOO_LARGE", "parameters.output_size")),
        (raw(&[pixels(3, 4, &[0; 35]), categories(2)]), invalid("TENSOR_INVALID", "raw_input_contents[0]")),
        (raw(&[good()[0].clone(), categories(0)]), invalid("VOCABULARY_EMPTY", "inputs[1].shape")),
        (raw(&[good()[0].clone(), categories(6)]), invalid("VOCABULARY_TOO_LARGE", "inputs[1].shape")),
        (synonyms(&["a", "b", "c", "", "", ""]), invalid("VOCABULARY_TOO_LARGE", "inputs[2].shape")),
        (synonyms(&["", "a\u{7}"]), invalid("CATEGORY_NAME_INVALID", "raw_input_contents[2][1]")),
        (synonyms(&["Thing  0", ""]), invalid("CATEGORY_DUPLICATE", "raw_input_contents[2][0]")),
        (named, expected(Code::NotFound, "VOCABULARY_NOT_FOUND", "")),
        (forgotten, expected(Code::NotFound, "IMAGE_NOT_FOUND", "")),
        (
            ModelInferRequest { outputs: vec![wanted("masks")], ..raw(&good()) },
            invalid("TENSOR_INVALID", "outputs[0].name"),
        ),
        (option("top_k", ParameterChoice::Int64Param(5000)), invalid("OPTION_INVALID", "parameters.top_k")),
        (option("top_p", ParameterChoice::DoubleParam(0.5)), invalid("OPTION_INVALID", "parameters.top_p")),
        (ModelInferRequest { id: "x".repeat(129), ..raw(&good()) }, invalid("OPTION_INVALID", "id")),
    ];
    for (request, expected) in cases {
        let refused = refused(&server, request).await;
        assert_eq!(facts(&refused), expected, "{}", refused.message());
        client(&server).model_infer(raw(&good())).await.unwrap();
    }
}

#[tokio::test]
async fn a_model_that_is_not_here_is_not_found() {
    let server = Running::start(Settings::default()).await;
    let not_found = expected(Code::NotFound, "MODEL_NOT_FOUND", "");
    let long = "x".repeat(5000);
    for (name, version) in [("", ""), ("other", ""), (long.as_str(), ""), ("fake", "1")] {
        let infer =
            ModelInferRequest { model_name: name.into(), model_version: version.into(), ..raw(&good()) };
        let refused = refused(&server, infer).await;
        assert_eq!(facts(&refused), not_found);
        let asked = if version.is_empty() { name } else { version };
        let resource = refused.get_error_details().resource_info().unwrap().clone();
        assert_eq!(
            (resource.resource_type.as_str(), resource.resource_name.len()),
            ("inference.Model", asked.len().min(64))
        );
        let (name, version) = (name.to_string(), version.to_string());
        let ready = proto::ModelReadyRequest { name: name.clone(), version: version.clone() };
        assert_eq!(facts(&client(&server).model_ready(ready).await.unwrap_err()), not_found);
        let metadata = proto::ModelMetadataRequest { name, version };
        assert_eq!(facts(&client(&server).model_metadata(metadata).await.unwrap_err()), not_found);
    }
}

#[tokio::test]
async fn an_answer_that_grows_too_large_is_refused() {
    let server = Running::start(Settings { max_response_bytes: 2200, ..Settings::default() }).await;
    let all = refused(&server, raw(&good())).await;
    assert_eq!(facts(&all), invalid("OUTPUT_TOO_LARGE", "outputs"));
    assert_eq!(metadata(&all, "limit").as_deref(), Some("2200"));
    // Indices below 128 are shorter where they are typed.
    client(&server).model_infer(typed(&good())).await.unwrap();
    let scores = ModelInferRequest { outputs: vec![wanted("scores")], ..raw(&good()) };
    client(&server).model_infer(scores).await.unwrap();
}

#[tokio::test]
async fn a_message_above_the_limit_and_one_that_is_none_are_refused_in_our_words() {
    let server = Running::start(Settings { max_message_bytes: 100_000, ..Settings::default() }).await;
    let large = refused(&server, raw(&[image(&[0; 200_000]), categories(2)])).await;
    assert_eq!(facts(&large), expected(Code::OutOfRange, "MESSAGE_TOO_LARGE", ""));
    let mut grpc = tonic::client::Grpc::new(server.channel.clone());
    grpc.ready().await.unwrap();
    // Field 1 of a request is a text; these bytes are none.
    let nonsense = v1::RawImage { pixels: vec![0xff; 9].into(), ..Default::default() };
    let codec = tonic_prost::ProstCodec::<v1::RawImage, proto::ModelInferResponse>::default();
    let path = http::uri::PathAndQuery::from_static("/inference.GRPCInferenceService/ModelInfer");
    let refused: Status =
        grpc.unary(tonic::Request::new(nonsense), path, codec).await.map(|_| ()).unwrap_err();
    assert_eq!(facts(&refused), invalid("REQUEST_MALFORMED", ""));
}

#[tokio::test]
async fn deadlines_of_the_call_and_of_the_parameter_are_kept() {
    let server = Running::start(Settings::default()).await;
    client(&server).model_infer(option("timeout", ParameterChoice::Int64Param(30_000_000))).await.unwrap();
    for by_parameter in [true, false] {
        server.control.inject(Stage::Encode, Fault::Hold);
        // A picture of its own, so that it goes through the encoder.
        let fresh = images::png(41 + u32::from(by_parameter), 24);
        let mut request = tonic::Request::new(raw(&[image(&fresh), categories(2)]));
        if by_parameter {
            let timeout = ("timeout", ParameterChoice::Int64Param(300_000));
            *request.get_mut() = with(request.get_ref().clone(), &[timeout]);
        } else {
            request.metadata_mut().insert("grpc-timeout", "300m".parse().unwrap());
        }
        let (http, origin) = patient_transport(&server);
        let mut client = GrpcInferenceServiceClient::with_origin(http, origin);
        let late = client.model_infer(request).await.unwrap_err();
        assert_eq!(facts(&late), expected(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", ""));
        server.control.release();
    }
    let short = refused(&server, option("timeout", ParameterChoice::Int64Param(1))).await;
    assert_eq!(short.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_fault_of_the_server_tells_its_stage_and_harms_no_other() {
    let server = Running::start(Settings::default()).await;
    server.control.inject(Stage::CostMap, Fault::Fail(StageError::Failed("broken".into())));
    let failed = refused(&server, raw(&good())).await;
    assert_eq!(facts(&failed), expected(Code::Internal, "INTERNAL", ""));
    assert_eq!(metadata(&failed, "stage").as_deref(), Some("cost_map"));
    client(&server).model_infer(raw(&good())).await.unwrap();
}

#[tokio::test]
async fn what_is_not_served_is_unimplemented() {
    let server = Running::start(Settings::default()).await;
    let mut grpc = tonic::client::Grpc::new(server.channel.clone());
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<proto::ServerLiveRequest, proto::ServerLiveResponse>::default();
    let path = http::uri::PathAndQuery::from_static("/inference.GRPCInferenceService/ModelStreamInfer");
    let request = tonic::Request::new(proto::ServerLiveRequest {});
    let refused: Status = grpc.unary(request, path, codec).await.map(|_| ()).unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}
