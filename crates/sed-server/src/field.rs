//! The fields of requests, by which errors and warnings name what they are about.

use std::{borrow::Cow, fmt};

use sed_engine::Phrase;

/// A list of categories in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CategoryList {
    /// `vocabulary.categories.categories`: written out in a request for masks.
    Inline,
    /// `categories.categories`: to be registered.
    Registered,
}

/// A field of a request. It is displayed as its path, for example
/// `vocabulary.categories.categories[3].name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// The caller's id of a request.
    RequestId,
    /// A stream's request itself.
    Request,
    /// The time limit of a stream's request.
    Timeout,
    /// The choice of an image's form.
    ImageSource,
    /// An image file.
    ImageEncoded,
    /// Pixels.
    ImageRaw,
    /// An image's id.
    ImageId,
    /// The choice of a vocabulary's form.
    VocabularySource,
    /// The name of a request's vocabulary.
    VocabularyName,
    /// The name of a vocabulary that a call is about.
    Name,
    /// The position in a list of vocabularies.
    PageToken,
    /// The categories to register.
    Categories,
    /// A list of categories.
    CategoryList(CategoryList),
    /// The synonyms of one category, by its index.
    Synonyms(CategoryList, usize),
    /// One name or synonym.
    Phrase(CategoryList, Phrase),
    /// All options.
    Options,
    /// The rejection.
    TopK,
    /// The least score of a labelled pixel.
    ScoreThreshold,
    /// The size of the masks.
    OutputSize,
    /// The size of the masks, by name.
    OutputSizePreset,
    /// The size of the masks, in pixels.
    OutputSizeExact,
    /// The method of resizing.
    ResizeMode,
    /// The mask encodings.
    MaskEncodings,
    /// One mask encoding, by its index.
    MaskEncoding(usize),
    /// The tolerance of polygons.
    PolygonTolerance,
    /// The overlay.
    Overlay,
    /// The overlay's opacity.
    OverlayOpacity,
    /// The place in the queue.
    Priority,
    /// A field of the Open Inference Protocol, by its path, for example `inputs[2].shape`.
    Infer(Cow<'static, str>),
}

impl fmt::Display for CategoryList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inline => "vocabulary.categories.categories",
            Self::Registered => "categories.categories",
        })
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RequestId => "request_id",
            Self::Request => "request",
            Self::Timeout => "timeout",
            Self::ImageSource => "image.source",
            Self::ImageEncoded => "image.encoded",
            Self::ImageRaw => "image.raw",
            Self::ImageId => "image.id",
            Self::VocabularySource => "vocabulary.source",
            Self::VocabularyName => "vocabulary.name",
            Self::Name => "name",
            Self::PageToken => "page_token",
            Self::Categories => "categories",
            Self::CategoryList(list) => return list.fmt(f),
            Self::Synonyms(list, category) => return write!(f, "{list}[{category}].synonyms"),
            Self::Phrase(list, Phrase { category, synonym: None }) => {
                return write!(f, "{list}[{category}].name");
            }
            Self::Phrase(list, Phrase { category, synonym: Some(synonym) }) => {
                return write!(f, "{list}[{category}].synonyms[{synonym}]");
            }
            Self::Options => "options",
            Self::TopK => "options.top_k",
            Self::ScoreThreshold => "options.score_threshold",
            Self::OutputSize => "options.output_size",
            Self::OutputSizePreset => "options.output_size.preset",
            Self::OutputSizeExact => "options.output_size.exact",
            Self::ResizeMode => "options.resize_mode",
            Self::MaskEncodings => "options.mask_encodings",
            Self::MaskEncoding(index) => return write!(f, "options.mask_encodings[{index}]"),
            Self::PolygonTolerance => "options.polygon_tolerance",
            Self::Overlay => "options.overlay",
            Self::OverlayOpacity => "options.overlay.opacity",
            Self::Priority => "options.priority",
            Self::Infer(path) => path,
        })
    }
}
