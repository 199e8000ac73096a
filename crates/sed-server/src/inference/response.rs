//! An answer of `sed.v1` as one of this protocol.

use std::{borrow::Cow, collections::HashMap, time::Duration};

use prost::Message;
use sed_proto::{
    inference::{
        InferParameter, ModelInferResponse, infer_parameter::ParameterChoice,
        model_infer_response::InferOutputTensor,
    },
    v1::{self, ErrorReason, mask::Content},
};

use super::{contents::Elements, metadata::Output};
use crate::{
    config::Settings, field::Field, request_error::RequestError, service::answer_size::check_response_size,
};

/// The field at fault if the answer cannot be made.
const OUTPUTS: Field = Field::Infer(Cow::Borrowed("outputs"));

/// The answer with these outputs. `id` is the caller's own.
pub(super) fn made_of(
    answer: v1::SegmentResponse,
    id: String,
    outputs: &[Output],
    typed: bool,
    limits: &Settings,
) -> Result<ModelInferResponse, RequestError> {
    let mut response = ModelInferResponse {
        model_name: answer.model_name.clone(),
        model_version: answer.model_digest.clone(),
        id,
        parameters: parameters(&answer),
        outputs: Vec::new(),
        raw_output_contents: Vec::new(),
    };
    for output in outputs {
        let (shape, elements) = tensor(*output, &answer)?;
        let contents = if typed {
            Some(elements.into_typed())
        } else {
            response.raw_output_contents.push(elements.into_raw());
            None
        };
        response.outputs.push(InferOutputTensor {
            name: output.name().to_owned(),
            datatype: output.datatype(typed).to_owned(),
            shape,
            parameters: HashMap::new(),
            contents,
        });
    }
    check_response_size(response.encoded_len(), limits, OUTPUTS)?;
    Ok(response)
}

/// Shape and elements of one output.
fn tensor(output: Output, answer: &v1::SegmentResponse) -> Result<(Vec<i64>, Elements), RequestError> {
    let categories = answer.categories.len();
    Ok(match output {
        Output::Mask | Output::Confidence | Output::RunnerUp | Output::Margin => {
            let mask = answer.masks.iter().find(|mask| Some(mask.encoding()) == output.encoding());
            let elements = match mask.and_then(|mask| mask.content.as_ref()) {
                Some(Content::RawIndices(indices)) => Elements::Uint16(indices.clone()),
                Some(Content::RawScores(values) | Content::RawMargins(values)) => {
                    Elements::Fp16(values.clone())
                }
                _ => return Err(RequestError::new(ErrorReason::Internal, OUTPUTS, "there is no mask")),
            };
            let size = answer.mask_size.unwrap_or_default();
            (vec![size.height.into(), size.width.into()], elements)
        }
        Output::Scores => {
            let scores = answer.categories.iter().map(|category| category.mean_score).collect();
            (vec![categories as i64], Elements::Fp32(scores))
        }
        Output::Survivors => {
            let levels = answer.rejection.as_ref().map_or(&[][..], |report| &report.levels);
            let mut survived = vec![false; levels.len() * categories];
            for (level, row) in levels.iter().zip(survived.chunks_exact_mut(categories)) {
                level.survivors.iter().for_each(|index| row[*index as usize] = true);
            }
            (vec![levels.len() as i64, categories as i64], Elements::Bool(survived))
        }
        Output::Names => {
            let names = answer.categories.iter().map(|category| category.name.clone()).collect();
            (vec![categories as i64], Elements::Texts(names))
        }
    })
}

/// The parameters of the answer, which sum up its reports.
fn parameters(answer: &v1::SegmentResponse) -> HashMap<String, InferParameter> {
    use ParameterChoice::{BoolParam, DoubleParam, Int64Param, StringParam};
    let count = |count: u64| Int64Param(i64::try_from(count).unwrap_or(i64::MAX));
    let mut said = vec![
        ("request_id", StringParam(answer.request_id.clone())),
        ("unlabelled_index", count(u64::from(sed_image::UNLABELLED))),
        ("unlabelled_pixels", count(answer.unlabelled_pixels)),
    ];
    if !answer.image_id.is_empty() {
        said.push(("image_id", StringParam(answer.image_id.clone())));
    }
    if !answer.warnings.is_empty() {
        let lines = answer.warnings.iter().map(|warning| format!("{}: {}", warning.field, warning.message));
        said.push(("warnings", StringParam(lines.collect::<Vec<_>>().join("\n"))));
    }
    if !answer.ambiguities.is_empty() {
        let lines = answer.ambiguities.iter().map(|pair| ambiguity(pair, &answer.categories));
        said.push(("ambiguities", StringParam(lines.collect::<Vec<_>>().join("\n"))));
    }
    if let Some(contrast) = &answer.contrast {
        said.push(("contrast", StringParam(contrast.names.join("\n"))));
        said.push(("contrast_pixels", count(contrast.pixels)));
    }
    if let Some(size) = &answer.image_size {
        said.push(("image_width", count(size.width.into())));
        said.push(("image_height", count(size.height.into())));
    }
    if let Some(rejection) = &answer.rejection {
        said.push(("top_k", count(rejection.top_k.into())));
    }
    if let Some(latency) = &answer.latency {
        let waits = latency.stages.iter().map(|stage| milliseconds(stage.queue_wait.as_ref()));
        said.push(("milliseconds", DoubleParam(milliseconds(latency.total.as_ref()))));
        said.push(("queue_milliseconds", DoubleParam(waits.sum())));
        said.push(("image_cache_hit", BoolParam(latency.image_cache_hit)));
        said.push(("vocabulary_cache_hit", BoolParam(latency.vocabulary_cache_hit)));
    }
    let parameter = |choice| InferParameter { parameter_choice: Some(choice) };
    said.into_iter().map(|(name, choice)| (name.to_owned(), parameter(choice))).collect()
}

/// An ambiguity in a line, as the command line prints it.
fn ambiguity(pair: &v1::Ambiguity, categories: &[v1::CategoryResult]) -> String {
    let name = |index: u32| categories.get(index as usize).map_or("", |category| category.name.as_str());
    format!(
        "{} or {}: {:.1} % of the picture, margin {:.2}",
        name(pair.first_index),
        name(pair.second_index),
        100.0 * pair.area_share,
        pair.mean_margin
    )
}

/// A time of a report; they are never negative.
fn milliseconds(time: Option<&prost_types::Duration>) -> f64 {
    let time = time.and_then(|time| Duration::try_from(*time).ok());
    time.map_or(0.0, |time| time.as_secs_f64() * 1e3)
}
