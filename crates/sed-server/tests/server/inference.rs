//! The Open Inference Protocol over a real socket: the same answers as `sed.v1`, in its own form.

use std::time::Duration;

use sed_engine::Stage;
use sed_proto::{
    inference::{self as proto, infer_parameter::ParameterChoice},
    v1::{self, mask::Content},
};
use sed_server::Settings;
use tonic::Code;

use crate::{
    harness::{Running, facts, request, until, with_options},
    images,
    infer::{
        categories, client, floats, image, numbers, output, parameter, pixels, raw, texts, typed, with, words,
    },
};

/// The answer of `sed.v1` for the same picture and words, with much rejection.
async fn segmented(server: &Running, categories: usize) -> (Vec<u8>, v1::SegmentResponse) {
    let mask_encodings = vec![v1::MaskEncoding::Raw.into()];
    let options = v1::SegmentOptions { top_k: Some(1), mask_encodings, ..Default::default() };
    let answer = server.segment(with_options(categories, options)).await.unwrap();
    let Some(Content::RawIndices(indices)) = &answer.masks[0].content else { panic!("no indices") };
    (indices.to_vec(), answer)
}

#[tokio::test]
async fn every_output_is_what_segment_says_bit_for_bit() {
    let server = Running::start(Settings::default()).await;
    let (indices, segmented) = segmented(&server, 200).await;
    let names: Vec<String> = segmented.categories.iter().map(|category| category.name.clone()).collect();
    let scores: Vec<f32> = segmented.categories.iter().map(|category| category.mean_score).collect();
    let levels = &segmented.rejection.as_ref().unwrap().levels;
    let survived: Vec<bool> =
        levels.iter().flat_map(|level| (0..200).map(|index| level.survivors.contains(&index))).collect();
    assert!(survived.contains(&false) && survived.contains(&true));

    let picture = images::picture(40, 24).into_raw();
    for first in [image(&images::png(40, 24)), pixels(24, 40, &picture)] {
        let inputs = [first, categories(200)];
        let strict = |request| with(request, &[("top_k", ParameterChoice::Int64Param(1))]);
        let answer = client(&server).model_infer(strict(raw(&inputs))).await.unwrap().into_inner();
        assert_eq!(answer.raw_output_contents.len(), 4);
        assert_eq!(output(&answer, "mask"), ("UINT16", &[24, 40][..], indices.clone()));
        let bytes: Vec<u8> = scores.iter().flat_map(|score| score.to_le_bytes()).collect();
        assert_eq!(output(&answer, "scores"), ("FP32", &[200][..], bytes));
        let bytes = survived.iter().map(|survived| u8::from(*survived)).collect();
        assert_eq!(output(&answer, "survivors"), ("BOOL", &[3, 200][..], bytes));
        let (datatype, shape, bytes) = output(&answer, "names");
        assert_eq!((datatype, shape, texts(&bytes)), ("BYTES", &[200][..], names.clone()));

        let answer = client(&server).model_infer(strict(typed(&inputs))).await.unwrap().into_inner();
        assert!(answer.raw_output_contents.is_empty());
        let contents: Vec<_> = answer.outputs.iter().map(|output| output.contents.clone().unwrap()).collect();
        assert_eq!(contents[0].uint_contents, numbers(&indices));
        assert_eq!(contents[1].fp32_contents, scores);
        assert_eq!(contents[2].bool_contents, survived);
        assert_eq!(contents[3].bytes_contents, names);
    }
}

#[tokio::test]
async fn only_the_wanted_outputs_come_in_the_wanted_order() {
    let server = Running::start(Settings::default()).await;
    let mut request = raw(&[image(&images::png(40, 24)), categories(3)]);
    request.outputs = ["scores", "mask"].map(crate::infer::wanted).to_vec();
    let answer = client(&server).model_infer(request.clone()).await.unwrap().into_inner();
    let names: Vec<_> = answer.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!((names.as_slice(), answer.raw_output_contents.len()), (&["scores", "mask"][..], 2));
    let scores = floats(&output(&answer, "scores").2);
    request.outputs.pop();
    let answer = client(&server).model_infer(request).await.unwrap().into_inner();
    assert_eq!((answer.outputs.len(), floats(&output(&answer, "scores").2)), (1, scores));
}

