//! Validation of requests without decoding their images: pure functions, which a fuzzer can call.

mod thresholds;
mod words;

use bytes::Bytes;
use sed_engine::{ImageKey, Priority, ReadPhrases, Rejection};
use sed_image::{ImageError, ResizeMode};
use sed_proto::v1::{self, ErrorReason, MaskEncoding, image, output_size};

use self::thresholds::category_thresholds;
pub(crate) use self::{
    thresholds::thresholds,
    words::{WrittenOut, complete, validate_words, vocabulary_name},
};
pub use self::{
    thresholds::{CategoryName, CategoryThreshold},
    words::{
        ContrastSource, ValidatedWords, VocabularySource, validate_create_vocabulary,
        validate_prepare_vocabulary,
    },
};
use crate::{config::Settings, field::Field, image_id, request_error::RequestError};

/// Outlines that deviate further are of no use.
const MOST_TOLERANCE: f32 = 100.0;

/// A request whose fields are all valid, except that its image is not decoded yet.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedRequest {
    /// The image.
    pub image: ImageSource,
    /// The words.
    pub words: ValidatedWords,
    /// Options of the segmentation and of its answer.
    pub options: ValidatedOptions,
    /// The caller's id for the request; empty if it has none.
    pub request_id: String,
}

/// The source of the pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageSource {
    /// One that the request brings.
    Sent(SentImage),
    /// A picture whose features the server may still hold.
    Id(ImageKey),
}

/// An image that is not decoded yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SentImage {
    /// An image file, not above the limit of bytes.
    Encoded(Bytes),
    /// RGB pixels, not above the limits of size. Their length is not checked yet.
    Raw {
        /// The rows.
        pixels: Bytes,
        /// Pixels, at least 1.
        width: u32,
        /// Pixels, at least 1.
        height: u32,
        /// Bytes from row to row; 0 is packed.
        row_stride: u32,
    },
}

impl SentImage {
    /// The field that brings it.
    pub(crate) fn field(&self) -> Field {
        match self {
            Self::Encoded(_) => Field::ImageEncoded,
            Self::Raw { .. } => Field::ImageRaw,
        }
    }
}

/// The options, with the defaults that are the same on every server.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedOptions {
    /// The rejection; `None` leaves it to the server.
    pub rejection: Option<Rejection>,
    /// 0 to 1.
    pub score_threshold: f32,
    /// Thresholds of single categories.
    pub category_thresholds: Vec<CategoryThreshold>,
    /// The size of the masks.
    pub output_size: OutputSize,
    /// Method of resizing the picture to the input size.
    pub resize_mode: ResizeMode,
    /// The mask encodings, each at most once, none unspecified. A request without any gets the default one;
    /// an empty list makes no mask.
    pub mask_encodings: Vec<MaskEncoding>,
    /// Regions with fewer pixels become unlabelled.
    pub min_area: u32,
    /// Distance by which polygons may deviate from the true border, in pixels.
    pub polygon_tolerance: f32,
    /// The overlay, if it is wanted.
    pub overlay: Option<OverlayOptions>,
    /// The place in the queue.
    pub priority: Priority,
    /// True if the answer lists the rejected categories.
    pub list_rejected: bool,
    /// True if the answer lists the pairs of categories between which the model could hardly choose.
    pub report_ambiguities: bool,
    /// True if `RUNNER_UP_PNG` is to hold raw indices in place of a file, for callers that make a tensor of
    /// them.
    pub raw_runner_up: bool,
}

/// The size of the masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputSize {
    /// The size of the picture.
    Original,
    /// The size of the network's map.
    Model,
    /// This size, within the limits.
    Exact {
        /// Pixels, at least 1.
        width: u32,
        /// Pixels, at least 1.
        height: u32,
    },
}

impl OutputSize {
    /// Width and height of the masks of a picture with these.
    pub(crate) fn of_masks(self, picture: (u32, u32), map_side: u32) -> (u32, u32) {
        match self {
            Self::Original => picture,
            Self::Model => (map_side, map_side),
            Self::Exact { width, height } => (width, height),
        }
    }
}

/// Look of the overlay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OverlayOptions {
    /// 0 to 1; `None` leaves it to the painter.
    pub opacity: Option<f32>,
    /// True if a legend beside the picture names the colours.
    pub legend: bool,
    /// True if labels in the picture name the regions.
    pub labels: bool,
    /// True if the colours fade where the margin between the two best categories is small.
    pub fade_unsure: bool,
}

