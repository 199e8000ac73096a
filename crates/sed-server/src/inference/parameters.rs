//! The parameters of a request: the options of `sed.v1`, and the fields that have no tensor.

use std::{collections::BTreeMap, time::Duration};

use sed_proto::{
    inference::{ModelInferRequest, infer_parameter::ParameterChoice},
    v1,
};

use super::thresholds;
use crate::{field::Field, request_error::RequestError};

/// The longest name that an error repeats, in bytes.
const MOST_NAME_BYTES: usize = 64;

/// The values of a request's parameters.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) options: v1::SegmentOptions,
    pub(super) image_id: Option<String>,
    pub(super) vocabulary: Option<String>,
    pub(super) synonym_mode: v1::SynonymMode,
    pub(super) contrast: Option<v1::Contrast>,
    pub(super) timeout: Option<Duration>,
}

/// Reads all parameters; an unknown one is refused, because it would have no effect.
pub(super) fn read(request: &ModelInferRequest) -> Result<Said, RequestError> {
    let mut left = Parameters::of(request);
    let said = Said {
        image_id: left.text("image_id")?.map(str::to_owned),
        vocabulary: left.text("vocabulary")?.map(str::to_owned),
        synonym_mode: left.synonym_mode()?,
        contrast: left.contrast()?,
        // 0 leaves it to the server, as in Triton's extension.
        timeout: left.whole("timeout")?.filter(|time| *time > 0).map(Duration::from_micros),
        options: v1::SegmentOptions {
            top_k: left.whole_32("top_k")?,
            score_threshold: left.real("score_threshold")?,
            category_thresholds: left.category_thresholds()?,
            min_area: left.whole_32("min_area")?.unwrap_or(0),
            output_size: left.output_size()?,
            resize_mode: left.resize_mode()?.into(),
            priority: left.priority()?.into(),
            report_ambiguities: left.flag("report_ambiguities")?.unwrap_or(false),
            ..Default::default()
        },
    };
    left.end()?;
    Ok(said)
}

/// The parameters that were not read yet.
struct Parameters<'a>(BTreeMap<&'a str, Option<&'a ParameterChoice>>);

impl<'a> Parameters<'a> {
    fn of(request: &'a ModelInferRequest) -> Self {
        let parameters = request.parameters.iter();
        Self(parameters.map(|(name, value)| (name.as_str(), value.parameter_choice.as_ref())).collect())
    }