#[tokio::test]
async fn sureness_comes_where_it_is_named() {
    let server = Running::start(Settings::default()).await;
    let encodings = [v1::MaskEncoding::ScoreRaw, v1::MaskEncoding::MarginRaw, v1::MaskEncoding::RunnerUpPng];
    let options =
        v1::SegmentOptions { mask_encodings: encodings.map(i32::from).to_vec(), ..Default::default() };
    let segmented = server.segment(with_options(9, options)).await.unwrap();
    let contents: Vec<_> = segmented.masks.iter().map(|mask| mask.content.as_ref().unwrap()).collect();
    let [Content::RawScores(scores), Content::RawMargins(margins), Content::RunnerUpPng(runner_up)] =
        contents[..]
    else {
        panic!("other contents")
    };
    let runner_up = sed_image::mask::png::decode(runner_up, 10_000).unwrap();
    let runner_up: Vec<u8> = runner_up.indices().iter().flat_map(|index| index.to_le_bytes()).collect();

    let inputs = [image(&images::png(40, 24)), categories(9)];
    let outputs = ["margin", "mask", "runner_up", "confidence"].map(crate::infer::wanted).to_vec();
    let request = proto::ModelInferRequest { outputs: outputs.clone(), ..raw(&inputs) };
    let answer = client(&server).model_infer(request).await.unwrap().into_inner();
    let shape = &[24, 40][..];
    assert_eq!(output(&answer, "confidence"), ("FP16", shape, scores.to_vec()));
    assert_eq!(output(&answer, "runner_up"), ("UINT16", shape, runner_up.clone()));
    assert_eq!(output(&answer, "margin"), ("FP16", shape, margins.to_vec()));

    // There are no typed floats of 16 bits.
    let request = proto::ModelInferRequest { outputs, ..typed(&inputs) };
    let answer = client(&server).model_infer(request).await.unwrap().into_inner();
    let wide = |bytes: &[u8]| -> Vec<f32> {
        bytes.chunks(2).map(|pair| sed_engine::f16::from_le_bytes([pair[0], pair[1]]).into()).collect()
    };
    let datatypes: Vec<_> = answer.outputs.iter().map(|output| output.datatype.as_str()).collect();
    assert_eq!(datatypes, ["FP32", "UINT16", "UINT16", "FP32"]);
    let contents: Vec<_> = answer.outputs.iter().map(|output| output.contents.clone().unwrap()).collect();
    assert_eq!(contents[0].fp32_contents, wide(margins));
    assert_eq!(contents[2].uint_contents, numbers(&runner_up));
    assert_eq!(contents[3].fp32_contents, wide(scores));
}

#[tokio::test]
async fn parameters_are_heeded_and_reported() {
    let server = Running::start(Settings::default()).await;
    let inputs = [image(&images::png(40, 24)), categories(9)];
    let request = with(
        raw(&inputs),
        &[
            ("top_k", ParameterChoice::Int64Param(1)),
            ("score_threshold", ParameterChoice::DoubleParam(0.9)),
            ("output_size", ParameterChoice::StringParam("20x10".into())),
            ("priority", ParameterChoice::Uint64Param(1)),
        ],
    );
    let request = proto::ModelInferRequest { id: "mine".into(), ..request };
    let answer = client(&server).model_infer(request).await.unwrap().into_inner();
    assert_eq!((answer.model_name.as_str(), answer.id.as_str()), ("fake", "mine"));
    let options = v1::SegmentOptions {
        top_k: Some(1),
        score_threshold: Some(0.9),
        output_size: Some(v1::OutputSize {
            kind: Some(v1::output_size::Kind::Exact(v1::Size { width: 20, height: 10 })),
        }),
        mask_encodings: vec![v1::MaskEncoding::Raw.into()],
        ..Default::default()
    };
    let segmented = server.segment(with_options(9, options)).await.unwrap();
    let Some(Content::RawIndices(indices)) = &segmented.masks[0].content else { panic!("no indices") };
    assert_eq!(output(&answer, "mask"), ("UINT16", &[10, 20][..], indices.to_vec()));
    assert_eq!(answer.model_version, segmented.model_digest);
    assert!(segmented.unlabelled_pixels > 0);
    for (name, expected) in [
        ("request_id", ParameterChoice::StringParam("mine".into())),
        ("image_id", ParameterChoice::StringParam(segmented.image_id)),
        ("unlabelled_index", ParameterChoice::Int64Param(65_535)),
        ("unlabelled_pixels", ParameterChoice::Int64Param(segmented.unlabelled_pixels as i64)),
        ("image_width", ParameterChoice::Int64Param(40)),
        ("image_height", ParameterChoice::Int64Param(24)),
        ("top_k", ParameterChoice::Int64Param(1)),
        ("image_cache_hit", ParameterChoice::BoolParam(false)),
        ("vocabulary_cache_hit", ParameterChoice::BoolParam(false)),
    ] {
        assert_eq!(parameter(&answer, name), Some(&expected), "{name}");
    }
    for time in ["milliseconds", "queue_milliseconds"] {
        let Some(ParameterChoice::DoubleParam(time)) = parameter(&answer, time) else { panic!("no {time}") };
        assert!(*time >= 0.0 && *time < 60_000.0);
    }
}