/// Checks a request against the limits. Reading its words takes time; do it off the runtime's threads.
///
/// # Errors
/// The first rule that is broken, with the path of the field.
pub fn validate_segment(
    request: &v1::SegmentRequest,
    limits: &Settings,
    reader: &dyn ReadPhrases,
) -> Result<ValidatedRequest, RequestError> {
    let valid = ValidatedRequest {
        request_id: request_id(&request.request_id, limits)?,
        image: image_source(request.image.as_ref(), limits)?,
        words: validate_words(request.vocabulary.as_ref(), limits, reader)?,
        options: options(&request.options.clone().unwrap_or_default(), limits)?,
    };
    if matches!(valid.image, ImageSource::Id(_)) && valid.options.overlay.is_some() {
        let message = "is painted over the picture itself; send the image's bytes instead of its id";
        return Err(RequestError::option(Field::Overlay, message));
    }
    Ok(valid)
}

pub(crate) fn request_id(id: &str, limits: &Settings) -> Result<String, RequestError> {
    if id.len() > limits.max_request_id_bytes {
        let message =
            format!("has {} bytes, more than the limit of {}", id.len(), limits.max_request_id_bytes);
        return Err(
            RequestError::option(Field::RequestId, message).with_limit(limits.max_request_id_bytes as u64)
        );
    }
    if !id.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(RequestError::option(Field::RequestId, "must be printable ascii"));
    }
    Ok(id.to_owned())
}

fn image_source(image: Option<&v1::Image>, limits: &Settings) -> Result<ImageSource, RequestError> {
    match image.and_then(|image| image.source.as_ref()) {
        None => Err(RequestError::missing(Field::ImageSource, "set `encoded`, `raw` or `id`")),
        Some(image::Source::Encoded(bytes)) => {
            let (actual, limit) = (bytes.len() as u64, limits.max_image_bytes());
            let error = match actual {
                0 => ImageError::Empty,
                _ if actual > limit => ImageError::TooManyBytes { actual, limit },
                _ => return Ok(ImageSource::Sent(SentImage::Encoded(bytes.clone()))),
            };
            Err(RequestError::image(Field::ImageEncoded, &error))
        }
        Some(image::Source::Raw(raw)) => {
            let &v1::RawImage { width, height, row_stride, .. } = raw;
            limits
                .image_limits()
                .check_size(width, height)
                .map_err(|error| RequestError::image(Field::ImageRaw, &error))?;
            Ok(ImageSource::Sent(SentImage::Raw { pixels: raw.pixels.clone(), width, height, row_stride }))
        }
        Some(image::Source::Id(id)) => {
            let message = "must be the `image_id` of an answer: img- and 64 hexadecimal digits";
            let key = image_id::parse(id).ok_or_else(|| RequestError::option(Field::ImageId, message))?;
            Ok(ImageSource::Id(key))
        }
    }
}

fn options(options: &v1::SegmentOptions, limits: &Settings) -> Result<ValidatedOptions, RequestError> {
    if let Some(top_k) = options.top_k.filter(|top_k| *top_k > limits.max_top_k) {
        let message = format!("is {top_k}, but must be at most {}", limits.max_top_k);
        return Err(RequestError::option(Field::TopK, message).with_limit(u64::from(limits.max_top_k)));
    }
    let score_threshold = options.score_threshold.unwrap_or(0.0);
    share(Field::ScoreThreshold, score_threshold)?;
    Ok(ValidatedOptions {
        rejection: options.top_k.map(Rejection::from_top_k),
        score_threshold,
        category_thresholds: category_thresholds(&options.category_thresholds, limits)?,
        output_size: output_size(options.output_size.as_ref(), limits)?,
        resize_mode: resize_mode(options.resize_mode)?,
        mask_encodings: mask_encodings(&options.mask_encodings)?,
        min_area: options.min_area,
        polygon_tolerance: polygon_tolerance(options.polygon_tolerance)?,
        overlay: options.overlay.as_ref().map(overlay).transpose()?,
        priority: priority(options.priority)?,
        list_rejected: options.list_rejected,
        report_ambiguities: options.report_ambiguities,
        raw_runner_up: false,
    })
}

fn share(field: Field, value: f32) -> Result<f32, RequestError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(RequestError::option(field, format!("is {value}, but must be between 0 and 1")))
}

