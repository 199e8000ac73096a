//! The fields of requests, by which errors and warnings name what they are about.

use std::{borrow::Cow, fmt};

use sed_engine::{CategoryPlace, Phrase};

/// A list of categories in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CategoryList {
    /// `vocabulary.categories.categories`: written out in a request for masks.
    Inline,
    /// `categories.categories`: to be registered.
    Registered,
}

/// A part of the threshold of one category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThresholdPart {
    /// The choice of how the category is named.
    Category,
    /// The category's index.
    Index,
    /// The category's name.
    Name,
    /// The threshold itself.
    Threshold,
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
    /// The synonyms of one category, or of a contrast word beside the list.
    Synonyms(CategoryList, CategoryPlace),
    /// One name or synonym, of a category or of a contrast word beside the list.
    Phrase(CategoryList, Phrase),
    /// The way in which the synonyms of a list count.
    SynonymMode(CategoryList),
    /// The contrast words that are written out beside a list.
    ContrastList(CategoryList),
    /// The name of the vocabulary whose categories are the contrast words beside a list.
    ContrastName(CategoryList),
    /// All options.
    Options,
    /// The rejection.
    TopK,
    /// The least score of a labelled pixel.
    ScoreThreshold,
    /// A part of the threshold of one category, by its index in the list.
    CategoryThreshold(usize, ThresholdPart),
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

impl CategoryList {
    /// The path of the message that holds the list, with a dot behind it.
    fn words(self) -> &'static str {
        match self {
            Self::Inline => "vocabulary.",
            Self::Registered => "",
        }
    }

    /// Writes the path of one of its categories, or of a contrast word beside it.
    fn write_category(self, f: &mut fmt::Formatter<'_>, place: CategoryPlace) -> fmt::Result {
        match place {
            CategoryPlace::Asked(index) => write!(f, "{self}[{index}]"),
            CategoryPlace::Contrast(index) => {
                write!(f, "{}contrast.categories.categories[{index}]", self.words())
            }
        }
    }
}

impl fmt::Display for CategoryList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}categories.categories", self.words())
    }
}

impl ThresholdPart {
    fn name(self) -> &'static str {
        match self {
            Self::Category => "category",
            Self::Index => "index",
            Self::Name => "name",
            Self::Threshold => "threshold",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = match self {
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
            Self::Synonyms(list, category) => {
                list.write_category(f, *category)?;
                ".synonyms"
            }
            Self::Phrase(list, Phrase { category, synonym }) => {
                list.write_category(f, *category)?;
                match synonym {
                    None => ".name",
                    Some(synonym) => return write!(f, ".synonyms[{synonym}]"),
                }
            }
            Self::SynonymMode(list) => return write!(f, "{}synonym_mode", list.words()),
            Self::ContrastList(list) => {
                return write!(f, "{}contrast.categories.categories", list.words());
            }
            Self::ContrastName(list) => return write!(f, "{}contrast.name", list.words()),
            Self::Options => "options",
            Self::TopK => "options.top_k",
            Self::ScoreThreshold => "options.score_threshold",
            Self::CategoryThreshold(entry, part) => {
                return write!(f, "options.category_thresholds[{entry}].{}", part.name());
            }
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
        };
        f.write_str(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_words_lead_into_their_list() {
        let phrase = |category, synonym| Phrase { category, synonym };
        let (asked, contrast) = (CategoryPlace::Asked(3), CategoryPlace::Contrast(1));
        for (field, path) in [
            (
                Field::Phrase(CategoryList::Inline, phrase(asked, None)),
                "vocabulary.categories.categories[3].name",
            ),
            (
                Field::Phrase(CategoryList::Registered, phrase(asked, Some(2))),
                "categories.categories[3].synonyms[2]",
            ),
            (Field::Synonyms(CategoryList::Registered, asked), "categories.categories[3].synonyms"),
            (
                Field::Phrase(CategoryList::Inline, phrase(contrast, Some(0))),
                "vocabulary.contrast.categories.categories[1].synonyms[0]",
            ),
            (
                Field::Synonyms(CategoryList::Registered, contrast),
                "contrast.categories.categories[1].synonyms",
            ),
            (Field::ContrastName(CategoryList::Inline), "vocabulary.contrast.name"),
            (Field::SynonymMode(CategoryList::Registered), "synonym_mode"),
            (Field::CategoryThreshold(4, ThresholdPart::Index), "options.category_thresholds[4].index"),
        ] {
            assert_eq!(field.to_string(), path);
        }
    }
}
