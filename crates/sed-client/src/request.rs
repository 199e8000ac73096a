//! Requests, built step by step.

use bytes::Bytes;
use sed_proto::v1::{self, category_threshold, image::Source as ImageSource};

use crate::words::{Contrast, words};

/// A request: a picture, the words to look for in it, and options.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentRequest(v1::SegmentRequest);

impl SegmentRequest {
    /// A request with the bytes of a JPEG, PNG, WebP, GIF, BMP or TIFF file.
    pub fn encoded(picture: impl Into<Bytes>) -> Self {
        Self::with_source(ImageSource::Encoded(picture.into()))
    }

    /// A request with RGB pixels, `[height, width, 3]` without padding.
    pub fn raw(pixels: impl Into<Bytes>, width: u32, height: u32) -> Self {
        let pixels = pixels.into();
        Self::with_source(ImageSource::Raw(v1::RawImage { pixels, width, height, row_stride: 0 }))
    }

    /// A request for a picture that the server still holds, by [`Answer::image_id`](crate::Answer::image_id).
    pub fn known(image_id: impl Into<String>) -> Self {
        Self::with_source(ImageSource::Id(image_id.into()))
    }

    fn with_source(source: ImageSource) -> Self {
        let image = Some(v1::Image { source: Some(source) });
        Self(v1::SegmentRequest { image, ..v1::SegmentRequest::default() })
    }

    /// Sets the words, one category each, and leaves synonym mode and contrast words as they are.
    #[must_use]
    pub fn words<W: Into<String>>(mut self, all: impl IntoIterator<Item = W>) -> Self {
        self.0.vocabulary.get_or_insert_default().source = words(all).source;
        self
    }

    /// Sets the vocabulary with its synonym mode and contrast words: [`words`],
    /// [`categories`](crate::categories) with synonyms, or one that the server knows,
    /// [`named`](crate::named).
    #[must_use]
    pub fn vocabulary(mut self, vocabulary: v1::Vocabulary) -> Self {
        self.0.vocabulary = Some(vocabulary);
        self
    }

    /// Sets how the synonyms of a category count. Without this a named vocabulary says it, and words written
    /// out count by the mean of their embeddings.
    #[must_use]
    pub fn synonym_mode(mut self, mode: v1::SynonymMode) -> Self {
        self.0.vocabulary.get_or_insert_default().set_synonym_mode(mode);
        self
    }

    /// Sets the contrast words. Without this there are those of a named vocabulary, and none for words
    /// written out.
    #[must_use]
    pub fn contrast(mut self, contrast: Contrast) -> Self {
        self.0.vocabulary.get_or_insert_default().contrast = Some(contrast.into());
        self
    }

    /// Sets the request's name in logs and answers. On a stream it must be unique among unanswered requests.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = id.into();
        self
    }

    /// Replaces all options.
    #[must_use]
    pub fn options(mut self, options: v1::SegmentOptions) -> Self {
        self.0.options = Some(options);
        self
    }

    /// Sets rejection: before each decoder level only those categories stay that are among the `top_k` best
    /// somewhere in the picture; 0 turns it off. Without this the server's default holds.
    #[must_use]
    pub fn top_k(self, top_k: u32) -> Self {
        self.with(|options| options.top_k = Some(top_k))
    }

    /// Sets the score, 0 to 1, below which a pixel is unlabelled.
    #[must_use]
    pub fn threshold(self, threshold: f32) -> Self {
        self.with(|options| options.score_threshold = Some(threshold))
    }

    /// Sets the threshold of one category, which overrides the general one: `("sofa", 0.4)` or `(3, 0.4)`.
    #[must_use]
    pub fn category_threshold(self, category: impl Into<CategoryKey>, threshold: f32) -> Self {
        let threshold = category.into().threshold(threshold);
        self.with(|options| options.category_thresholds.push(threshold))
    }

    /// Asks for the pairs of categories between which the model could hardly choose
    /// ([`Report::ambiguities`](crate::Report::ambiguities)).
    #[must_use]
    pub fn report_ambiguities(self) -> Self {
        self.with(|options| options.report_ambiguities = true)
    }

    /// Adds the encodings that [`Answer::sureness`](crate::Answer::sureness) reads: score, runner-up and
    /// margin of every pixel. An index PNG comes with them only if [`SegmentRequest::mask`] asks for it.
    #[must_use]
    pub fn sureness(self) -> Self {
        let planes = [v1::MaskEncoding::ScoreRaw, v1::MaskEncoding::RunnerUpPng, v1::MaskEncoding::MarginRaw];
        planes.into_iter().fold(self, Self::mask)
    }

    /// Adds an encoding of the mask. Without this the server's default is sent.
    #[must_use]
    pub fn mask(self, encoding: v1::MaskEncoding) -> Self {
        self.with(|options| options.push_mask_encodings(encoding))
    }

    /// Asks for the picture with the categories drawn over it.
    #[must_use]
    pub fn overlay(self) -> Self {
        self.with(|options| options.overlay = Some(v1::Overlay::default()))
    }

    fn with(mut self, set: impl FnOnce(&mut v1::SegmentOptions)) -> Self {
        set(self.0.options.get_or_insert_default());
        self
    }
}

