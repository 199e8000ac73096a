//! Any request at all: sound, or an error in this protocol's words.

use std::collections::HashMap;

use proptest::prelude::*;
use prost::Message;
use sed_engine::fake::FakeReader;
use sed_proto::inference::{
    InferParameter, InferTensorContents,
    infer_parameter::ParameterChoice,
    model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
};

use super::{
    tests::{Values, categories, input, raw, typed, valid},
    *,
};
use crate::validate::{ImageSource, SentImage};

fn any_choice() -> impl Strategy<Value = Option<ParameterChoice>> {
    prop_oneof![
        any::<bool>().prop_map(|value| Some(ParameterChoice::BoolParam(value))),
        (-2_i64..5).prop_map(|value| Some(ParameterChoice::Int64Param(value))),
        any::<u64>().prop_map(|value| Some(ParameterChoice::Uint64Param(value))),
        (-0.5_f64..1.5).prop_map(|value| Some(ParameterChoice::DoubleParam(value))),
        "original|model|two_step|low|best|auto|\\{\"a\": 0\\.[0-9]\\}|[0-9]{0,5}x[0-9]{0,5}|.{0,5}"
            .prop_map(|value| Some(ParameterChoice::StringParam(value))),
        Just(None),
    ]
}

fn any_input() -> impl Strategy<Value = InferInputTensor> {
    let contents = (
        prop::collection::vec(0_u32..300, 0..13),
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..4),
        prop::collection::vec(any::<f32>(), 0..2),
    );
    let contents = contents.prop_map(|(uint_contents, texts, fp32_contents)| InferTensorContents {
        uint_contents,
        bytes_contents: texts.into_iter().map(Bytes::from).collect(),
        fp32_contents,
        ..Default::default()
    });
    let name = "image|pixels|categories|synonyms|[a-c]{0,2}";
    let shape = prop::collection::vec(prop_oneof![0_i64..5, Just(3), any::<i64>()], 0..4);
    (name, "BYTES|UINT8|FP32", shape, prop::option::of(contents)).prop_map(
        |(name, datatype, shape, contents)| InferInputTensor {
            name,
            datatype,
            shape,
            parameters: HashMap::new(),
            contents,
        },
    )
}

fn any_request() -> impl Strategy<Value = ModelInferRequest> {
    let name = "top_k|score_threshold|output_size|resize_mode|min_area|priority|timeout|vocabulary|image_id|\
                synonym_mode|contrast|category_thresholds|report_ambiguities|.{0,3}";
    let parameters = prop::collection::hash_map(name, any_choice(), 0..3);
    let inputs = prop::collection::vec(any_input(), 0..4);
    let raw = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..16), 0..4);
    let outputs =
        prop::collection::vec("mask|scores|survivors|names|confidence|runner_up|margin|[a-c]", 0..3);
    (inputs, raw, parameters, outputs, ".{0,3}").prop_map(|(inputs, raw, parameters, outputs, id)| {
        let parameter = |(name, choice)| (name, InferParameter { parameter_choice: choice });
        let wanted = |name| InferRequestedOutputTensor { name, parameters: HashMap::new() };
        ModelInferRequest {
            inputs,
            raw_input_contents: raw.into_iter().map(Bytes::from).collect(),
            parameters: parameters.into_iter().map(parameter).collect(),
            outputs: outputs.into_iter().map(wanted).collect(),
            id,
            ..Default::default()
        }
    })
}

fn check_any(request: &ModelInferRequest) {
    let Err(error) = validate_infer(request, &Settings::default(), &FakeReader) else { return };
    assert_eq!(crate::status::code_of(error.reason), tonic::Code::InvalidArgument);
    assert!(!error.message.is_empty());
    let ours = ["inputs", "raw_input_contents", "outputs", "parameters", "id"];
    assert!(ours.iter().any(|word| error.field.to_string().starts_with(word)), "{}", error.field);
}

proptest! {
    #[test]
    fn any_request_is_sound_or_an_error_in_this_protocols_words(request in any_request()) {
        check_any(&request);
    }

    #[test]
    fn any_pixels_mean_the_same_in_both_forms(
        (height, width, octets) in (1_usize..4, 1_usize..4).prop_flat_map(|(height, width)| {
            (Just(height), Just(width), prop::collection::vec(any::<u8>(), height * width * 3))
        }),
        names in prop::collection::hash_set("[a-z]{1,8}", 1..5),
    ) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let pixels = input("pixels", &[height as i64, width as i64, 3], &Values::Octets(octets.clone()));
        let inputs = [categories(&names), pixels];
        let request = valid(&raw(&inputs)).request;
        prop_assert_eq!(&request, &valid(&typed(&inputs)).request);
        let ImageSource::Sent(SentImage::Raw { pixels, width: wide, height: high, .. }) = request.image else {
            panic!("no pixels")
        };
        prop_assert_eq!((pixels.to_vec(), wide as usize, high as usize), (octets, width, height));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(request) = ModelInferRequest::decode(bytes.as_slice()) {
            check_any(&request);
        }
    }
}
