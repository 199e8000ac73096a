//! Requests of the Open Inference Protocol.

use std::collections::HashMap;

use bytes::Bytes;
use sed_proto::{
    inference::{
        InferParameter, ModelInferRequest,
        infer_parameter::ParameterChoice,
        model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
    },
    v1,
};

use super::words;

/// The name by which the server knows its model.
pub(crate) const MODEL: &str = "sed-nano";

const OUTPUTS: [&str; 7] = ["mask", "scores", "survivors", "names", "confidence", "runner_up", "margin"];

/// An input and its elements in raw form.
pub(crate) type Input = (InferInputTensor, Bytes);

fn input(name: &str, datatype: &str, shape: Vec<i64>, raw: Vec<u8>) -> Input {
    let (name, datatype, parameters) = (name.to_owned(), datatype.to_owned(), HashMap::new());
    (InferInputTensor { name, datatype, shape, parameters, contents: None }, raw.into())
}

fn texts<'a>(elements: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut raw = Vec::new();
    for element in elements {
        raw.extend((element.len() as u32).to_le_bytes());
        raw.extend(element);
    }
    raw
}

/// A picture as an input; one without bytes of its own has none.
pub(crate) fn image(image: &v1::Image) -> Input {
    match image.source.as_ref().unwrap() {
        v1::image::Source::Encoded(file) => input("image", "BYTES", vec![1], texts([&file[..]])),
        v1::image::Source::Raw(raw) => {
            let shape = vec![raw.height.into(), raw.width.into(), 3];
            input("pixels", "UINT8", shape, raw.pixels.to_vec())
        }
        v1::image::Source::Id(_) => unreachable!("pictures of the catalogue have bytes"),
    }
}

/// Words as an input.
pub(crate) fn categories(list: &v1::CategoryList) -> Input {
    let names = list.categories.iter().map(|category| category.name.as_bytes());
    input("categories", "BYTES", vec![list.categories.len() as i64], texts(names))
}

/// A request with these inputs.
pub(crate) fn request(inputs: impl IntoIterator<Item = Input>) -> ModelInferRequest {
    let (inputs, raw_input_contents) = inputs.into_iter().unzip();
    ModelInferRequest { model_name: MODEL.into(), inputs, raw_input_contents, ..Default::default() }
}

/// A request for some outputs of a picture.
pub(super) fn draw(random: &mut fastrand::Rng, picture: &v1::Image) -> ModelInferRequest {
    let count = random.usize(1..16);
    let mut request = request([image(picture), categories(&words::some(random, count))]);
    if random.bool() {
        let parameter_choice = Some(ParameterChoice::Int64Param(random.i64(0..6)));
        request.parameters.insert("top_k".into(), InferParameter { parameter_choice });
    }
    let wanted =
        |name: &&str| InferRequestedOutputTensor { name: (*name).to_owned(), parameters: HashMap::new() };
    request.outputs = OUTPUTS[..random.usize(0..=OUTPUTS.len())].iter().map(wanted).collect();
    request
}