impl From<SegmentRequest> for v1::SegmentRequest {
    fn from(request: SegmentRequest) -> Self {
        request.0
    }
}

/// A category of a vocabulary, by its name or its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CategoryKey {
    /// Every category of this name, as the vocabulary spells it.
    Name(String),
    /// The category of this index, counted from 0.
    Index(u32),
}

impl From<&str> for CategoryKey {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<String> for CategoryKey {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl From<u32> for CategoryKey {
    fn from(index: u32) -> Self {
        Self::Index(index)
    }
}

impl CategoryKey {
    /// The threshold of this category, 0 to 1.
    pub fn threshold(self, threshold: f32) -> v1::CategoryThreshold {
        let category = match self {
            Self::Name(name) => category_threshold::Category::Name(name),
            Self::Index(index) => category_threshold::Category::Index(index),
        };
        v1::CategoryThreshold { category: Some(category), threshold }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_in_the_message() {
        let request = SegmentRequest::raw(vec![0; 6], 2, 1)
            .words(["cat", "sofa"])
            .id("7")
            .top_k(4)
            .mask(v1::MaskEncoding::CocoRle)
            .overlay();
        let message = v1::SegmentRequest::from(request);
        assert_eq!(message.vocabulary, Some(words(["cat", "sofa"])));
        assert_eq!(message.request_id, "7");
        let options = message.options.unwrap();
        assert_eq!((options.top_k, options.overlay), (Some(4), Some(v1::Overlay::default())));
        assert_eq!(options.mask_encodings, [i32::from(v1::MaskEncoding::CocoRle)]);
        let Some(ImageSource::Raw(raw)) = message.image.unwrap().source else { panic!("raw pixels") };
        assert_eq!((raw.pixels.len(), raw.width, raw.height), (6, 2, 1));
    }

    #[test]
    fn words_thresholds_and_sureness_are_in_the_message_whatever_their_order() {
        let request = SegmentRequest::known("img-1")
            .synonym_mode(v1::SynonymMode::Best)
            .contrast(Contrast::Auto)
            .words(["cat", "sofa"])
            .threshold(0.25)
            .category_threshold("sofa", 0.5)
            .category_threshold(0, 0.75)
            .report_ambiguities()
            .sureness();
        let message = v1::SegmentRequest::from(request);
        let vocabulary = message.vocabulary.unwrap();
        assert_eq!(vocabulary.source, words(["cat", "sofa"]).source);
        assert_eq!(vocabulary.synonym_mode(), v1::SynonymMode::Best);
        assert_eq!(vocabulary.contrast, Some(Contrast::Auto.into()));
        let options = message.options.unwrap();
        assert_eq!((options.score_threshold, options.report_ambiguities), (Some(0.25), true));
        let of = |category, threshold| v1::CategoryThreshold { category: Some(category), threshold };
        let sofa = of(category_threshold::Category::Name("sofa".into()), 0.5);
        assert_eq!(options.category_thresholds, [sofa, of(category_threshold::Category::Index(0), 0.75)]);
        assert_eq!(options.mask_encodings.len(), 3);
    }
}
