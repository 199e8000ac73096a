//! Validation of a request of this protocol without decoding its image: it is converted to one of `sed.v1`
//! and passes the same checks. Errors use this protocol's words.

use std::time::Duration;

use bytes::Bytes;
use sed_engine::ReadPhrases;
use sed_proto::{
    inference::ModelInferRequest,
    v1::{self, ErrorReason, image, vocabulary},
};

use super::{
    metadata::Output,
    parameters::{self, Said},
    paths::{Paths, Words},
    tensor::{Tensor, invalid, tensors},
};
use crate::{
    config::Settings,
    field::Field,
    request_error::RequestError,
    validate::{ValidatedRequest, validate_segment},
};

/// A request whose fields are all valid, except that its image is not decoded yet.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedInfer {
    /// The request in terms of `sed.v1`; without mask encodings where no mask is wanted.
    pub request: ValidatedRequest,
    /// The tensors that the answer has, in their order.
    pub outputs: Vec<Output>,
    /// True if the elements of the answer's tensors are typed, like those of the request.
    pub typed: bool,
    /// The request's own time limit, if it has one.
    pub timeout: Option<Duration>,
    /// Paths for errors that are found later.
    pub(super) paths: Paths,
}

/// Checks a request against the limits, off the runtime's threads like [`validate_segment`]. The name of the
/// model is not checked.
///
/// # Errors
/// The first rule that is broken, with the path of the field.
pub fn validate_infer(
    request: &ModelInferRequest,
    limits: &Settings,
    reader: &dyn ReadPhrases,
) -> Result<ValidatedInfer, RequestError> {
    let outputs = outputs(request)?;
    let Said { options, image_id, vocabulary, synonym_mode, contrast, timeout } = parameters::read(request)?;
    let inputs = Inputs::of(request)?;
    let mut paths = Paths::default();
    let image = inputs.image(image_id, &mut paths)?;
    let vocabulary = inputs.vocabulary(vocabulary, &mut paths)?;

    let segment = v1::SegmentRequest {
        image: Some(v1::Image { source: Some(image) }),
        vocabulary: Some(v1::Vocabulary {
            source: Some(vocabulary),
            synonym_mode: synonym_mode.into(),
            contrast,
        }),
        options: Some(options),
        request_id: request.id.clone(),
    };
    let valid = validate_segment(&segment, limits, reader);
    let mut valid = valid.map_err(|error| error.with_field(|field| paths.of(field)))?;
    valid.options.mask_encodings = outputs.iter().filter_map(|output| output.encoding()).collect();
    valid.options.raw_runner_up = true;
    let typed = inputs.all().any(Tensor::is_typed);
    Ok(ValidatedInfer { request: valid, outputs, typed, timeout, paths })
}

fn outputs(request: &ModelInferRequest) -> Result<Vec<Output>, RequestError> {
    let mut outputs = Vec::new();
    for (index, wanted) in request.outputs.iter().enumerate() {
        let field = |name: &str| format!("outputs[{index}].{name}");
        let Some(output) = Output::named(&wanted.name) else {
            let known = Output::ALL.map(Output::name).join(", ");
            return Err(invalid(field("name"), format!("must be one of {known}")));
        };
        if outputs.contains(&output) {
            return Err(invalid(field("name"), "is asked for twice"));
        }
        if !wanted.parameters.is_empty() {
            let field = Field::Infer(field("parameters").into());
            return Err(RequestError::option(field, "must be empty; outputs have none here"));
        }
        outputs.push(output);
    }
    Ok(if outputs.is_empty() { Output::USUAL.to_vec() } else { outputs })
}

/// The inputs by their names.
#[derive(Debug, Default)]
struct Inputs<'a> {
    image: Option<Tensor<'a>>,
    pixels: Option<Tensor<'a>>,
    categories: Option<Tensor<'a>>,
    synonyms: Option<Tensor<'a>>,
}

impl<'a> Inputs<'a> {
    fn of(request: &'a ModelInferRequest) -> Result<Self, RequestError> {
        let mut inputs = Self::default();
        for tensor in tensors(request)? {
            let (place, datatype) = match tensor.name() {
                "image" => (&mut inputs.image, "BYTES"),
                "pixels" => (&mut inputs.pixels, "UINT8"),
                "categories" => (&mut inputs.categories, "BYTES"),
                "synonyms" => (&mut inputs.synonyms, "BYTES"),
                _ => {
                    let message = "must be one of image, pixels, categories, synonyms";
                    return Err(invalid(tensor.path("name"), message));
                }
            };
            tensor.check_datatype(datatype)?;
            if place.is_some() {
                return Err(invalid(tensor.path("name"), "is there twice"));
            }
            *place = Some(tensor);
        }
        Ok(inputs)
    }

