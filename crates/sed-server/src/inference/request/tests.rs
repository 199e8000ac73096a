use std::collections::HashMap;

use sed_engine::{Priority, Rejection, SynonymMode, fake::FakeReader};
use sed_proto::{
    inference::{
        InferParameter, InferTensorContents,
        infer_parameter::ParameterChoice,
        model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
    },
    v1::MaskEncoding,
};

use super::*;
use crate::validate::{
    CategoryName, CategoryThreshold, ContrastSource, ImageSource, OutputSize, SentImage, VocabularySource,
};

/// Elements that can be written in both forms.
#[derive(Clone, Debug)]
pub(super) enum Values {
    Texts(Vec<Vec<u8>>),
    Octets(Vec<u8>),
}

pub(super) fn input(name: &str, shape: &[i64], values: &Values) -> (InferInputTensor, Bytes) {
    let mut contents = InferTensorContents::default();
    let mut raw = Vec::new();
    let datatype = match values {
        Values::Texts(texts) => {
            for text in texts {
                raw.extend((text.len() as u32).to_le_bytes());
                raw.extend(text);
            }
            contents.bytes_contents = texts.iter().map(|text| text.clone().into()).collect();
            "BYTES"
        }
        Values::Octets(octets) => {
            raw.clone_from(octets);
            contents.uint_contents = octets.iter().map(|octet| (*octet).into()).collect();
            "UINT8"
        }
    };
    let tensor = InferInputTensor {
        name: name.into(),
        datatype: datatype.into(),
        shape: shape.to_vec(),
        parameters: HashMap::new(),
        contents: Some(contents),
    };
    (tensor, raw.into())
}

fn texts(texts: &[&str]) -> Values {
    Values::Texts(texts.iter().map(|text| text.as_bytes().to_vec()).collect())
}

pub(super) fn typed(inputs: &[(InferInputTensor, Bytes)]) -> ModelInferRequest {
    let inputs = inputs.iter().map(|(tensor, _)| tensor.clone()).collect();
    ModelInferRequest { inputs, ..Default::default() }
}

pub(super) fn raw(inputs: &[(InferInputTensor, Bytes)]) -> ModelInferRequest {
    let bare =
        |(tensor, _): &(InferInputTensor, Bytes)| InferInputTensor { contents: None, ..tensor.clone() };
    ModelInferRequest {
        inputs: inputs.iter().map(bare).collect(),
        raw_input_contents: inputs.iter().map(|(_, raw)| raw.clone()).collect(),
        ..Default::default()
    }
}

fn image() -> (InferInputTensor, Bytes) {
    input("image", &[1], &texts(&["not looked at"]))
}

fn pixels(shape: &[i64], length: usize) -> (InferInputTensor, Bytes) {
    input("pixels", shape, &Values::Octets(vec![7; length]))
}

pub(super) fn categories(names: &[&str]) -> (InferInputTensor, Bytes) {
    input("categories", &[names.len() as i64], &texts(names))
}

fn with(name: &str, choice: ParameterChoice) -> ModelInferRequest {
    let mut request = raw(&[image(), categories(&["cat"])]);
    let parameter = InferParameter { parameter_choice: Some(choice) };
    request.parameters.insert(name.into(), parameter);
    request
}

fn text(text: &str) -> ParameterChoice {
    ParameterChoice::StringParam(text.into())
}

pub(super) fn valid(request: &ModelInferRequest) -> ValidatedInfer {
    validate_infer(request, &Settings::default(), &FakeReader).unwrap()
}

fn refusal(request: &ModelInferRequest) -> (ErrorReason, String) {
    let error = validate_infer(request, &Settings::default(), &FakeReader).unwrap_err();
    (error.reason, error.field.to_string())
}

fn tensor(field: &str) -> (ErrorReason, String) {
    (ErrorReason::TensorInvalid, field.into())
}

fn option(field: &str) -> (ErrorReason, String) {
    (ErrorReason::OptionInvalid, field.into())
}

#[test]
fn both_forms_mean_the_same() {
    let synonyms = input("synonyms", &[2, 2], &texts(&["", "kitty", "", ""]));
    let inputs = [pixels(&[2, 1, 3], 6), categories(&["cat", "sky"]), synonyms];
    let (raw, typed) = (valid(&raw(&inputs)), valid(&typed(&inputs)));
    assert_eq!(raw.request, typed.request);
    assert_eq!((raw.typed, typed.typed), (false, true));
    let ImageSource::Sent(SentImage::Raw { width, height, .. }) = raw.request.image else {
        panic!("no pixels")
    };
    assert_eq!((width, height), (1, 2));
    let VocabularySource::Inline(vocabulary) = raw.request.words.source else { panic!("no words") };
    let words: Vec<_> =
        vocabulary.categories().iter().map(|category| (&*category.name, category.synonyms.len())).collect();
    assert_eq!(words, [("cat", 1), ("sky", 0)]);
}

