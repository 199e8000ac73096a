//! Requests of the Open Inference Protocol, as a client writes them, and answers, as it reads them.

use std::collections::HashMap;

use prost::bytes::Bytes;
use sed_proto::inference::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse,
    grpc_inference_service_client::GrpcInferenceServiceClient,
    infer_parameter::ParameterChoice,
    model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
};
use tonic::transport::Channel;

use crate::harness::Running;

/// A tensor in both forms.
#[derive(Clone)]
pub(crate) struct Input {
    tensor: InferInputTensor,
    raw: Bytes,
}

pub(crate) fn client(server: &Running) -> GrpcInferenceServiceClient<Channel> {
    GrpcInferenceServiceClient::new(server.channel.clone()).max_decoding_message_size(usize::MAX)
}

fn input(name: &str, datatype: &str, shape: &[i64], contents: InferTensorContents, raw: Vec<u8>) -> Input {
    let tensor = InferInputTensor {
        name: name.into(),
        datatype: datatype.into(),
        shape: shape.to_vec(),
        parameters: HashMap::new(),
        contents: Some(contents),
    };
    Input { tensor, raw: raw.into() }
}

fn bytes(name: &str, shape: &[i64], elements: &[Vec<u8>]) -> Input {
    let raw = elements
        .iter()
        .flat_map(|element| (element.len() as u32).to_le_bytes().into_iter().chain(element.iter().copied()));
    let contents = InferTensorContents {
        bytes_contents: elements.iter().map(|element| element.clone().into()).collect(),
        ..Default::default()
    };
    input(name, "BYTES", shape, contents, raw.collect())
}

pub(crate) fn image(file: &[u8]) -> Input {
    bytes("image", &[1], &[file.to_vec()])
}

pub(crate) fn words(name: &str, shape: &[i64], words: &[&str]) -> Input {
    bytes(name, shape, &words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>())
}

/// The names of `harness::request`.
pub(crate) fn categories(count: usize) -> Input {
    let names: Vec<String> = (0..count).map(|index| format!("thing {index}")).collect();
    words("categories", &[count as i64], &names.iter().map(String::as_str).collect::<Vec<_>>())
}

pub(crate) fn pixels(height: i64, width: i64, pixels: &[u8]) -> Input {
    let uint_contents = pixels.iter().map(|value| (*value).into()).collect();
    let contents = InferTensorContents { uint_contents, ..Default::default() };
    input("pixels", "UINT8", &[height, width, 3], contents, pixels.to_vec())
}

fn request(inputs: Vec<InferInputTensor>) -> ModelInferRequest {
    ModelInferRequest { model_name: "fake".into(), inputs, ..Default::default() }
}

pub(crate) fn typed(inputs: &[Input]) -> ModelInferRequest {
    request(inputs.iter().map(|input| input.tensor.clone()).collect())
}

pub(crate) fn raw(inputs: &[Input]) -> ModelInferRequest {
    let bare = |input: &Input| InferInputTensor { contents: None, ..input.tensor.clone() };
    let raw_input_contents = inputs.iter().map(|input| input.raw.clone()).collect();
    ModelInferRequest { raw_input_contents, ..request(inputs.iter().map(bare).collect()) }
}

pub(crate) fn with(mut request: ModelInferRequest, more: &[(&str, ParameterChoice)]) -> ModelInferRequest {
    let parameter = |choice: &ParameterChoice| InferParameter { parameter_choice: Some(choice.clone()) };
    request.parameters.extend(more.iter().map(|(name, choice)| ((*name).to_owned(), parameter(choice))));
    request
}

pub(crate) fn wanted(name: &str) -> InferRequestedOutputTensor {
    InferRequestedOutputTensor { name: name.into(), parameters: HashMap::new() }
}

/// Datatype, shape and raw elements of an output.
pub(crate) fn output<'a>(answer: &'a ModelInferResponse, name: &str) -> (&'a str, &'a [i64], Vec<u8>) {
    let index = answer.outputs.iter().position(|output| output.name == name).unwrap();
    let output = &answer.outputs[index];
    (&output.datatype, &output.shape, answer.raw_output_contents[index].to_vec())
}

pub(crate) fn parameter<'a>(answer: &'a ModelInferResponse, name: &str) -> Option<&'a ParameterChoice> {
    answer.parameters.get(name)?.parameter_choice.as_ref()
}

/// Raw elements of UINT16.
pub(crate) fn numbers(raw: &[u8]) -> Vec<u32> {
    raw.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]).into()).collect()
}

/// Raw elements of FP32.
pub(crate) fn floats(raw: &[u8]) -> Vec<f32> {
    raw.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// Raw elements of BYTES.
pub(crate) fn texts(mut raw: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = raw.split_first_chunk::<4>() {
        let (text, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        texts.push(String::from_utf8(text.to_vec()).unwrap());
        raw = rest;
    }
    assert!(raw.is_empty());
    texts
}