    fn all(&self) -> impl Iterator<Item = &Tensor<'a>> {
        [&self.image, &self.pixels, &self.categories, &self.synonyms].into_iter().flatten()
    }

    fn image(&self, id: Option<String>, paths: &mut Paths) -> Result<image::Source, RequestError> {
        match (&self.image, &self.pixels, id) {
            (Some(image), None, None) => {
                paths.image = image.contents_path("bytes_contents[0]");
                file(image).map(image::Source::Encoded)
            }
            (None, Some(pixels), None) => {
                paths.pixels = pixels.path("shape");
                raw_image(pixels).map(image::Source::Raw)
            }
            (None, None, Some(id)) => Ok(image::Source::Id(id)),
            (None, None, None) => {
                let message = "give the input `image` or `pixels`, or the parameter `image_id`";
                Err(RequestError::missing(Field::Infer("inputs".into()), message))
            }
            (_, _, Some(_)) => Err(RequestError::option(
                Field::Infer("parameters.image_id".into()),
                "stands for `image` and `pixels`; give one of them",
            )),
            (Some(_), Some(pixels), None) => {
                Err(invalid(pixels.path("name"), "stands for `image`; give one of them"))
            }
        }
    }

    fn vocabulary(
        &self,
        name: Option<String>,
        paths: &mut Paths,
    ) -> Result<vocabulary::Source, RequestError> {
        if let (None, Some(synonyms)) = (&self.categories, &self.synonyms) {
            return Err(invalid(
                synonyms.path("name"),
                "belongs to the input `categories`, which is missing",
            ));
        }
        match (&self.categories, name) {
            (Some(categories), None) => {
                let list = words(categories, self.synonyms.as_ref(), paths)?;
                Ok(vocabulary::Source::Categories(list))
            }
            (None, Some(name)) => Ok(vocabulary::Source::Name(name)),
            (None, None) => Err(RequestError::missing(
                Field::Infer("inputs".into()),
                "give the input `categories` or the parameter `vocabulary`",
            )),
            (Some(_), Some(_)) => Err(RequestError::option(
                Field::Infer("parameters.vocabulary".into()),
                "stands for `categories`; give one of them",
            )),
        }
    }
}

fn file(image: &Tensor<'_>) -> Result<Bytes, RequestError> {
    const SHAPE: &str = "[1]: one image file";
    let shape = image.shape::<1>(SHAPE)?;
    match image.texts(&shape)?.as_slice() {
        [file] => Ok(file.clone()),
        _ => Err(image.wrong_shape(SHAPE)),
    }
}

fn raw_image(pixels: &Tensor<'_>) -> Result<v1::RawImage, RequestError> {
    const SHAPE: &str = "[height, width, 3], rows of red, green, blue, at least one pixel";
    let shape = pixels.shape::<3>(SHAPE)?;
    let [height, width, channels] = shape;
    if height == 0 || width == 0 || channels != 3 {
        return Err(pixels.wrong_shape(SHAPE));
    }
    // A side that does not fit becomes the largest that does, which is above every limit, too.
    let side = |size| u32::try_from(size).unwrap_or(u32::MAX);
    let (width, height) = (side(width), side(height));
    Ok(v1::RawImage { pixels: pixels.octets(&shape)?, width, height, row_stride: 0 })
}

fn words(
    categories: &Tensor<'_>,
    synonyms: Option<&Tensor<'_>>,
    paths: &mut Paths,
) -> Result<v1::CategoryList, RequestError> {
    let place = |tensor: &Tensor<'_>| Words {
        shape: tensor.path("shape"),
        contents: tensor.contents_path("bytes_contents"),
    };
    paths.categories = place(categories);
    let shape = categories.shape::<1>("[categories]")?;
    let names = texts(&categories.texts(&shape)?, &paths.categories)?;
    let category = |name| v1::Category { name, synonyms: Vec::new() };
    let mut list: Vec<v1::Category> = names.into_iter().map(category).collect();

    if let Some(synonyms) = synonyms {
        paths.synonyms = place(synonyms);
        let expected = format!("[{}, n], a row for each category", list.len());
        let shape @ [rows, columns] = synonyms.shape::<2>(&expected)?;
        if rows != list.len() as u64 {
            return Err(synonyms.wrong_shape(&expected));
        }
        paths.synonym_elements = vec![Vec::new(); list.len()];
        let found = texts(&synonyms.texts(&shape)?, &paths.synonyms)?.into_iter().enumerate();
        // Rows are filled up with empty elements to the length of the longest.
        for (index, synonym) in found.filter(|(_, synonym)| !synonym.is_empty()) {
            let category = index / columns as usize;
            list[category].synonyms.push(synonym);
            paths.synonym_elements[category].push(index);
        }
    }
    Ok(v1::CategoryList { categories: list })
}

fn texts(elements: &[Bytes], words: &Words) -> Result<Vec<String>, RequestError> {
    let text = |(index, bytes): (usize, &Bytes)| {
        let text = std::str::from_utf8(bytes).map(str::to_owned);
        let place = || Field::Infer(words.element(index).into());
        text.map_err(|_| RequestError::new(ErrorReason::CategoryNameInvalid, place(), "is no UTF-8"))
    };
    elements.iter().enumerate().map(text).collect()
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
