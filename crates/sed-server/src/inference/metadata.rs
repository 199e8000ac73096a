//! The model as generic clients see it: its name, version, inputs and outputs.

use sed_engine::ModelInfo;
use sed_proto::{
    inference::{ModelMetadataResponse, ServerMetadataResponse, model_metadata_response::TensorMetadata},
    v1::MaskEncoding,
};

use crate::service::refusal::Refusal;

/// Triton's names of the extensions that the parameters make up.
const EXTENSIONS: [&str; 2] = ["parameters", "schedule_policy"];

/// The inputs. None is required in every request: each is optional, or another input or a parameter can
/// replace it.
const INPUTS: [(&str, &str, &[i64]); 4] = [
    ("image", "BYTES", &[1]),
    ("pixels", "UINT8", &[-1, -1, 3]),
    ("categories", "BYTES", &[-1]),
    ("synonyms", "BYTES", &[-1, -1]),
];

/// A tensor of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The category's index of every pixel.
    Mask,
    /// The mean score of every category.
    Scores,
    /// The categories that every decoder level worked on.
    Survivors,
    /// The categories' names.
    Names,
    /// The score of every pixel's category, before thresholds and `min_area`.
    Confidence,
    /// The index of the second best category of every pixel.
    RunnerUp,
    /// The score of every pixel's category less that of the second best.
    Margin,
}

impl Output {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Mask,
        Self::Scores,
        Self::Survivors,
        Self::Names,
        Self::Confidence,
        Self::RunnerUp,
        Self::Margin,
    ];

    /// Those of a request that names none. The others cost something.
    pub const USUAL: [Self; 4] = [Self::Mask, Self::Scores, Self::Survivors, Self::Names];

    /// Its name in requests and answers.
    pub fn name(self) -> &'static str {
        self.metadata().0
    }

    /// Its type of data in an answer. Typed floats of 16 bits have no field, so they become ones of 32.
    pub(super) fn datatype(self, typed: bool) -> &'static str {
        match self.metadata().1 {
            "FP16" if typed => "FP32",
            datatype => datatype,
        }
    }

    /// The mask of `sed.v1` that it is made of.
    pub(super) fn encoding(self) -> Option<MaskEncoding> {
        match self {
            Self::Mask => Some(MaskEncoding::Raw),
            Self::Confidence => Some(MaskEncoding::ScoreRaw),
            Self::RunnerUp => Some(MaskEncoding::RunnerUpPng),
            Self::Margin => Some(MaskEncoding::MarginRaw),
            Self::Scores | Self::Survivors | Self::Names => None,
        }
    }

    /// The output of a name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|output| output.name() == name)
    }

    fn metadata(self) -> (&'static str, &'static str, &'static [i64]) {
        match self {
            Self::Mask => ("mask", "UINT16", &[-1, -1]),
            Self::Scores => ("scores", "FP32", &[-1]),
            Self::Survivors => ("survivors", "BOOL", &[3, -1]),
            Self::Names => ("names", "BYTES", &[-1]),
            Self::Confidence => ("confidence", "FP16", &[-1, -1]),
            Self::RunnerUp => ("runner_up", "UINT16", &[-1, -1]),
            Self::Margin => ("margin", "FP16", &[-1, -1]),
        }
    }
}

/// Refuses all models but the server's. The version is the model's digest, so a caller that has pinned it
/// never gets another model.
pub(super) fn check_model(model: &ModelInfo, name: &str, version: &str) -> Result<(), Refusal> {
    if name != model.name {
        return Err(Refusal::UnknownModel {
            asked: name.into(),
            held: format!("the model {:?}", model.name),
        });
    }
    if !version.is_empty() && version != model.digest {
        let held = format!("version {:?} of {:?}", model.digest, model.name);
        return Err(Refusal::UnknownModel { asked: version.into(), held });
    }
    Ok(())
}

pub(super) fn server() -> ServerMetadataResponse {
    ServerMetadataResponse {
        name: "sed-serve".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions: EXTENSIONS.map(str::to_owned).to_vec(),
    }
}

pub(super) fn model(model: &ModelInfo) -> ModelMetadataResponse {
    let tensor = |(name, datatype, shape): (&str, &str, &[i64])| TensorMetadata {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
    };
    ModelMetadataResponse {
        name: model.name.clone(),
        versions: vec![model.digest.clone()],
        platform: "sed_serve".to_owned(),
        inputs: INPUTS.map(tensor).to_vec(),
        outputs: Output::ALL.map(|output| tensor(output.metadata())).to_vec(),
    }
}