#[test]
fn parameters_are_the_options() {
    let of = |name: &str, choice| valid(&with(name, choice)).request.options;
    assert_eq!(of("top_k", ParameterChoice::Int64Param(0)).rejection, Some(Rejection::Off));
    assert_eq!(of("top_k", ParameterChoice::Uint64Param(9)).rejection, Some(Rejection::from_top_k(9)));
    assert_eq!(of("score_threshold", ParameterChoice::DoubleParam(0.5)).score_threshold, 0.5);
    assert_eq!(of("score_threshold", ParameterChoice::Int64Param(1)).score_threshold, 1.0);
    assert_eq!(of("min_area", ParameterChoice::Int64Param(7)).min_area, 7);
    let thresholds = of("category_thresholds", text(r#"{"cat": 0.5}"#)).category_thresholds;
    let name = CategoryName::Name("cat".into());
    assert_eq!(thresholds, [CategoryThreshold { category: name, threshold: 0.5 }]);
    valid(&with("report_ambiguities", ParameterChoice::BoolParam(true)));
    assert_eq!(of("output_size", text("model")).output_size, OutputSize::Model);
    let exact = OutputSize::Exact { width: 64, height: 48 };
    assert_eq!(of("output_size", text("64x48")).output_size, exact);
    assert_eq!(of("resize_mode", text("two_step")).resize_mode, sed_image::ResizeMode::TwoStep);
    for (choice, priority) in [
        (text("high"), Priority::High),
        (ParameterChoice::Uint64Param(1), Priority::High),
        (ParameterChoice::Int64Param(0), Priority::Normal),
        (ParameterChoice::Int64Param(3), Priority::Low),
    ] {
        assert_eq!(of("priority", choice).priority, priority);
    }
    let timeout = |time| valid(&with("timeout", ParameterChoice::Int64Param(time))).timeout;
    assert_eq!((timeout(1500), timeout(0)), (Some(Duration::from_micros(1500)), None));
}

#[test]
fn parameters_say_how_words_count_and_what_competes_with_them() {
    let words = |name, value| valid(&with(name, text(value))).request.words;
    let VocabularySource::Inline(best) = words("synonym_mode", "best").source else { panic!("no words") };
    assert_eq!(best.synonym_mode(), SynonymMode::Best);
    assert_eq!(words("contrast", "auto").contrast, ContrastSource::Auto);
    assert_eq!(words("contrast", "voc-20").contrast, ContrastSource::Named("voc-20".into()));
    // Words that are written out have none of their own.
    assert_eq!(words("contrast", "off").contrast, ContrastSource::Vocabulary);
}

#[test]
fn parameters_can_stand_for_inputs() {
    let mut request = with("vocabulary", text("pets"));
    request.inputs.truncate(1);
    request.raw_input_contents.truncate(1);
    assert_eq!(valid(&request).request.words.source, VocabularySource::Named("pets".into()));
    let mut request = with("image_id", text(&format!("img-{}", "0a".repeat(32))));
    request.inputs.remove(0);
    request.raw_input_contents.remove(0);
    assert!(matches!(valid(&request).request.image, ImageSource::Id(_)));
}

#[test]
fn only_wanted_outputs_are_made() {
    let wanting = |names: &[&str]| {
        let wanted = |name: &&str| InferRequestedOutputTensor { name: (*name).into(), ..Default::default() };
        let outputs = names.iter().map(wanted).collect();
        ModelInferRequest { outputs, ..raw(&[image(), categories(&["cat"])]) }
    };
    assert_eq!(valid(&wanting(&[])).outputs, Output::USUAL);
    let some = valid(&wanting(&["names", "mask"]));
    assert_eq!(some.outputs, [Output::Names, Output::Mask]);
    assert_eq!(some.request.options.mask_encodings, [MaskEncoding::Raw]);
    assert!(valid(&wanting(&["scores"])).request.options.mask_encodings.is_empty());
    let sure = valid(&wanting(&["margin", "names", "runner_up", "mask", "confidence"])).request.options;
    let encodings =
        [MaskEncoding::MarginRaw, MaskEncoding::RunnerUpPng, MaskEncoding::Raw, MaskEncoding::ScoreRaw];
    assert_eq!(sure.mask_encodings, encodings);
    assert!(sure.raw_runner_up);
    assert_eq!(refusal(&wanting(&["mask", "masks"])), tensor("outputs[1].name"));
    assert_eq!(refusal(&wanting(&["mask", "mask"])), tensor("outputs[1].name"));
    let mut classification = wanting(&["scores"]);
    classification.outputs[0].parameters.insert("classification".into(), InferParameter::default());
    assert_eq!(refusal(&classification), option("outputs[0].parameters"));
}

#[test]
fn every_bad_tensor_is_named() {
    let cat = || categories(&["cat"]);
    let refused = |inputs: &[_]| {
        let refused = refusal(&raw(inputs));
        assert_eq!(refused.0, refusal(&typed(inputs)).0);
        refused
    };
    let changed = |change: fn(&mut InferInputTensor)| {
        let mut image = image();
        change(&mut image.0);
        refused(&[image, cat()])
    };
    let shape = tensor("inputs[0].shape");
    assert_eq!(changed(|image| image.name = "picture".into()), tensor("inputs[0].name"));
    assert_eq!(changed(|image| image.datatype = "UINT8".into()), tensor("inputs[0].datatype"));
    for wrong in [&[][..], &[1, 1], &[-1]] {
        let mut image = image();
        image.0.shape = wrong.to_vec();
        assert_eq!(refused(&[image, cat()]), shape);
    }
    assert_eq!(changed(|image| image.shape = vec![2]), tensor("raw_input_contents[0]"));
    assert_eq!(refused(&[input("image", &[2], &texts(&["a", "b"])), cat()]), shape);
    assert_eq!(changed(|image| drop(image.parameters.insert("shared".into(), InferParameter::default()))), {
        option("inputs[0].parameters")
    });
    for wrong in [&[4, 3][..], &[3, 4, 3], &[0, 4, 3], &[4, 3, 1], &[4, 3, -3], &[i64::MAX, i64::MAX, 3]] {
        let (reason, field) = refused(&[pixels(wrong, 12), cat()]);
        assert!(reason == ErrorReason::TensorInvalid, "{wrong:?}");
        assert!(["inputs[0].shape", "raw_input_contents[0]"].contains(&&*field), "{wrong:?}: {field}");
    }
    assert_eq!(refused(&[image(), image()]), tensor("inputs[1].name"));
    assert_eq!(refused(&[image(), pixels(&[1, 1, 3], 3), cat()]), tensor("inputs[1].name"));
    assert_eq!(refused(&[image()]), (ErrorReason::FieldMissing, "inputs".into()));
    assert_eq!(refused(&[cat()]), (ErrorReason::FieldMissing, "inputs".into()));

    let synonyms = |shape: &[i64]| input("synonyms", shape, &texts(&["kitty"]));
    assert_eq!(refused(&[image(), cat(), synonyms(&[1])]), tensor("inputs[2].shape"));
    assert_eq!(
        refused(&[image(), categories(&["cat", "dog"]), synonyms(&[1, 1])]),
        tensor("inputs[2].shape")
    );
    assert_eq!(refused(&[image(), synonyms(&[1, 1])]), tensor("inputs[1].name"));
}

#[test]
fn every_bad_content_is_named() {
    let inputs = [image(), categories(&["cat", "dog"])];
    let mut mixed = raw(&inputs);
    mixed.inputs[1].contents.clone_from(&inputs[1].0.contents);
    assert_eq!(refusal(&mixed), tensor("inputs[1].contents"));
    let mut short = raw(&inputs);
    short.raw_input_contents.pop();
    assert_eq!(refusal(&short), tensor("raw_input_contents"));
    let mut wrong_field = typed(&inputs);
    wrong_field.inputs[0].contents.as_mut().unwrap().fp32_contents = vec![1.0];
    assert_eq!(refusal(&wrong_field), tensor("inputs[0].contents.fp32_contents"));
    let mut nothing = typed(&inputs);
    nothing.inputs[0].contents = None;
    assert_eq!(refusal(&nothing), tensor("inputs[0].contents.bytes_contents"));
    let mut bright = typed(&[pixels(&[1, 1, 3], 3), categories(&["cat"])]);
    bright.inputs[0].contents.as_mut().unwrap().uint_contents[2] = 256;
    assert_eq!(refusal(&bright), tensor("inputs[0].contents.uint_contents[2]"));
    let names = inputs[1].1.to_vec();
    for (bytes, said) in [
        (names[..9].to_vec(), "ends within the length of element 1"),
        (names[..12].to_vec(), "ends within the bytes of element 1"),
        (names[..7].to_vec(), "has 1 elements, but the shape [2] has 2"),
        ([names.as_slice(), &[0; 4]].concat(), "goes on behind the 2 elements of the shape [2]"),
    ] {
        let mut request = raw(&inputs);
        request.raw_input_contents[1] = bytes.into();
        let error = validate_infer(&request, &Settings::default(), &FakeReader).unwrap_err();
        assert_eq!(
            (error.field.to_string().as_str(), error.message.as_str()),
            ("raw_input_contents[1]", said)
        );
    }
}

#[test]
fn every_bad_word_is_named_in_its_form() {
    let with_names = |names: &[&str]| [image(), categories(names)];
    let invalid = |field: &str| (ErrorReason::CategoryNameInvalid, field.to_string());
    assert_eq!(refusal(&raw(&with_names(&["cat", ""]))), invalid("raw_input_contents[1][1]"));
    assert_eq!(refusal(&typed(&with_names(&["cat", ""]))), invalid("inputs[1].contents.bytes_contents[1]"));
    assert_eq!(refusal(&raw(&with_names(&[]))), (ErrorReason::VocabularyEmpty, "inputs[1].shape".into()));
    let twice = (ErrorReason::CategoryDuplicate, "raw_input_contents[1][1]".to_string());
    assert_eq!(refusal(&raw(&with_names(&["cat", "Cat"]))), twice);
    let binary = [image(), input("categories", &[1], &Values::Texts(vec![vec![0xff]]))];
    assert_eq!(refusal(&raw(&binary)), invalid("raw_input_contents[1][0]"));

    let synonyms = input("synonyms", &[2, 2], &texts(&["", "kitty", "", "a\u{7}"]));
    let [image, categories] = with_names(&["cat", "dog"]);
    assert_eq!(refusal(&raw(&[image, categories, synonyms])), invalid("raw_input_contents[2][3]"));
    let empty = [input("image", &[1], &texts(&[""])), self::categories(&["cat"])];
    assert_eq!(refusal(&raw(&empty)), (ErrorReason::ImageCorrupt, "raw_input_contents[0]".into()));
    let path = "inputs[0].contents.bytes_contents[0]".to_string();
    assert_eq!(refusal(&typed(&empty)), (ErrorReason::ImageCorrupt, path));
}

#[test]
fn every_bad_parameter_is_named() {
    use ParameterChoice::{BoolParam, DoubleParam, Int64Param, Uint64Param};
    for (name, choice) in [
        ("top_k", Int64Param(-1)),
        ("top_k", Int64Param(1025)),
        ("top_k", Uint64Param(u64::MAX)),
        ("top_k", DoubleParam(8.0)),
        ("score_threshold", DoubleParam(1.5)),
        ("score_threshold", DoubleParam(f64::NAN)),
        ("score_threshold", text("0.5")),
        ("min_area", Int64Param(1 << 32)),
        ("category_thresholds", text("0.5")),
        ("category_thresholds", text(r#"{"cat": 1.5}"#)),
        ("category_thresholds", DoubleParam(0.5)),
        ("synonym_mode", text("all")),
        ("synonym_mode", Int64Param(2)),
        ("contrast", BoolParam(true)),
        ("report_ambiguities", text("true")),
        ("output_size", text("640")),
        ("output_size", text("+6x4")),
        ("output_size", text("x")),
        ("output_size", text("0x4")),
        ("resize_mode", text("")),
        ("priority", Int64Param(4)),
        ("priority", text("urgent")),
        ("timeout", Int64Param(-1)),
        ("request_id", text("a")),
        ("polygon_tolerance", DoubleParam(1.0)),
        ("vocabulary", BoolParam(true)),
        ("vocabulary", text("pets")),
        ("image_id", text("img-")),
    ] {
        assert_eq!(refusal(&with(name, choice)), option(&format!("parameters.{name}")));
    }
    let huge = with("output_size", text("99999x2"));
    assert_eq!(refusal(&huge), (ErrorReason::OutputTooLarge, "parameters.output_size".into()));
    let long = "x".repeat(100_000);
    for strange in [long.as_str(), "tab\t"] {
        assert_eq!(refusal(&with(strange, Int64Param(1))), option("parameters"));
    }
    let mut empty = with("top_k", Int64Param(1));
    empty.parameters.insert("top_k".into(), InferParameter::default());
    assert_eq!(refusal(&empty), option("parameters.top_k"));
    let id = ModelInferRequest { id: "tab\t".into(), ..raw(&[image(), categories(&["cat"])]) };
    assert_eq!(refusal(&id), option("id"));
}