#[tokio::test]
async fn an_image_id_and_a_vocabularys_name_stand_for_inputs() {
    let server = Running::start(Settings::default()).await;
    let vocabulary = ("vocabulary", ParameterChoice::StringParam("pets".into()));
    let request = with(raw(&[image(&images::png(40, 24))]), std::slice::from_ref(&vocabulary));
    let first = client(&server).model_infer(request).await.unwrap().into_inner();
    assert_eq!(texts(&output(&first, "names").2), ["dog", "cat", "bird"]);
    assert_eq!(first.id, "");
    let Some(ParameterChoice::StringParam(id)) = parameter(&first, "request_id") else { panic!("no id") };
    assert!(!id.is_empty());

    let encoded = server.control.calls(Stage::Encode);
    let image_id = ("image_id", parameter(&first, "image_id").unwrap().clone());
    let again = with(raw(&[]), &[vocabulary, image_id]);
    let again = client(&server).model_infer(again).await.unwrap().into_inner();
    assert_eq!(server.control.calls(Stage::Encode), encoded);
    assert_eq!(parameter(&again, "image_cache_hit"), Some(&ParameterChoice::BoolParam(true)));
    assert_eq!(output(&again, "mask"), output(&first, "mask"));
}

#[tokio::test]
async fn synonyms_are_the_same_words_as_in_segment() {
    let server = Running::start(Settings::default()).await;
    let mut words = request(2);
    let category = |name: &str, synonyms: &[&str]| v1::Category {
        name: name.into(),
        synonyms: synonyms.iter().map(ToString::to_string).collect(),
    };
    let list = vec![category("thing 0", &["object", "stuff"]), category("thing 1", &[])];
    words.vocabulary = Some(crate::harness::inline(list));
    words.options =
        Some(v1::SegmentOptions { mask_encodings: vec![v1::MaskEncoding::Raw.into()], ..Default::default() });
    let segmented = server.segment(words).await.unwrap();
    let Some(Content::RawIndices(indices)) = &segmented.masks[0].content else { panic!("no indices") };

    let synonyms = crate::infer::words("synonyms", &[2, 2], &["object", "stuff", "", ""]);
    let request = raw(&[image(&images::png(40, 24)), categories(2), synonyms]);
    let answer = client(&server).model_infer(request).await.unwrap().into_inner();
    assert_eq!(output(&answer, "mask").2, indices.to_vec());
    // The engine knows the vocabulary by all its words.
    assert_eq!(parameter(&answer, "vocabulary_cache_hit"), Some(&ParameterChoice::BoolParam(true)));
}

#[tokio::test]
async fn the_model_tells_what_it_takes_and_gives() {
    let server = Running::start(Settings::default()).await;
    let about = client(&server).server_metadata(proto::ServerMetadataRequest {}).await.unwrap().into_inner();
    assert_eq!((about.name.as_str(), about.version.as_str()), ("sed-serve", env!("CARGO_PKG_VERSION")));
    assert_eq!(about.extensions, ["parameters", "schedule_policy"]);

    let asked = proto::ModelMetadataRequest { name: "fake".into(), version: String::new() };
    let model = client(&server).model_metadata(asked).await.unwrap().into_inner();
    let digest = server.segment(request(2)).await.unwrap().model_digest;
    assert_eq!((model.name.as_str(), model.versions.as_slice()), ("fake", &[digest.clone()][..]));
    let inputs: Vec<_> = model.inputs.iter().map(|input| input.name.as_str()).collect();
    assert_eq!(inputs, ["image", "pixels", "categories", "synonyms"]);

    // What an answer has is what the metadata promises.
    let pinned = proto::ModelInferRequest {
        model_version: digest,
        ..raw(&[image(&images::png(40, 24)), categories(3)])
    };
    let answer = client(&server).model_infer(pinned.clone()).await.unwrap().into_inner();
    let names = |answer: &proto::ModelInferResponse| -> Vec<String> {
        answer.outputs.iter().map(|output| output.name.clone()).collect()
    };
    assert_eq!(names(&answer), ["mask", "scores", "survivors", "names"]);
    let outputs = model.outputs.iter().map(|output| crate::infer::wanted(&output.name)).collect();
    let all = proto::ModelInferRequest { outputs, ..pinned };
    let all = client(&server).model_infer(all).await.unwrap().into_inner();
    assert_eq!(names(&all)[4..], ["confidence", "runner_up", "margin"]);
    assert_eq!(all.outputs.len(), model.outputs.len());
    for (given, promised) in all.outputs.iter().zip(&model.outputs) {
        assert_eq!((&given.name, &given.datatype), (&promised.name, &promised.datatype));
        assert_eq!(given.shape.len(), promised.shape.len(), "{}", given.name);
        let mut sizes = given.shape.iter().zip(&promised.shape);
        assert!(sizes.all(|(size, promised)| *promised == -1 || size == promised), "{}", given.name);
    }
}