fn output_size(size: Option<&v1::OutputSize>, limits: &Settings) -> Result<OutputSize, RequestError> {
    use v1::OutputSizePreset as Preset;
    match size.and_then(|size| size.kind.as_ref()) {
        None => Ok(OutputSize::Original),
        Some(output_size::Kind::Preset(number)) => match Preset::try_from(*number) {
            Ok(Preset::Unspecified | Preset::Original) => Ok(OutputSize::Original),
            Ok(Preset::Model) => Ok(OutputSize::Model),
            Err(_) => Err(unknown_value(Field::OutputSizePreset, *number)),
        },
        Some(output_size::Kind::Exact(size)) => {
            let &v1::Size { width, height } = size;
            if width == 0 || height == 0 {
                return Err(RequestError::option(
                    Field::OutputSizeExact,
                    "width and height must be at least 1",
                ));
            }
            check_output_size(width, height, Field::OutputSizeExact, limits)?;
            Ok(OutputSize::Exact { width, height })
        }
    }
}

/// Refuses masks that are too large. `field` is the option at fault.
pub(crate) fn check_output_size(
    width: u32,
    height: u32,
    field: Field,
    limits: &Settings,
) -> Result<(), RequestError> {
    let too_large = |limit: u64, what: &str| {
        let advice = "ask for a smaller output_size";
        let message = format!("masks of {width}x{height} have more than {limit} {what}; {advice}");
        Err(RequestError::new(ErrorReason::OutputTooLarge, field, message).with_limit(limit))
    };
    if width.max(height) > limits.max_output_side {
        return too_large(u64::from(limits.max_output_side), "pixels on a side");
    }
    if u64::from(width) * u64::from(height) > limits.max_output_pixels {
        return too_large(limits.max_output_pixels, "pixels");
    }
    Ok(())
}

fn resize_mode(number: i32) -> Result<ResizeMode, RequestError> {
    match v1::ResizeMode::try_from(number) {
        Ok(v1::ResizeMode::Unspecified | v1::ResizeMode::Direct) => Ok(ResizeMode::Direct),
        Ok(v1::ResizeMode::TwoStep) => Ok(ResizeMode::TwoStep),
        Err(_) => Err(unknown_value(Field::ResizeMode, number)),
    }
}

fn mask_encodings(numbers: &[i32]) -> Result<Vec<MaskEncoding>, RequestError> {
    if numbers.is_empty() {
        return Ok(vec![MaskEncoding::IndexPng]);
    }
    let mut encodings = Vec::new();
    for (index, number) in numbers.iter().enumerate() {
        let field = Field::MaskEncoding(index);
        match MaskEncoding::try_from(*number) {
            Err(_) | Ok(MaskEncoding::Unspecified) => return Err(unknown_value(field, *number)),
            Ok(encoding) if encodings.contains(&encoding) => {
                return Err(RequestError::option(field, "is asked for twice"));
            }
            Ok(encoding) => encodings.push(encoding),
        }
    }
    Ok(encodings)
}

fn polygon_tolerance(tolerance: Option<f32>) -> Result<f32, RequestError> {
    let tolerance = tolerance.unwrap_or(1.0);
    if (0.0..=MOST_TOLERANCE).contains(&tolerance) {
        return Ok(tolerance);
    }
    let message = format!("must be between 0 and {MOST_TOLERANCE} pixels");
    Err(RequestError::option(Field::PolygonTolerance, message))
}

fn overlay(overlay: &v1::Overlay) -> Result<OverlayOptions, RequestError> {
    let opacity = overlay.opacity.map(|opacity| share(Field::OverlayOpacity, opacity)).transpose()?;
    Ok(OverlayOptions {
        opacity,
        legend: !overlay.without_legend,
        labels: !overlay.without_labels,
        fade_unsure: overlay.fade_unsure,
    })
}

fn priority(number: i32) -> Result<Priority, RequestError> {
    match v1::Priority::try_from(number) {
        Ok(v1::Priority::Low) => Ok(Priority::Low),
        Ok(v1::Priority::Unspecified | v1::Priority::Normal) => Ok(Priority::Normal),
        Ok(v1::Priority::High) => Ok(Priority::High),
        Err(_) => Err(unknown_value(Field::Priority, number)),
    }
}

fn unknown_value(field: Field, number: i32) -> RequestError {
    RequestError::option(field, format!("{number} is none of the values that this server knows"))
}

#[cfg(test)]
pub(crate) mod tests;