    fn take(&mut self, name: &str) -> Result<Option<&'a ParameterChoice>, RequestError> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(None) => Err(wrong(name, "has no value")),
            Some(value) => Ok(value),
        }
    }

    fn text(&mut self, name: &str) -> Result<Option<&'a str>, RequestError> {
        match self.take(name)? {
            None => Ok(None),
            Some(ParameterChoice::StringParam(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name, "must be a string")),
        }
    }

    fn whole(&mut self, name: &str) -> Result<Option<u64>, RequestError> {
        self.take(name)?.map(|value| whole(name, value)).transpose()
    }

    fn whole_32(&mut self, name: &str) -> Result<Option<u32>, RequestError> {
        let narrow =
            |value| u32::try_from(value).map_err(|_| wrong(name, &format!("must be at most {}", u32::MAX)));
        self.whole(name)?.map(narrow).transpose()
    }

    fn real(&mut self, name: &str) -> Result<Option<f32>, RequestError> {
        match self.take(name)? {
            None => Ok(None),
            Some(ParameterChoice::DoubleParam(value)) => Ok(Some(*value as f32)),
            // Clients send 1 and 1.0 in different fields.
            Some(ParameterChoice::Int64Param(value)) => Ok(Some(*value as f32)),
            Some(ParameterChoice::Uint64Param(value)) => Ok(Some(*value as f32)),
            Some(_) => Err(wrong(name, "must be a number")),
        }
    }

    fn flag(&mut self, name: &str) -> Result<Option<bool>, RequestError> {
        match self.take(name)? {
            None => Ok(None),
            Some(ParameterChoice::BoolParam(flag)) => Ok(Some(*flag)),
            Some(_) => Err(wrong(name, "must be true or false")),
        }
    }

    fn synonym_mode(&mut self) -> Result<v1::SynonymMode, RequestError> {
        const NAME: &str = "synonym_mode";
        match self.text(NAME)? {
            None => Ok(v1::SynonymMode::Unspecified),
            Some("mean") => Ok(v1::SynonymMode::Mean),
            Some("best") => Ok(v1::SynonymMode::Best),
            Some(_) => Err(wrong(NAME, "must be mean or best")),
        }
    }

    /// Reads `auto`, `off`, or the name of a vocabulary.
    fn contrast(&mut self) -> Result<Option<v1::Contrast>, RequestError> {
        use v1::contrast::Source;
        let Some(text) = self.text("contrast")? else { return Ok(None) };
        let source = match text {
            "off" => None,
            "auto" => Some(Source::Automatic(v1::AutoContrast {})),
            name => Some(Source::Name(name.to_owned())),
        };
        Ok(Some(v1::Contrast { source }))
    }

    fn category_thresholds(&mut self) -> Result<Vec<v1::CategoryThreshold>, RequestError> {
        const NAME: &str = "category_thresholds";
        let Some(text) = self.text(NAME)? else { return Ok(Vec::new()) };
        let message = "must be a JSON object of category names and numbers, such as {\"sofa\": 0.4}";
        thresholds::read(text).ok_or_else(|| wrong(NAME, message))
    }

    fn output_size(&mut self) -> Result<Option<v1::OutputSize>, RequestError> {
        use v1::{OutputSizePreset as Preset, output_size::Kind};
        const NAME: &str = "output_size";
        let Some(text) = self.text(NAME)? else { return Ok(None) };
        let exact = || {
            let (width, height) = text.split_once('x')?;
            Some(Kind::Exact(v1::Size { width: decimal(width)?, height: decimal(height)? }))
        };
        let kind = match text {
            "original" => Kind::Preset(Preset::Original.into()),
            "model" => Kind::Preset(Preset::Model.into()),
            _ => exact()
                .ok_or_else(|| wrong(NAME, "must be original, model, or WIDTHxHEIGHT, such as 640x480"))?,
        };
        Ok(Some(v1::OutputSize { kind: Some(kind) }))
    }

    fn resize_mode(&mut self) -> Result<v1::ResizeMode, RequestError> {
        const NAME: &str = "resize_mode";
        match self.text(NAME)? {
            None => Ok(v1::ResizeMode::Unspecified),
            Some("direct") => Ok(v1::ResizeMode::Direct),
            Some("two_step") => Ok(v1::ResizeMode::TwoStep),
            Some(_) => Err(wrong(NAME, "must be direct or two_step")),
        }
    }

    /// Reads a name, or a number as in Triton's extension: 1 is the highest priority, 0 the default.
    fn priority(&mut self) -> Result<v1::Priority, RequestError> {
        use v1::Priority;
        const NAME: &str = "priority";
        let Some(value) = self.take(NAME)? else { return Ok(Priority::Unspecified) };
        let known = match value {
            ParameterChoice::StringParam(text) => match text.as_str() {
                "high" => Some(Priority::High),
                "normal" => Some(Priority::Normal),
                "low" => Some(Priority::Low),
                _ => None,
            },
            number => match whole(NAME, number)? {
                0 => Some(Priority::Unspecified),
                1 => Some(Priority::High),
                2 => Some(Priority::Normal),
                3 => Some(Priority::Low),
                _ => None,
            },
        };
        known.ok_or_else(|| wrong(NAME, "must be high (or 1), normal (2) or low (3)"))
    }

    /// Rejects parameters that were not consumed.
    fn end(self) -> Result<(), RequestError> {
        let Some((name, _)) = self.0.first_key_value() else { return Ok(()) };
        let short = name.len() <= MOST_NAME_BYTES && name.bytes().all(|byte| byte.is_ascii_graphic());
        let path = if short { format!("parameters.{name}").into() } else { "parameters".into() };
        let known = "image_id, vocabulary, synonym_mode, contrast, top_k, score_threshold, \
                     category_thresholds, output_size, resize_mode, min_area, priority, timeout, \
                     report_ambiguities";
        Err(RequestError::option(Field::Infer(path), format!("is not known here; there are {known}")))
    }
}

fn wrong(name: &str, message: &str) -> RequestError {
    RequestError::option(Field::Infer(format!("parameters.{name}").into()), message)
}

fn whole(name: &str, value: &ParameterChoice) -> Result<u64, RequestError> {
    let whole = match value {
        ParameterChoice::Int64Param(value) => u64::try_from(*value).ok(),
        ParameterChoice::Uint64Param(value) => Some(*value),
        _ => None,
    };
    whole.ok_or_else(|| wrong(name, "must be a whole number, 0 or more"))
}

fn decimal(text: &str) -> Option<u32> {
    // `parse` would also take a sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