#[tokio::test]
async fn readiness_follows_the_engine_and_the_shutdown() {
    let delay = Settings { shutdown_delay_seconds: 60.0, ..Settings::default() };
    let hold = |control: &sed_engine::fake::FakeControl| {
        control.inject(Stage::Encode, sed_engine::fake::Fault::Hold);
    };
    let mut server = Running::launch(delay, hold).await;
    assert!(client(&server).server_live(proto::ServerLiveRequest {}).await.unwrap().into_inner().live);
    assert_eq!(ready(&server).await, (false, false));
    let early = raw(&[image(&images::png(40, 24)), categories(2)]);
    let refused = client(&server).model_infer(early).await.unwrap_err();
    assert_eq!(facts(&refused), (Code::Unavailable, "MODEL_NOT_READY".into(), String::new()));

    server.control.release();
    server.engine.ready().await.unwrap();
    assert_eq!(ready(&server).await, (true, true));
    server.stop();
    let leaving = async {
        while ready(&server).await != (false, false) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), leaving).await.unwrap();
    // What comes before the doors are closed is still answered.
    let late = raw(&[image(&images::png(40, 24)), categories(2)]);
    client(&server).model_infer(late).await.unwrap();
}

/// The readiness of the server and of the model.
async fn ready(server: &Running) -> (bool, bool) {
    let all = client(server).server_ready(proto::ServerReadyRequest {}).await.unwrap().into_inner().ready;
    let request = proto::ModelReadyRequest { name: "fake".into(), version: String::new() };
    (all, client(server).model_ready(request).await.unwrap().into_inner().ready)
}

#[tokio::test]
async fn a_call_that_is_given_up_frees_its_place() {
    let server = Running::start(Settings { max_concurrent_requests: 1, ..Settings::default() }).await;
    server.control.inject(Stage::Encode, sed_engine::fake::Fault::Hold);
    let mut caller = client(&server);
    let request = raw(&[image(&images::png(40, 24)), categories(2)]);
    let running = tokio::spawn({
        let request = request.clone();
        async move { caller.model_infer(request).await }
    });
    let control = server.control.clone();
    assert!(tokio::task::spawn_blocking(move || control.wait_until_held()).await.unwrap());
    let refused = client(&server).model_infer(request.clone()).await.unwrap_err();
    assert_eq!(facts(&refused), (Code::ResourceExhausted, "QUEUE_FULL".into(), String::new()));
    running.abort();
    server.control.release();
    until(|| server.engine.queue_depth() == 0).await;
    for _ in 0..1000 {
        if client(&server).model_infer(request.clone()).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the place was not freed");
}

#[tokio::test]
async fn warnings_name_the_element_that_they_are_about() {
    let server = Running::start(Settings::default()).await;
    let ask = async |names: &[&str], synonyms: &[&str]| {
        let inputs = [
            image(&images::png(40, 24)),
            words("categories", &[2], names),
            words("synonyms", &[2, 1], synonyms),
        ];
        let answer = client(&server).model_infer(raw(&inputs)).await.unwrap().into_inner();
        parameter(&answer, "warnings").cloned()
    };
    let repeated = "raw_input_contents[1][1]: categories 0 and 1 are both called `bag`; only their index tells them apart";
    assert_eq!(
        ask(&["bag", "bag"], &["grip", "purse"]).await,
        Some(ParameterChoice::StringParam(repeated.into()))
    );
    assert_eq!(ask(&["bag", "sky"], &["grip", "purse"]).await, None);
}
